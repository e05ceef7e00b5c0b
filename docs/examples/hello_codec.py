"""Both ends of a Fetch, without a socket: what a client sends, what a broker answers, and the records that come out.

    python docs/examples/hello_codec.py

Here one program plays both roles, and the bytes travel through a variable. Where they really come from is the business
of the program that uses `dekaf_proto`; docs/examples/raw_socket.py takes them from a socket and a real Kafka.
"""

from __future__ import annotations

from dekaf_proto.messages import FetchRequest, FetchResponse
from dekaf_proto.messages.fetch import FetchableTopicResponse, FetchPartition, FetchTopic, PartitionData
from dekaf_proto.records import BatchBuilder, Codec, read_batches
from dekaf_proto.wire import FrameReader, decode_request, decode_response, encode_request, encode_response

VERSION = 12  # of the Fetch API; a client and a broker agree on it first


def client_asks() -> bytes:
    partition = FetchPartition(partition=3, fetch_offset=42, partition_max_bytes=1 << 20)
    topics = [FetchTopic(topic="orders", partitions=[partition])]
    request = FetchRequest(max_wait_ms=500, min_bytes=1, topics=topics)
    return encode_request(request, VERSION, correlation_id=7, client_id="hello")


def broker_answers(data: bytes) -> bytes:
    reader = FrameReader()
    reader.receive_data(data)
    frame = reader.next_frame()
    assert frame is not None
    header, request = decode_request(frame)
    assert isinstance(request, FetchRequest)
    wanted = request.topics[0].partitions[0]
    print(f"the broker is asked for {request.topics[0].topic}-{wanted.partition} from offset {wanted.fetch_offset} on")

    batch = BatchBuilder(codec=Codec.ZSTD, base_offset=wanted.fetch_offset)
    batch.append(1_700_000_000_000, b"alice", b"two teas, please", [("table", b"4")])
    batch.append(1_700_000_000_250, b"bob", b"a decaf")
    batch.append(1_700_000_000_900, b"alice", None)
    answer = PartitionData(partition_index=wanted.partition, high_watermark=45, records=batch.build())
    response = FetchResponse(responses=[FetchableTopicResponse(topic="orders", partitions=[answer])])
    return encode_response(response, VERSION, header.correlation_id)


def client_reads(data: bytes) -> None:
    reader = FrameReader()
    frame = None
    for start in range(0, len(data), 50):  # a network cuts where it likes
        reader.receive_data(data[start : start + 50])
        frame = reader.next_frame()
    assert frame is not None
    correlation_id, response = decode_response(FetchResponse, VERSION, frame)
    print(f"{len(data)} bytes answer request {correlation_id}:")
    for topic in response.responses:
        for partition in topic.partitions:
            for batch in read_batches(partition.records or b"", topic.topic, partition.partition_index):
                for record in batch.records():
                    where = f"{record.topic_partition} @{record.offset}"
                    print(" ", where, record.datetime, record.key, record.value, dict(record.headers))


if __name__ == "__main__":
    client_reads(broker_answers(client_asks()))

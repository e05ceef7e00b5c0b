"""Reads a topic of a real Kafka from its beginning to its end with one blocking socket and the codec, and commits.

    python docs/examples/raw_socket.py HOST:PORT TOPIC [GROUP]

Prints a line of JSON a record, aborted ones left out. With GROUP it commits where it ended, and reads that back. One
broker is asked, and once: all that makes a client is missing here.
"""

import json
import socket
import sys
from collections.abc import Iterator

from dekaf_proto import messages as m
from dekaf_proto.messages import fetch, list_offsets, metadata, offset_commit, offset_fetch
from dekaf_proto.records import Record, Visibility, judge_batches, read_batches
from dekaf_proto.wire import FrameReader, decode_response, encode_request, response_class
from dekaf_proto.wire.schema import R, Request


class Broker:
    """One connection. A request goes out in the highest version that both ends speak, up to `limit`."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.versions = dict.fromkeys([18], 3)  # ApiVersions itself
        self.versions = {api.api_key: api.max_version for api in self.ask(m.ApiVersionsRequest("raw", "1")).api_keys}

    def ask(self, request: Request[R], limit: int = 99) -> R:
        version = min(limit, self.versions[request.API_KEY], request.VERSIONS.max)
        self.socket.sendall(encode_request(request, version, correlation_id=1, client_id="raw-socket"))
        frames = FrameReader()
        while (frame := frames.next_frame()) is None:
            frames.receive_data(self.socket.recv(1 << 18) or sys.exit("the broker closed the connection"))
        return decode_response(response_class(type(request)), version, frame)[1]


def offsets(broker: Broker, topic: str, partitions: list[int], which: int) -> dict[int, int]:
    asked = list_offsets.ListOffsetsTopic(topic, [list_offsets.ListOffsetsPartition(p, -1, which) for p in partitions])
    answer = broker.ask(m.ListOffsetsRequest(-1, 1, [asked])).topics[0].partitions
    return {p.partition_index: p.offset for p in answer}


def read(broker: Broker, topic: str, partition: int, offset: int, end: int) -> Iterator[Record[object, object]]:
    while offset < end:
        wanted = fetch.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1 << 20)
        topics = [fetch.FetchTopic(topic, partitions=[wanted])]
        request = m.FetchRequest(max_wait_ms=500, isolation_level=1, topics=topics)
        answer = broker.ask(request, limit=12).responses[0].partitions[0]  # up to 12 topics go by name
        assert answer.error_code == 0, answer
        aborted = [(t.first_offset, t.producer_id) for t in answer.aborted_transactions or ()]
        for batch, visibility in judge_batches(read_batches(answer.records or b"", topic, partition), aborted=aborted):
            if visibility is Visibility.RECORDS:
                yield from batch.records(start=offset)
            offset = batch.next_offset


def commit(broker: Broker, group: str, topic: str, ends: dict[int, int]) -> dict[int, int]:
    offsets = [offset_commit.OffsetCommitRequestPartition(p, end, -1, "") for p, end in ends.items()]
    request = m.OffsetCommitRequest(group, topics=[offset_commit.OffsetCommitRequestTopic(topic, partitions=offsets)])
    assert all(answer.error_code == 0 for answer in broker.ask(request, limit=9).topics[0].partitions)
    wanted = offset_fetch.OffsetFetchRequestTopics(topic, partition_indexes=list(ends))
    groups = [offset_fetch.OffsetFetchRequestGroup(group, topics=[wanted])]
    found = broker.ask(m.OffsetFetchRequest(groups=groups), limit=9).groups[0].topics[0].partitions
    return {p.partition_index: p.committed_offset for p in found}


def main(address: str, topic: str, group: str | None = None) -> None:
    broker = Broker(address.rpartition(":")[0], int(address.rpartition(":")[2]))
    found = broker.ask(m.MetadataRequest([metadata.MetadataRequestTopic(name=topic)])).topics[0].partitions
    starts, ends = (offsets(broker, topic, [p.partition_index for p in found], which) for which in (-2, -1))
    for partition in sorted(ends):
        for r in read(broker, topic, partition, starts[partition], ends[partition]):
            print(json.dumps([r.partition, r.offset, r.timestamp, r.key, r.value, r.headers], default=bytes.hex))
    if group:
        print("committed", json.dumps(commit(broker, group, topic, ends)), file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A consumer's session, recorded and then replayed without a network: how to see what an engine does.

    python docs/examples/replay.py                  records a session with the embedded broker, and replays it
    python docs/examples/replay.py --record FILE    writes that session
    python docs/examples/replay.py FILE             replays one, of `Consumer(..., trace="FILE")` perhaps

The replay prints every input, effect and event, and stops where something else comes of a line than what was recorded.
With `--piece 1` it hands in what was received byte by byte.
"""

import argparse
import io
from pathlib import Path

from dekaf_proto.broker import Broker
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import FetchedRecords
from dekaf_proto.events import Address, Connect, Rebalance, Resolve, Send
from dekaf_proto.trace import DifferenceError, Replay, TracedConsumer


class Recording(io.StringIO):
    def close(self) -> None:
        """The consumer is closed; the text is still wanted."""


def record() -> str:
    """A member of a group reads three records, loses its connections, reads two more, and leaves."""
    now, unix_offset = 0.0, 1_700_000_000.0
    broker = Broker(unix_offset=unix_offset, port=9092)
    broker.effects()
    broker.listening(0, Address("127.0.0.1", 9092), now)
    broker.create_topic("orders")
    broker.append("orders", 0, [b"tea", b"coffee", b"tea"], now)
    config = ConsumerConfig(bootstrap_servers="127.0.0.1", group_id="billing", auto_offset_reset="earliest")
    recording = Recording()
    consumer = TracedConsumer(config, sink=recording, seed=7, unix_offset=unix_offset, payloads=True)
    ends: dict[int, int] = {}  # the consumer's connections -> the broker's

    def turn() -> None:
        """Carries out the effects of one and the other; if there are none it is time for what comes next."""
        nonlocal now
        now = round(now + 0.001, 6)
        orders = consumer.effects()
        for order in orders:
            if isinstance(order, Connect):
                ends[order.conn] = broker.accepted(0, now)
                consumer.connected(order.conn, now)
            elif isinstance(order, Send) and order.conn in ends:
                broker.receive_data(ends[order.conn], order.data, now)
            elif not isinstance(order, Resolve | Send) and order.conn in ends:
                broker.disconnected(ends.pop(order.conn), "", now)
        answers = broker.effects()
        for answer in answers:
            assert isinstance(answer, Send)
            (conn,) = (ours for ours, theirs in ends.items() if theirs == answer.conn)
            consumer.receive_data(conn, answer.data, now)
        if not orders and not answers:
            now = max(now, min(filter(None, (consumer.next_deadline(), broker.next_deadline()))))
            consumer.handle_timeout(now)
            broker.handle_timeout(now)

    def go_on() -> int:
        """Gives the number of records that there were, if any."""
        output = consumer.poll(now)
        if isinstance(output, Rebalance):
            consumer.event_done(output, now)
        elif output is None:
            waiting = consumer.wait(now)
            while not waiting.done:
                turn()
        return len(list(output)) if isinstance(output, FetchedRecords) else 0

    consumer.subscribe("orders", now)
    while go_on() < 3:
        pass
    for conn in list(ends):
        broker.disconnected(ends.pop(conn), "cut", now)
        consumer.disconnected(conn, "connection reset by peer", now)
    broker.append("orders", 0, [b"milk", b"tea"], now)
    while go_on() < 2:
        pass
    closing = consumer.close(now)
    while not closing.done:
        go_on()
    return recording.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--piece", type=int)
    args = parser.parse_args()
    if args.record:
        args.record.write_text(record())
        return
    replay = Replay((args.file.read_text() if args.file else record()).splitlines(), piece=args.piece)
    try:
        for step in replay:
            print(step)
    except DifferenceError as difference:
        raise SystemExit(str(difference)) from None
    print(f"the same, up to its end: {replay.end or 'it was cut off'}")


if __name__ == "__main__":
    main()

"""A consumer's session, recorded and then replayed byte by byte, without a network: how to see what an engine does.

    python docs/examples/replay.py                  records a session with the embedded broker, and replays it
    python docs/examples/replay.py --record FILE    writes that session
    python docs/examples/replay.py FILE             replays one: of your own loop, perhaps, where something went wrong

An engine that is told the same at the same times gives the same, to the byte. So a recording is what was said to it, a
line of JSON each, with what came of it. The replay says it to a new engine, what was received one byte at a time,
prints every effect and event, and stops where one is another. To record a loop of your own, make a `Recorder` in it,
and `tell` it what you would call of the consumer. It takes all records of a run at once. Such a recording is replayed
with --whole, in the pieces in which the bytes came: to two answers in one piece an engine may say less than to one by
one.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dekaf_proto.broker import Broker
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Consumer, FetchedRecords
from dekaf_proto.events import Address, Connect, Effect, Failed, Listen, Rebalance, Resolve, Send
from dekaf_proto.messages import ApiKey


class Recorder:
    def __init__(self, options: dict[str, Any], seed: int, unix_offset: float) -> None:
        self.consumer = Consumer(ConsumerConfig(**options), seed=seed, unix_offset=unix_offset)
        self.lines = [json.dumps([options, seed, unix_offset])]
        self.effects: list[Effect] = []  # for the loop to carry out
        self.event: Any = None  # the last one, which event_done is about

    def tell(self, now: float, name: str, *args: Any) -> Any:
        output, outcome, effects = tell(self.consumer, now, name, *args)
        self.event = output if isinstance(output, Rebalance) else self.event
        self.effects += effects
        noted = [bytes(arg).hex() if name == "receive_data" and arg is args[1] else arg for arg in args]
        self.lines.append(json.dumps([now, name, [] if name == "event_done" else noted, outcome]))
        return output


def tell(consumer: Consumer[Any, Any], now: float, name: str, *args: Any) -> tuple[Any, list[str], list[Effect]]:
    """What a call gives, the same with the effects as text, and the effects."""
    output = getattr(consumer, name)(*args, now)
    if isinstance(output, FetchedRecords):
        output = list(output)
        outcome = [f"{record.topic_partition} {record.offset}: {record.value!r}" for record in output]
    else:
        outcome = [repr(output)] if isinstance(output, Rebalance | Failed) else []
    effects = consumer.effects()
    return output, outcome + [text for effect in effects for text in described(effect)], effects


def described(effect: Effect) -> Iterator[str]:
    if not isinstance(effect, Send):
        yield repr(effect)
        return
    left = effect.data
    while left:  # one request after the other
        size, key, version = (int.from_bytes(left[a:b], "big") for a, b in ((0, 4), (4, 6), (6, 8)))
        request, left = left[: 4 + size], left[4 + size :]
        number = int.from_bytes(request[8:12], "big")
        yield f"Send(conn={effect.conn}) {ApiKey(key).name} v{version}, request {number} | {request.hex()}"


def replay(lines: list[str], whole: bool) -> None:
    options, seed, unix_offset = json.loads(lines[0])
    consumer = Consumer(ConsumerConfig(**options), seed=seed, unix_offset=unix_offset)
    event = None
    for line in lines[1:]:
        now, name, args, expected = json.loads(line)
        steps = [args]
        if name == "receive_data":
            data = bytes.fromhex(args[1])
            size = len(data) if whole else 1
            steps = [[args[0], data[i : i + size]] for i in range(0, len(data), size)]
            args = [f"{args[0]}, {len(data)} bytes, answer to request {int.from_bytes(data[4:8], 'big')}"]
        elif name == "resolved":
            steps = [[args[0], [Address(*address) for address in args[1]]]]
        elif name == "event_done":
            steps = [[event]]
        print(f"{now:8.3f} {name}({', '.join(map(str, args))})")
        outcome = []
        for step in steps:
            output, texts, _ = tell(consumer, now, name, *step)
            event = output if isinstance(output, Rebalance) else event
            for text in texts:
                print(f"{'':12} {text.partition(' | ')[0]}")
            outcome += texts
        if outcome != expected:
            raise SystemExit(f"this is where it is another; it was recorded as {expected}")


def record() -> list[str]:
    """A member of a group reads five records, loses its connections meanwhile, and leaves."""
    now, unix_offset = 0.0, 1_700_000_000.0
    broker = Broker(unix_offset=unix_offset, port=9092)
    broker.create_topic("orders")
    broker.append("orders", 0, [b"tea", b"coffee", b"tea"], now)
    options = {"bootstrap_servers": "127.0.0.1:9092", "group_id": "billing", "auto_offset_reset": "earliest"}
    consumer = Recorder(options, 7, unix_offset)
    ends: dict[int, int] = {}  # the consumer's connections -> the broker's

    def turn() -> None:
        """Carries out the effects of one or the other; if there are none it is time for what comes next."""
        nonlocal now
        now = round(now + 0.001, 6)
        orders, consumer.effects = consumer.effects, []
        for order in orders:
            if isinstance(order, Connect):
                ends[order.conn] = broker.accepted(0, now)
                consumer.tell(now, "connected", order.conn)
            elif isinstance(order, Send) and order.conn in ends:
                broker.receive_data(ends[order.conn], order.data, now)
            elif not isinstance(order, Resolve | Send) and order.conn in ends:
                broker.disconnected(ends.pop(order.conn), "", now)
        answers = broker.effects()
        for answer in answers:
            if isinstance(answer, Listen):
                broker.listening(answer.node, Address(answer.host, answer.port), now)
            elif isinstance(answer, Send):
                (conn,) = (ours for ours, theirs in ends.items() if theirs == answer.conn)
                consumer.tell(now, "receive_data", conn, answer.data)
        if not orders and not answers:
            now = max(now, min(filter(None, (consumer.consumer.next_deadline(), broker.next_deadline()))))
            consumer.tell(now, "handle_timeout")
            broker.handle_timeout(now)

    def go_on() -> int:
        """Gives the number of records that there were, if any."""
        output = consumer.tell(now, "poll")
        if isinstance(output, Rebalance):
            consumer.tell(now, "event_done", output)
        elif output is None:
            waiting = consumer.tell(now, "wait")
            while not waiting.done:
                turn()
        return len(output) if isinstance(output, list) else 0

    turn()
    consumer.tell(now, "subscribe", "orders")
    while go_on() < 3:
        pass
    for conn in list(ends):
        broker.disconnected(ends.pop(conn), "cut", now)
        consumer.tell(now, "disconnected", conn, "connection reset by peer")
    broker.append("orders", 0, [b"milk", b"tea"], now)
    while go_on() < 2:
        pass
    closing = consumer.tell(now, "close")
    while not closing.done:
        go_on()
    return consumer.lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--whole", action="store_true")
    args = parser.parse_args()
    if args.record:
        args.record.write_text("\n".join(record()) + "\n")
    else:
        replay(args.file.read_text().splitlines() if args.file else record(), args.whole)


if __name__ == "__main__":
    main()

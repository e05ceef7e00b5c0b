"""A consumer's session, recorded and then replayed without a network: how to see what an engine does.

    python docs/examples/replay.py                  records a session with the embedded broker, and replays it
    python docs/examples/replay.py --record FILE    only records it
    python docs/examples/replay.py FILE             replays one, of `Consumer(..., trace="FILE")` somewhere

The replay prints every input, effect and event, and stops where something else comes of a line than what was recorded.
With `--piece 1` it hands in what was received byte by byte.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from dekaf_proto.trace import DifferenceError, Replay, Trace
from dekaf_sync import Consumer, EmbeddedBroker


def record(path: Path) -> None:
    """A member of a group reads three records, loses its connections, reads two more, and leaves."""
    with EmbeddedBroker(topics={"orders": 1}) as broker:
        broker.append("orders", 0, [b"tea", b"coffee", b"tea"])
        with Consumer(
            "orders",
            bootstrap_servers=broker.bootstrap_servers,
            group_id="billing",
            auto_offset_reset="earliest",
            trace=Trace(path, payloads=True),
        ) as consumer:
            for record in consumer:
                if record.offset == 2:
                    broker.disconnect()
                    broker.append("orders", 0, [b"milk", b"tea"])
                if record.offset == 4:
                    break


def replay(path: Path, piece: int | None) -> None:
    with open(path) as lines:
        recording = Replay(lines, piece=piece)
        for step in recording:
            print(step)
    print(f"the same, up to its end: {recording.end or 'it was cut off'}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--piece", type=int)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = args.record or args.file or Path(folder) / "session.jsonl"
        if not args.file:
            record(path)
        if not args.record:
            try:
                replay(path, args.piece)
            except DifferenceError as difference:
                raise SystemExit(str(difference)) from None


if __name__ == "__main__":
    main()

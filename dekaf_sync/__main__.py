"""The command line: `dekaf broker` and `dekaf demo`, also as `python -m dekaf_sync`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.command == "demo":
        return _demo(args)
    return _broker(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dekaf", description="Apache Kafka for Python.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    broker = commands.add_parser(
        "broker",
        help="run a Kafka broker in this process, for trying things out",
        description="Runs the embedded broker until Ctrl+C. What it holds is in memory, and gone at its end.",
    )
    broker.add_argument("--host", default="127.0.0.1", help="the address to listen on and to advertise (%(default)s)")
    broker.add_argument("--port", type=int, default=9092, help="the first node's; the others have the next ones")
    broker.add_argument("--nodes", type=_positive, default=1, help="how many nodes (%(default)s)")
    broker.add_argument(
        "--topic",
        action="append",
        default=[],
        type=_topic,
        metavar="NAME[:PARTITIONS]",
        help="a topic to begin with; may be repeated",
    )
    broker.add_argument(
        "--no-auto-create", action="store_true", help="do not make topics that a client asks for and that do not exist"
    )

    demo = commands.add_parser(
        "demo",
        help="show what it does when a consumer of a group is killed",
        description="Two consumers of a group, each in a process of its own. One is killed half-way. Then it is counted"
        " what was done, lost and done again. Exit code 1 if that is not as it has to be.",
    )
    demo.add_argument(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="a real Kafka instead of the embedded broker. The demo makes a topic of its own there, puts its orders "
        "into it, and deletes it at the end",
    )
    demo.add_argument("--orders", type=_positive, default=400, help="how many (%(default)s)")
    demo.add_argument("--speed", type=_speed, default=1.0, help="2 is twice as fast (%(default)s)")
    demo.add_argument("--plain", action="store_true", help="lines instead of a table")
    return parser


def _demo(args: argparse.Namespace) -> int:
    from dekaf_sync._demo import Plan, run

    plan = Plan(orders=args.orders, speed=args.speed, plain=args.plain, servers=args.bootstrap_servers)
    # Who is told to end tidies up first, as after Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(plan)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads any more, as after `| head`; Python tries once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _broker(args: argparse.Namespace) -> int:
    from dekaf_sync import EmbeddedBroker
    from dekaf_sync.errors import ConfigurationError

    ended = threading.Event()
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda *_: ended.set())
    try:
        broker = EmbeddedBroker(
            nodes=args.nodes,
            host=args.host,
            port=args.port,
            topics=dict(args.topic),
            auto_create_partitions=None if args.no_auto_create else 1,
        )
        broker.start()
    except (OSError, ValueError, ConfigurationError) as error:
        print(f"dekaf broker: {error}", file=sys.stderr)
        return 1
    with_topics = ", ".join(f"{name} ({partitions})" for name, partitions in args.topic)
    print(f"bootstrap.servers={broker.bootstrap_servers}", flush=True)
    print(f"topics: {with_topics or 'none yet'}. Ctrl+C ends it.", flush=True)
    while not ended.wait(1.0):  # in slices: Windows lets no signal into a long wait
        pass
    broker.stop()
    print("ended", flush=True)
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return speed


def _topic(text: str) -> tuple[str, int]:
    name, colon, partitions = text.partition(":")
    if not name or (colon and not partitions.isdigit()) or (colon and int(partitions) < 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME:PARTITIONS")
    return name, int(partitions) if colon else 1


if __name__ == "__main__":
    raise SystemExit(main())

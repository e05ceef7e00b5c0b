"""What `import` costs, over bare Python: ours, and the other Kafka clients that are installed here.

    python bench/import_time.py [ROUNDS=15]

Each import runs in a new interpreter, with its bytecode cached; the rounds alternate between the contestants, and the
best of each is shown, less that of `pass`. `import dekaf_proto` is to stay below 40 ms. The others come with
`pip install -e ".[bench]"`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time

OURS = {
    "dekaf_proto": "import dekaf_proto",
    "  with the wire format": "from dekaf_proto.wire import encode_request",
    "  with one message": "from dekaf_proto.messages import FetchRequest",
    "  with records": "from dekaf_proto.records import read_batches",
    "  with the codecs": "import dekaf_proto.records, crc32c, cramjam",
}
PEERS = {
    "confluent_kafka": "import confluent_kafka",
    "aiokafka": "import aiokafka",
    "kafka": "import kafka",
}


def seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main(rounds: int) -> None:
    contestants = {"bare Python": "pass", **OURS}
    for module, statement in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{module} is not installed")
        else:
            contestants[module] = statement
    for statement in contestants.values():
        seconds(statement)  # writes the bytecode
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, statement in contestants.items():
            times[name].append(seconds(statement))
    bare = min(times["bare Python"])
    print(f"bare Python {1000 * bare:.0f} ms; over that, best of {rounds}:")
    for name in contestants:
        if name != "bare Python":
            print(f"{name:24}{1000 * (min(times[name]) - bare):6.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)

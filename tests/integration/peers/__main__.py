"""`python -m tests.integration.peers PEER BOOTSTRAP TOPIC NOW` prints what the peer has seen, as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from time import monotonic

from tests.integration.peers.peer import Peer
from tests.integration.peers.story import Story


def main(name: str, bootstrap: str, topic: str, now: str) -> None:
    peer: Peer = importlib.import_module(f"tests.integration.peers.{name}").Client(bootstrap, topic)
    try:
        story = Story(peer, int(now))
        for step in story.steps:
            began = monotonic()
            step()
            print(f"{step.__name__}: {monotonic() - began:.1f} s", file=sys.stderr)
    finally:
        peer.close()
    print(json.dumps(story.seen))


if __name__ == "__main__":
    main(*sys.argv[1:])

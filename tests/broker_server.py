"""An EmbeddedBroker as most tests use it: around an engine that they have made, and entered for its addresses.

    with BrokerServer(Broker(nodes=3)) as bootstrap:        # "127.0.0.1:41721,127.0.0.1:36493,..."
        ...

    server = BrokerServer(broker)
    with server as bootstrap:
        server.call(lambda broker, now: broker.append("orders", 0, [b"x"], now))
        server.call(lambda broker, now: broker.stop_node(1, now))

Real time is for drivers only: rules are tested with `tests.network`.
"""

from __future__ import annotations

from dekaf_proto.broker import Broker
from dekaf_sync import EmbeddedBroker


class BrokerServer:
    """See the module. It can be entered once."""

    def __init__(self, broker: Broker) -> None:
        self._embedded = EmbeddedBroker(engine=broker)
        self.call = self._embedded.call

    def __enter__(self) -> str:
        self._embedded.start()
        return self._embedded.bootstrap_servers

    def __exit__(self, *_: object) -> None:
        self._embedded.stop()

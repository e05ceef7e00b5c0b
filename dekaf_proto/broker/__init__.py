"""The embedded broker: the server's role of the protocol, as an engine without I/O.

    broker = Broker(nodes=3)
    broker.create_topic("orders", partitions=2)
    broker.append("orders", 0, [b"first", NewRecord(b"second", key=b"k")], now)

A driver carries out its effects (`Listen`, `Send`, `Disconnect`) and tells it what arrives, as with the client's
engines: `dekaf_sync.EmbeddedBroker` and `dekaf_trio.EmbeddedBroker` do. What a program or a test does to it directly
(topics, records, leaders, faults) are methods. It offers what `handlers.HANDLERS` answers; what it does as Kafka does
it, and what it does not, is in docs/embedded-broker.md. Groups are those of the classic protocol.
"""

from dekaf_proto.broker.engine import Broker, ReceivedRequest
from dekaf_proto.broker.faults import Fault, Faults
from dekaf_proto.broker.groups import CommittedOffset, GroupOptions, GroupSnapshot, GroupState, MemberSnapshot
from dekaf_proto.broker.inprocess import NewRecord
from dekaf_proto.broker.transactions import TransactionOptions, TransactionSnapshot, TransactionState

__all__ = [
    "Broker",
    "CommittedOffset",
    "Fault",
    "Faults",
    "GroupOptions",
    "GroupSnapshot",
    "GroupState",
    "MemberSnapshot",
    "NewRecord",
    "ReceivedRequest",
    "TransactionOptions",
    "TransactionSnapshot",
    "TransactionState",
]

"""The consumer: an engine without I/O, and what it hands out.

`engine.Consumer` is the whole of it to a driver. Behind it, each with its own table or flows: `partition` (where each
partition stands), `positions` (finding out), `fetcher` and `session` (fetching), `chunk` (what was fetched, on its way
to the application) and `handout` (what it is given when), `commits` (offsets of the group), `lookups` (questions to
leaders).
"""

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.engine import Consumer
from dekaf_proto.consumer.generic import FetchedRecords
from dekaf_proto.consumer.handout import Bound
from dekaf_proto.consumer.metrics import ConsumerMetrics

__all__ = ["Batch", "Bound", "Consumer", "ConsumerMetrics", "FetchedRecords"]

"""Where dekaf reads records otherwise than Java, on purpose: mutation of the golden file -> decision.

The key is the `mutation` of a line of records-SEED.jsonl. A line that differs from Java's view passes only if it is
found here and differs as the decision says. docs/record-decisions.md tells the same for readers. What a flipped bit
does depends on what the seed has put there; hence several decisions on that.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Outcome(Enum):
    """What dekaf does where Java reads on."""

    REFUSED = "refused"  # a CorruptRecordError at the damaged batch
    REFUSED_EARLIER = "refused earlier"  # Java refuses it too, but hands out records first
    HEADER_KEYS = "header keys"  # bytes that are not UTF-8 are kept, Java puts U+FFFD in their place


class Decision(NamedTuple):
    """`where`: what the line's name must begin with besides; `says`: what dekaf's reason must contain besides."""

    where: str | tuple[str, ...]
    outcome: Outcome
    reason: str
    says: str = ""


_NULL = "only -1 means null; to guess that another negative length does could turn a value into a tombstone"
_COUNT = "more records than offsets: the header contradicts itself, so nothing in the batch is believed"
_OFFSETS = "the reader would hand out records twice, or skip some, or never get past the batch"

DECISIONS: dict[str, Decision] = {
    "count 0, crc fixed": Decision("corrupt/v2/", Outcome.REFUSED, "the records would be lost without a word"),
    "count one more, crc fixed": Decision("corrupt/v2/", Outcome.REFUSED_EARLIER, _COUNT),
    "count 1000000, crc fixed": Decision("corrupt/v2/", Outcome.REFUSED_EARLIER, _COUNT),
    "count 2147483647, crc fixed": Decision("corrupt/v2/", Outcome.REFUSED_EARLIER, _COUNT),
    "last offset delta too small, crc fixed": Decision("corrupt/v2/", Outcome.REFUSED, _OFFSETS),
    "last offset delta -1, crc fixed": Decision("corrupt/v2/", Outcome.REFUSED, _OFFSETS),
    "offset delta negative": Decision("corrupt/record/", Outcome.REFUSED, _OFFSETS),
    "offset delta int32 max": Decision("corrupt/record/", Outcome.REFUSED, _OFFSETS),
    "key length -2": Decision("corrupt/record/", Outcome.REFUSED, _NULL),
    "value length -2": Decision("corrupt/record/", Outcome.REFUSED, _NULL),
    "header value length -2": Decision("corrupt/record/", Outcome.REFUSED, _NULL),
    "key length -2, crc fixed": Decision("corrupt/v", Outcome.REFUSED, _NULL),
    "record length varint with a fifth byte above 0x0f": Decision(
        "corrupt/record/", Outcome.REFUSED, "the bits beyond the 32nd would be dropped"
    ),
    "junk after the compressed payload, length and crc fixed": Decision(
        "corrupt/v2/", Outcome.REFUSED, "bytes that nobody reads may have been records"
    ),
    "compressed stream twice, length and crc fixed": Decision(
        "corrupt/v2/lz4/", Outcome.REFUSED, "the second stream holds records that Java's lz4 reader does not look at"
    ),
    "header key bad utf-8": Decision("corrupt/record/", Outcome.HEADER_KEYS, "two different keys must stay different"),
    "header key utf-8 surrogate": Decision(
        "corrupt/record/", Outcome.HEADER_KEYS, "two different keys must stay different"
    ),
}


#: The last bit but two of a null value's length; one of a header's value; one of a header's key.
_FLIPPED_BIT: Final = (
    Decision(("corrupt/v0/none/", "corrupt/v1/none/"), Outcome.REFUSED, _NULL, "a message's value claims -"),
    Decision("corrupt/v2/none/", Outcome.REFUSED, _NULL, "a header's value has a negative length"),
    Decision("corrupt/v2/none/", Outcome.HEADER_KEYS, "two different keys must stay different"),
)


def decisions_for(name: str, mutation: str | None) -> list[Decision]:
    """The decisions on a line of this name and mutation."""
    if mutation == "payload bit flipped, crc fixed":
        found: tuple[Decision, ...] = _FLIPPED_BIT
    else:
        found = (DECISIONS[mutation],) if mutation in DECISIONS else ()
    return [decision for decision in found if name.startswith(decision.where)]

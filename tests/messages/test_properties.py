"""What holds for every message in every version, whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dekaf_proto.errors import DecodeError
from dekaf_proto.wire import decode, encode
from dekaf_proto.wire.schema import Message
from tests.strategies import class_versions, examples, messages_of

CLASS_VERSIONS = list(class_versions())

every_message = pytest.mark.parametrize(
    "cls,version", CLASS_VERSIONS, ids=[f"{cls.__name__}-{version}" for cls, version in CLASS_VERSIONS]
)
# A few examples each: there are more than four hundred of them, and the golden vectors stand behind these.
few = settings(max_examples=examples(3), suppress_health_check=list(HealthCheck))


@every_message
@few
@given(st.data())
def test_what_was_encoded_is_decoded(cls: type[Message], version: int, data: st.DataObject) -> None:
    message = data.draw(messages_of(cls, version))
    encoded = encode(message, version)
    decoded = decode(cls, version, encoded)
    assert decoded == message
    assert encode(decoded, version) == encoded

    # W10: nothing may be left over, and (W13-W18) nothing may be missing.
    with pytest.raises(DecodeError, match=f"^{cls.__name__} v{version}: 1 bytes are left over$"):
        decode(cls, version, encoded + b"\0")
    for end in _cuts(data, len(encoded)):
        with pytest.raises(DecodeError, match=f"^{cls.__name__} v{version}: "):
            decode(cls, version, encoded[:end])


def _cuts(data: st.DataObject, size: int) -> list[int]:
    """Every place to cut a short message, some of a long one."""
    if size <= 100:
        return list(range(size))
    return [0, size - 1, *data.draw(st.lists(st.integers(1, size - 2), min_size=30, max_size=30))]


@every_message
@few
@given(st.data())
def test_a_damaged_message_is_an_error_or_another_message(
    cls: type[Message], version: int, data: st.DataObject
) -> None:
    encoded = bytearray(encode(data.draw(messages_of(cls, version)), version))
    random = data.draw(st.randoms(use_true_random=False))
    for _ in range(min(len(encoded), 40)):
        place, flip = random.randrange(len(encoded)), random.randrange(1, 256)
        encoded[place] ^= flip
        error = None
        try:
            again = encode(decode(cls, version, encoded), version)
        except DecodeError as e:
            error = e
        else:
            assert decode(cls, version, again) == decode(cls, version, encoded)
        assert error is None or error.what == f"{cls.__name__} v{version}"
        encoded[place] ^= flip

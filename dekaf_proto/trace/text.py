"""Lines of recordings, for people."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Final
from zlib import decompress

from dekaf_proto.trace.payloads import frames_of
from dekaf_proto.wire import decode_request

_INDENT: Final = " " * 13


def shown(line: dict[str, Any]) -> str:
    """A line: its call, and what came of it below."""
    if "t" in line:
        first = f"{line['t']:12.3f} {line['do']}({', '.join(map(_value, _arguments(line)))})"
    else:
        first = _INDENT + brief(line)
    entries = [_INDENT + "  " + _entry(entry, False) for entry in line.get("out", ())]
    return "\n".join([first, *entries])


def brief(line: dict[str, Any]) -> str:
    """Which line it is."""
    if "do" in line:
        return f"{line['do']} at {line['t']}" if "t" in line else str(line["do"])
    return ", ".join(f"{key} {value}" for key, value in line.items() if key != "out")


def differences(recorded: dict[str, Any], replayed: dict[str, Any]) -> list[str]:
    """The first thing that is another in two lines."""
    was, now = recorded.get("out", []), replayed.get("out", [])
    for index in range(max(len(was), len(now))):
        if was[index : index + 1] != now[index : index + 1]:
            first, second = (_entry(out[index], True) if index < len(out) else "nothing" for out in (was, now))
            return [f"    recorded: {first}", f"    replayed: {second}"]
    keys = [key for key in {**recorded, **replayed} if key != "with" and recorded.get(key) != replayed.get(key)]
    return [f"    {which}: {key} {line.get(key)}" for key in keys[:1] for which, line in
            (("recorded", recorded), ("replayed", replayed))]  # fmt: skip


def _arguments(line: dict[str, Any]) -> Iterator[Any]:
    for name, value in line.get("with", {}).items():
        if name in ("data", "packed"):
            data = b64decode(value)
            yield f"{len(data if name == 'data' else decompress(data))} bytes"
        elif value is not None:
            yield value


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if not isinstance(value, dict):
        return str(value)
    name, content = value["$"], value["v"]
    if name == "TopicPartition":
        return "-".join(map(str, content))
    if isinstance(content, list):
        return f"{name}({', '.join(map(_value, content))})"
    return f"{name} {content}"


def _entry(entry: list[Any], whole: bool) -> str:
    """What came of a line; a request with all its fields if it is to be `whole`."""
    if entry[0] != "Send":
        return " ".join(map(str, entry))
    if not whole:
        return f"Send {entry[1]} {entry[2]}"
    requests = [decode_request(frame[4:]) for frame in frames_of(b64decode(entry[3]))]
    return f"Send {entry[1]} " + ", ".join(f"#{header.correlation_id} {request!r}" for header, request in requests)

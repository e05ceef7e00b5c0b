"""Writes docs/configuration.md from the rows of `dekaf_proto.config.ConsumerConfig`.

    python tools/make_config_docs.py [--check]

`--check` writes nothing, and fails if the file differs from what would be written.
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.options import INT32, INT64

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

HEAD = """\
# Configuration

<!-- Made by tools/make_config_docs.py from dekaf_proto/config.py: change the rows there. -->

Options are keyword arguments of `Consumer`, or of a `ConsumerConfig` that is given to it as `config`. They have Kafka's
names in snake_case and, but for `client_id`, the defaults of Java's consumer. All are checked before anything is
sent: an unknown option, one that is not yet supported, or a value that is not allowed is a `ConfigurationError` that
says what would be right. Time-outs passed to methods are in seconds, options in their unit.

`ConsumerConfig.from_properties` takes Java's spelling (`group.id`) and text (`"true"`, `"5000"`), as in a `.properties`
file. `config.replace(group_id="audit")` is a copy with other options.
"""


def shown(value: object) -> str:
    """A default as a user would write it."""
    if isinstance(value, Enum):
        value = value.name.lower()
    if isinstance(value, tuple):
        return f"`{list(value)!r}`".replace("'", '"')
    return f"`{value!r}`" if value is None or isinstance(value, bool | int) else f'`"{value}"`'


def document() -> str:
    """The whole text."""
    defaults = ConsumerConfig.defaults()
    lines = [HEAD.rstrip()]
    for name, option in ConsumerConfig.options().items():
        if option.section:
            lines += [
                "",
                f"## {option.section}",
                "",
                "| option | default | allowed | what it does |",
                "|---|---|---|---|",
            ]
        default = shown(defaults[name]) if name in defaults else "required"
        allowed = option.allowed.replace(str(INT64), "2^63-1").replace(str(INT32), "2^31-1").replace("|", "\\|")
        kip = f" (KIP-{option.kip})" if option.kip else ""
        lines.append(f"| `{name}` | {default} | {allowed} | {option.doc}{kip} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """The exit status."""
    text = document()
    if "--check" in arguments:
        current = TARGET.exists() and TARGET.read_text() == text
        if not current:
            print(f"{TARGET.name} is not what tools/make_config_docs.py writes", file=sys.stderr)
        return 0 if current else 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

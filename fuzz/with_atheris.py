"""Runs one target under atheris, in a process of its own: libFuzzer ends it when it is done.

python -m fuzz.with_atheris TARGET CORPUS_FOLDER [LIBFUZZER_OPTION ...]
"""

from __future__ import annotations

import importlib
import sys

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]


def main(arguments: list[str]) -> None:
    target, *options = arguments
    # Instrumented while it is imported, so that the fuzzer sees which branches an input takes. A compiled dekaf shows
    # none of them.
    with atheris.instrument_imports(include=["dekaf_proto"]):
        fuzz_one = importlib.import_module(f"fuzz.{target}").fuzz_one
        # Modules that dekaf loads on first use must not come too late for it.
        for name in (
            "batch",
            "builder",
            "compression",
            "checksum",
            "control",
            "isolation",
            "iterator",
            "legacy",
            "stream",
        ):
            importlib.import_module(f"dekaf_proto.records.{name}")
    atheris.Setup([sys.argv[0], *options], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

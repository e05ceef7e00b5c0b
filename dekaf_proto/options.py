"""How a configuration class works: each field carries an `Option`, and everything else derives from those.

A class of options is a frozen dataclass whose fields have `metadata=integer(...)` or one of the other kinds below. The
same row is what checks a value, what an error quotes and what the reference in docs/ is made from. `Options` has what
such classes share: filling the fields, errors for names that are no options, reading properties, replacing, and a repr
that shows no secret.

Nothing here knows what an option does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from dekaf_proto.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

INT32: Final = 2**31 - 1
INT64: Final = 2**63 - 1

_SHOWN: Final = 100  # how much of a wrong value an error quotes
KEY: Final = "option"  # where a field keeps its Option

_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")

T = TypeVar("T")
S = TypeVar("S", bound=str | None)


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """What an option takes and means.

    `read` makes the field's value of what was given; its ValueError says what is wrong, or nothing where `allowed` says
    it all. `from_text` turns the text of a properties file into what `read` takes, and leaves to it what it does not
    understand. `kip` says where to read more, `section` is the heading in the reference, given with the first option
    below it.
    """

    allowed: str
    read: Callable[[object], T]
    doc: str
    kip: int | None = None
    section: str = ""
    secret: bool = False
    from_text: Callable[[str], object] = str

    def check(self, name: str, given: object) -> T:
        """The field's value; ConfigurationError, under the name `name`, if `given` is not allowed."""
        try:
            return self.read(given)
        except ValueError as error:
            reason = "" if self.secret else str(error)
            raise self.error(name, reason or f"must be {self.allowed}", given) from None

    def error(self, name: str, reason: str, given: object) -> ConfigurationError:
        """What is raised about the value `given`, which is shown unless it is a secret."""
        shown = "" if self.secret else repr(given)
        return ConfigurationError(name, reason, shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}...")


# ------------------------------------------------------------------------------------------------------------ kinds


# Each gives the dataclass field of one option, typed as the field's value so that type checkers see the default.


def option(default: T, allowed: str, read: Callable[[object], T], doc: str, **more: Any) -> T:
    """An option of its own kind; `more` are the other fields of `Option`."""
    return field(default=default, metadata={KEY: Option(allowed, read, doc, **more)})


def integer(default: int, low: int, high: int, unit: str, doc: str, **more: Any) -> int:
    """A whole number from `low` to `high`, counted in `unit` (`"ms"`, `"bytes"`)."""

    def read(given: object) -> int:
        if isinstance(given, int) and not isinstance(given, bool) and low <= given <= high:
            return given
        raise ValueError

    def from_text(text: str) -> object:
        digits = text.strip()
        return int(digits) if _INTEGER.fullmatch(digits) else text

    allowed = f"an integer from {low} to {high} ({unit})"
    return option(default, allowed, read, doc, from_text=from_text, **more)


def boolean(default: bool, doc: str, **more: Any) -> bool:
    """True or False, and nothing that merely counts as one of them."""

    def read(given: object) -> bool:
        if isinstance(given, bool):
            return given
        raise ValueError

    def from_text(text: str) -> object:
        return {"true": True, "false": False}.get(text.strip().lower(), text)

    return option(default, "True or False", read, doc, from_text=from_text, **more)


def text(default: S, doc: str, **more: Any) -> S:
    """A string; empty, or None, only if the default is."""
    allowed = {"": "a string", None: "a string that is not empty, or None"}.get(default, "a string that is not empty")

    def read(given: object) -> Any:
        if given == default or (isinstance(given, str) and (given or default == "")):
            return given
        raise ValueError

    return option(default, allowed, read, doc, **more)


def choice(default: T, values: Mapping[str, T], doc: str, *, later: tuple[str, ...] = (), **more: Any) -> T:
    """One of the names in `values`, or directly the value that it stands for. `later`: known, but not yet supported."""
    allowed = " or ".join(f'"{name}"' for name in values)

    def read(given: object) -> T:
        if isinstance(given, str) and given in later:
            raise ValueError(f"not yet supported; for now it must be {allowed}")
        for name, value in values.items():
            if given is value or (isinstance(given, str) and given == name):
                return value
        raise ValueError

    return option(default, allowed, read, doc, from_text=str.strip, **more)


def function(doc: str, names: Mapping[str, Callable[[bytes], object] | None], **more: Any) -> Any:
    """A callable, or None. `names`: what stands for one in a properties file."""
    known = " and ".join(name.rpartition(".")[2] for name in names)
    allowed = f"a callable that takes bytes, or None (from_properties also knows Java's {known})"

    def read(given: object) -> object:
        if given is None or callable(given):
            return given
        raise ValueError

    def from_text(text: str) -> object:
        return names.get(text.strip(), text)

    return option(None, allowed, read, doc, from_text=from_text, **more)


# ------------------------------------------------------------------------------------------------- the class of them


class Options:
    """The base of a frozen, slotted dataclass of options, which has to have a field `_given` as well."""

    __slots__ = ()

    #: Options that a later version will have, or prefixes of such, ending in `_`.
    _LATER: ClassVar[tuple[str, ...]] = ()
    #: What other clients call things -> what to do instead; a bare name is an option's.
    _HINTS: ClassVar[Mapping[str, str]] = {}

    _given: frozenset[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # With slots, dataclass makes the class twice, and its __setattr__ knows only the first one: whatever is set by
        # others than us would be a TypeError, also the `__orig_class__` that `ConsumerConfig[str, str](...)` sets.
        if "__setattr__" in vars(cls):
            type.__setattr__(cls, "__setattr__", _refuse_change)

    @classmethod
    def options(cls) -> dict[str, Option[Any]]:
        """Every option by its name, in the order of the reference."""
        return {row.name: row.metadata[KEY] for row in cls._rows()}

    @classmethod
    def defaults(cls) -> dict[str, object]:
        """The default of every option that need not be given."""
        return {row.name: row.default for row in cls._rows() if row.default is not MISSING}

    @classmethod
    def _rows(cls) -> Iterator[Field[Any]]:
        return (row for row in fields(cls) if KEY in row.metadata)  # type: ignore[arg-type]  # subclasses are dataclasses

    @classmethod
    def _from_properties(cls, properties: Mapping[str, object]) -> Self:
        """From Java's names, with values that are text or what the constructor takes."""
        known = cls.options()
        given = {}
        for name, value in properties.items():
            option = known.get(name.replace(".", "_"))
            if option is None or _dotted(name) != name:
                raise cls._unknown(name, _dotted)
            given[name.replace(".", "_")] = option.from_text(value) if isinstance(value, str) else value
        self = cls.__new__(cls)
        self._fill(given, _dotted)
        return self

    def _replaced(self, options: Mapping[str, object]) -> Self:
        """A copy in which `options` are as given, checked as a whole again."""
        new = self.__new__(type(self))
        new._fill({**self._explicit(), **options}, str)
        return new

    def _fill(self, given: Mapping[str, object], spell: Callable[[str], str]) -> None:
        """Sets every field once; `spell` makes the names in errors those that the user wrote."""
        known, defaults = self.options(), self.defaults()
        for name in given:
            if name not in known:
                raise self._unknown(name, spell)
        for name, option in known.items():
            if name in given:
                value = option.check(spell(name), given[name])
            elif name in defaults:
                value = defaults[name]
            else:
                raise ConfigurationError(spell(name), f"is required: {option.allowed}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_given", frozenset(given))
        self._check(spell)

    def _check(self, spell: Callable[[str], str]) -> None:
        """What concerns several options at once."""

    def _refuse(self, name: str, reason: str, spell: Callable[[str], str]) -> ConfigurationError:
        return self.options()[name].error(spell(name), reason, getattr(self, name))

    @classmethod
    def _unknown(cls, name: str, spell: Callable[[str], str]) -> ConfigurationError:
        """About a name that is no option. Its value is never shown: it may be a password under a misspelt name."""
        known = cls.options()
        plain = name.replace(".", "_").lower()
        if any(plain == later or (later.endswith("_") and plain.startswith(later)) for later in cls._LATER):
            return ConfigurationError(name, "not yet supported")
        hint = cls._HINTS.get(plain, "")
        if plain in known:
            java = "." in name and spell(plain) == plain
            reason = f", write {spell(plain)}" + (
                f" ({cls.__name__}.from_properties takes Java's names)" if java else ""
            )
        elif hint:
            reason = f", use {spell(hint)}" if hint in known else f": {hint}"
        else:
            from difflib import get_close_matches

            close = get_close_matches(plain, [*known, *(later for later in cls._LATER if later[-1] != "_")], 1)
            reason = f", did you mean {spell(close[0])}?" if close else ""
        return ConfigurationError(name, f"unknown option{reason}")

    def _explicit(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.options() if name in self._given}

    def __repr__(self) -> str:
        known = self.options()
        shown = (f"{name}={'***' if known[name].secret else repr(value)}" for name, value in self._explicit().items())
        return f"{type(self).__name__}({', '.join(shown)})"


def _refuse_change(self: object, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _dotted(name: str) -> str:
    return name.replace("_", ".")

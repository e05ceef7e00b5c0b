"""Looks up names in threads of their own: `getaddrinfo` may take minutes and can't be told to stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from dekaf_proto.events import Address

#: Takes the addresses, in the order in which to try them, or what went wrong.
Answer = Callable[[list[Address] | str], None]


def resolve(host: str, port: int, answer: Answer) -> None:
    """Calls `answer` once, from another thread (or from this one, if no thread can be started)."""
    thread = threading.Thread(target=_look_up, args=(host, port, answer), name=f"dekaf: looks up {host}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        answer(str(error))


def _look_up(host: str, port: int, answer: Answer) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        answer(error.strerror or str(error))
    except UnicodeError as error:  # a name that IDNA does not allow
        answer(str(error))
    else:
        answer(list(dict.fromkeys(Address(str(place[0]), port) for *_, place in found)))

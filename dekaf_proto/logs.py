"""Logging that does not flood: what goes wrong again and again is said once, and then once in a while with a count."""

from __future__ import annotations

import logging
from typing import Final

#: How long the same complaint is kept back, in seconds.
INTERVAL: Final = 30.0


class RateLimited:
    """Warnings of one logger; `subject` tells complaints apart."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said: dict[str, tuple[float, int]] = {}

    def warning(self, now: float, subject: str, text: str, *arguments: object) -> None:
        """Logs `text`, unless the same subject was logged less than 30 seconds ago."""
        since, kept_back = self._said.get(subject, (float("-inf"), 0))
        if now - since < INTERVAL:
            self._said[subject] = (since, kept_back + 1)
            return
        self._said[subject] = (now, 0)
        if kept_back:
            text += f" ({kept_back} more in the last {now - since:.0f} s)"
        self._logger.warning(text, *arguments)

    def settled(self, subject: str) -> None:
        """The trouble is over: the next one is said at once."""
        self._said.pop(subject, None)

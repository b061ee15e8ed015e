"""Messages that must not be used: each is counted, the first of its kind is told, and so is that all is well again."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from rclpy.impl.rcutils_logger import RcutilsLogger

# A source without a fault for so long is well again; sooner, one that changes to and fro would fill the log.
_CALM_S = 1.0


@dataclass
class _Spell:
    """A time during which a source sends messages that must not be used, maybe between others."""

    reasons: set[str] = field(default_factory=set)
    count: int = 0
    last_s: float = 0.0


class Refusals:
    """What is refused of a node's inputs."""

    def __init__(self, logger: RcutilsLogger, counters: Counter[str]) -> None:
        """Start without any.

        Args:
            logger: where to tell.
            counters: where to count, under ``refused_`` and the reason.
        """
        self._logger = logger
        self._counters = counters
        self._spells: dict[str, _Spell] = {}

    def add(self, source: str, reason: str, text: str) -> None:
        """A message is refused.

        Args:
            source: the topic, for people.
            reason: short name of the fault.
            text: what was wrong.
        """
        self._counters[f"refused_{reason}"] += 1
        spell = self._spells.setdefault(source, _Spell())
        spell.count += 1
        spell.last_s = time.monotonic()
        if reason not in spell.reasons:
            spell.reasons.add(reason)
            self._logger.warning(f"{source} refused: {text}; more of this is counted, not told")

    @property
    def any(self) -> bool:
        """Whether a source is not well again yet."""
        return bool(self._spells)

    def accept(self, source: str) -> None:
        """A message could be used."""
        spell = self._spells.get(source)
        if spell is not None and time.monotonic() - spell.last_s > _CALM_S:
            del self._spells[source]
            self._logger.info(f"{source} is well again; {spell.count} messages were refused")

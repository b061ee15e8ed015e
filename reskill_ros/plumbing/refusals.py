"""Refused messages: each is counted; the first of each reason and the recovery of the source are logged."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from rclpy.impl.rcutils_logger import RcutilsLogger

# Time without a fault after which a source counts as recovered; limits the log output of an alternating source.
_CALM_S = 1.0


@dataclass
class _Spell:
    """Period in which a source sends refused messages, possibly among valid ones."""

    reasons: set[str] = field(default_factory=set)
    count: int = 0
    last_s: float = 0.0


class Refusals:
    """Refused messages of a node's inputs."""

    def __init__(self, logger: RcutilsLogger, counters: Counter[str]) -> None:
        """Start without refused messages.

        Args:
            logger: logger of the node.
            counters: counters to increment; the key is ``refused_`` followed by the reason.
        """
        self._logger = logger
        self._counters = counters
        self._spells: dict[str, _Spell] = {}

    def add(self, source: str, reason: str, text: str) -> None:
        """Count a refused message and log the first one of each reason.

        Args:
            source: topic as shown in the log.
            reason: short name of the fault.
            text: description of the fault.
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
        """Whether a source has not recovered yet."""
        return bool(self._spells)

    def accept(self, source: str) -> None:
        """Note a valid message; log the recovery of its source."""
        spell = self._spells.get(source)
        if spell is not None and time.monotonic() - spell.last_s > _CALM_S:
            del self._spells[source]
            self._logger.info(f"{source} is well again; {spell.count} messages were refused")

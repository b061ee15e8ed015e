"""Detection of sources with several publishers, as opposed to one publisher that replaces another."""

from __future__ import annotations

from collections.abc import Hashable

# How long previous publishers and contested sources are remembered [s].
_MEMORY_S = 10.0


class Rivals:
    """Detector of publishers that alternate in the same source; times are on a steady clock [s].

    A publisher that replaces another for good, as after a restart, is not a rival.
    """

    def __init__(self) -> None:
        self._replaced: dict[str, dict[Hashable, float]] = {}
        self._contested: dict[str, tuple[float, frozenset[Hashable]]] = {}

    def note(self, source: str, before: Hashable, publisher: Hashable, now_s: float) -> None:
        """Record that the publisher of a source has changed."""
        replaced = {
            who: since_s for who, since_s in self._replaced.get(source, {}).items() if now_s - since_s < _MEMORY_S
        }
        if publisher in replaced:
            self._contested[source] = (now_s, frozenset({*replaced, before}))
        self._replaced[source] = {**replaced, before: now_s}

    def current(self, now_s: float) -> dict[frozenset[Hashable], list[str]]:
        """Return the contested sources, by their set of publishers."""
        found: dict[frozenset[Hashable], list[str]] = {}
        for source, (noticed_s, publishers) in self._contested.items():
            if now_s - noticed_s < _MEMORY_S:
                found.setdefault(publishers, []).append(source)
        return found

"""Sources that more than one publisher speaks for, told from those that one publisher took over from another."""

from __future__ import annotations

from collections.abc import Hashable

# For how long it is remembered who spoke before, and that a source is contested [s].
_MEMORY_S = 10.0


class Rivals:
    """Notices publishers that take turns in the same source; times are on a steady clock [s].

    One that takes over from another that is heard no more, as after a restart, is no rival.
    """

    def __init__(self) -> None:
        self._replaced: dict[str, dict[Hashable, float]] = {}
        self._contested: dict[str, tuple[float, frozenset[Hashable]]] = {}

    def note(self, source: str, before: Hashable, publisher: Hashable, now_s: float) -> None:
        """A source has another publisher than before."""
        replaced = {
            who: since_s for who, since_s in self._replaced.get(source, {}).items() if now_s - since_s < _MEMORY_S
        }
        if publisher in replaced:
            self._contested[source] = (now_s, frozenset({*replaced, before}))
        self._replaced[source] = {**replaced, before: now_s}

    def current(self, now_s: float) -> dict[frozenset[Hashable], list[str]]:
        """The contested sources, by who speaks for them."""
        found: dict[frozenset[Hashable], list[str]] = {}
        for source, (noticed_s, publishers) in self._contested.items():
            if now_s - noticed_s < _MEMORY_S:
                found.setdefault(publishers, []).append(source)
        return found

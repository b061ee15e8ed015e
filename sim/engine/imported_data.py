"""Data of other programs, converted to a task's episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reskill_core.data import Episode


@dataclass(frozen=True)
class ImportedData:
    """Episodes of a file of another program, without simulator states.

    Attributes:
        profile: name of their origin, in place of a simulator profile.
        provenance: what is known of the file, ready for JSON.
        notes: how it was converted, one sentence each, for users.
        episodes: the episodes, converted on demand.
    """

    profile: str
    provenance: Mapping[str, Any]
    notes: Sequence[str]
    episodes: Iterator[Episode]

"""Lineage of checkpoints and results: the ingredients they were made from, as hashes and names to compare.

Provenance records the software versions, lineage the ingredients. Two checkpoints or results with the same lineage were
made from the same episodes, skills and agent in the same simulated world, whatever their folders are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

# Key of the lineage in the document of a checkpoint or result.
LINEAGE_KEY = "lineage"
_SHOWN_DIGITS = 12
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class Lineage:
    """Ingredients of a checkpoint or result. None stands for an ingredient that was not used or is not known.

    Attributes:
        data: content hash of the demonstrations.
        split: SHA-256 over the digests of the training and validation episodes.
        skills: SHA-256 of the skill module's checkpoint (:attr:`~reskill_core.checkpoint.Checkpoint.sha256`).
        agent: SHA-256 of the agent's checkpoint.
        task: name of the task.
        profile: fidelity profile of the simulator.
        variation: randomisation, all fields of ``reskill_sim.engine.variation.Variation``.
        simulator: simulator and its version, such as ``mujoco 3.11.0``.
        settings: settings of the task, all of them.
    """

    data: str | None = None
    split: str | None = None
    skills: str | None = None
    agent: str | None = None
    task: str | None = None
    profile: str | None = None
    variation: Mapping[str, Any] | None = None
    simulator: str | None = None
    settings: Mapping[str, Any] | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the known ingredients, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Lineage:
        """Read the lineage from the document of a checkpoint or result; all None if it has none."""
        kept = document.get(LINEAGE_KEY)
        if not isinstance(kept, Mapping):
            # Skill checkpoints that predate lineages record this much of their data.
            data = document.get("data")
            kept = {}
            if isinstance(data, Mapping):
                kept = {"data": data.get("content_hash"), "profile": data.get("profile")}
        # Entries of a wrong type count as unknown.
        types = {field.name: Mapping if field.name in ("variation", "settings") else str for field in fields(cls)}
        return cls(**{name: kept.get(name) for name, kind in types.items() if isinstance(kept.get(name), kind)})

    def describe(self) -> str:
        """Return a readable summary, such as ``agent 841fad96562a, skills 5a1e37c20f44``; empty if nothing is known."""
        hashes = {name: getattr(self, name) for name in ("agent", "skills", "data")}
        return ", ".join(f"{name} {short_hash(value)}" for name, value in hashes.items() if value)

    def differences(self, now: Lineage) -> list[str]:
        """Compare the ingredients that both know; ``name: mine != theirs`` for each difference, hashes shortened."""
        mine, theirs = self.to_document(), now.to_document()
        return [fault for name in mine if name in theirs for fault in differences(name, mine[name], theirs[name])]

    def unknown(self, now: Lineage) -> list[str]:
        """Return the names of ingredients that only ``now`` knows, and that thus cannot be compared."""
        return [name for name in now.to_document() if name not in self.to_document()]


def differences(path: str, before: Any, now: Any) -> list[str]:
    """Compare two documents; ``path.key: before != now`` for each difference, hashes shortened, tuples equal lists."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = sorted(before.keys() | now.keys())
        return [d for key in keys for d in differences(f"{path}.{key}".lstrip("."), before.get(key), now.get(key))]
    before, now = (list(value) if isinstance(value, tuple) else value for value in (before, now))
    return [] if before == now else [f"{path}: {_shown(before)} != {_shown(now)}"]


def short_hash(sha256: str | None) -> str:
    """Return the first digits of a hash, for messages; ``unknown`` for None."""
    return sha256[:_SHOWN_DIGITS] if sha256 else "unknown"


def _shown(value: Any) -> str:
    return short_hash(value) if isinstance(value, str) and len(value) == _SHA256_DIGITS else repr(value)

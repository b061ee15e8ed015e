"""Lineage: what a checkpoint or a result was made from, as hashes and names that are compared when it is used.

Provenance says who made something, with which versions; lineage says of what. Two things with the same lineage were
made from the same episodes, skills and agent in the same world, whatever their folders are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

# Key of a checkpoint's document and of a result under which its lineage stands.
LINEAGE_KEY = "lineage"
_SHOWN_DIGITS = 12
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class Lineage:
    """What something was made from. None stands for an ingredient that there was none of, or that is not known.

    Attributes:
        data: content hash of the demonstrations.
        split: SHA-256 over the digests of the episodes learnt from, and of those that chose the best checkpoint.
        skills: SHA-256 of the skill module's checkpoint (:attr:`~reskill_core.checkpoint.Checkpoint.sha256`).
        agent: SHA-256 of the agent's checkpoint.
        task: name of the task that was acted in.
        profile: fidelity profile of the simulator.
        variation: how the world varied, as ``reskill_sim.engine.variation.Variation`` names it; complete.
        simulator: simulator and its version, such as ``mujoco 3.11.0``.
    """

    data: str | None = None
    split: str | None = None
    skills: str | None = None
    agent: str | None = None
    task: str | None = None
    profile: str | None = None
    variation: Mapping[str, Any] | None = None
    simulator: str | None = None

    def to_document(self) -> dict[str, Any]:
        """What is known, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Lineage:
        """The lineage in a checkpoint's document or in a result; nothing is known where it has none."""
        kept = document.get(LINEAGE_KEY)
        if not isinstance(kept, Mapping):
            # Skills of before there were lineages say this much of their data.
            data = document.get("data")
            kept = {}
            if isinstance(data, Mapping):
                kept = {"data": data.get("content_hash"), "profile": data.get("profile")}
        # What has another type than it should have tells nothing.
        types = {field.name: Mapping if field.name == "variation" else str for field in fields(cls)}
        return cls(**{name: kept.get(name) for name, kind in types.items() if isinstance(kept.get(name), kind)})

    def describe(self) -> str:
        """By what, for people: ``agent 841fad96562a, skills 5a1e37c20f44``; empty where nothing is known."""
        hashes = {name: getattr(self, name) for name in ("agent", "skills", "data")}
        return ", ".join(f"{name} {short_hash(value)}" for name, value in hashes.items() if value)

    def differences(self, now: Lineage) -> list[str]:
        """What differs of what both know, as ``name: mine != theirs``; hashes are shortened."""
        mine, theirs = self.to_document(), now.to_document()
        return [fault for name in mine if name in theirs for fault in differences(name, mine[name], theirs[name])]

    def unknown(self, now: Lineage) -> list[str]:
        """Names of what ``now`` knows and this does not: what cannot be compared."""
        return [name for name in now.to_document() if name not in self.to_document()]


def differences(path: str, before: Any, now: Any) -> list[str]:
    """Where two documents differ, as ``path.key: before != now``; hashes are shortened, tuples equal lists."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = sorted(before.keys() | now.keys())
        return [d for key in keys for d in differences(f"{path}.{key}".lstrip("."), before.get(key), now.get(key))]
    before, now = (list(value) if isinstance(value, tuple) else value for value in (before, now))
    return [] if before == now else [f"{path}: {_shown(before)} != {_shown(now)}"]


def short_hash(sha256: str | None) -> str:
    """A hash as people read it: its first digits; ``unknown`` where there is none."""
    return sha256[:_SHOWN_DIGITS] if sha256 else "unknown"


def _shown(value: Any) -> str:
    return short_hash(value) if isinstance(value, str) and len(value) == _SHA256_DIGITS else repr(value)

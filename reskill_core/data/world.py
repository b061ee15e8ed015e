"""World of episodes: the simulation settings that are needed to render or repeat them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from reskill_core.provenance import simulator_of

# Key of the world in a shard's ``extra``.
WORLD = "world"
# Key of older shards' provenance with the settings of `reskill collect`, including the variation.
_COLLECTION = "collection"
_MERGED_FROM, _PROVENANCE = "merged_from", "provenance"
# Profile of data from a real robot.
REAL = "real"
# Nominal values: the defaults of the simulator's variation.
NOMINAL: Mapping[str, Any] = {
    "friction": [1.0, 1.0],
    "mass": [1.0, 1.0],
    "size": [1.0, 1.0],
    "spawn": 1.0,
    "perception_noise": [0.0, 0.0],
    "perception_bias": [0.0, 0.0],
    "perception_delay": [0, 0],
    "action_delay": [0, 0],
    "lateness": [0.0, 0.0],
    "speed": [1.0, 1.0],
    "speed_limit": [1.0, 1.0],
    "lag": [0.0, 0.0],
    "overshoot": [0.0, 0.0],
    "unsteadiness": [0.0, 0.0],
    "force_limit": [200.0, 200.0],
    "finger_start": [0.0, 0.0],
    "nominal": 0.0,
}


@dataclass(frozen=True)
class DataWorld:
    """Simulation settings of episodes.

    Attributes:
        profile: fidelity profile of the simulator, or ``real``.
        variation: fields of the variation that are not nominal, with their ranges; None if unknown.
        simulator: simulator and version, such as ``mujoco 3.11.0``; None if unknown.
        mixed: whether the episodes have several worlds, and it is unknown which episode has which.
        settings: settings of the task, all of them; empty if it has none.
    """

    profile: str
    variation: Mapping[str, Any] | None = None
    simulator: str | None = None
    mixed: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_shard(
        cls,
        profile: str,
        provenance: Mapping[str, Any],
        extra: Mapping[str, Any],
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> DataWorld:
        """Read the world of a shard's episodes, as far as recorded.

        Args:
            profile: profile of the shard's specification.
            provenance: provenance of its header.
            extra: its metadata.
            settings: settings of the task in the shard's specification.
        """
        return replace(cls._recorded(profile, provenance, extra), settings=dict(settings))

    @classmethod
    def _recorded(cls, profile: str, provenance: Mapping[str, Any], extra: Mapping[str, Any]) -> DataWorld:
        kept = extra.get(WORLD)
        if isinstance(kept, Mapping):
            return cls.from_dict(profile, kept)
        if _MERGED_FROM not in extra:
            return cls._of_provenance(profile, provenance)
        # Merged by an older version, which did not separate worlds.
        origins = [found for origin in extra[_MERGED_FROM] for found in origin.get(_PROVENANCE, [])]
        worlds = [cls._of_provenance(profile, found) for found in origins]
        if any(world.variation != worlds[0].variation for world in worlds):
            return cls(profile, mixed=True)
        simulators = {world.simulator for world in worlds}
        return cls(profile, worlds[0].variation if worlds else None, simulators.pop() if len(simulators) == 1 else None)

    @classmethod
    def _of_provenance(cls, profile: str, provenance: Mapping[str, Any]) -> DataWorld:
        collection = provenance.get(_COLLECTION)
        variation = collection.get("variation") if isinstance(collection, Mapping) else None
        return cls(profile, deviations(variation), simulator_of(provenance) if profile != REAL else None)

    @classmethod
    def from_dict(cls, profile: str, document: Mapping[str, Any]) -> DataWorld:
        """Parse the document of :meth:`to_dict`."""
        simulator = document.get("simulator")
        known = str(simulator) if simulator is not None else None
        settings = document.get("settings")
        kept = dict(settings) if isinstance(settings, Mapping) else {}
        return cls(profile, deviations(document.get("variation")), known, bool(document.get("mixed")), kept)

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dictionary, ready for JSON, without the profile, which is part of the specification."""
        varied = None if self.variation is None else dict(self.variation)
        own = {"settings": dict(self.settings)} if self.settings else {}
        return {"variation": varied, "simulator": self.simulator, **({"mixed": True} if self.mixed else {}), **own}

    def describe(self) -> str:
        """Format for messages: ``fast, friction 0.5:1.5, action_delay 1, mujoco 3.11.0``."""
        told = "".join(f", {name} {_shown_setting(value)}" for name, value in self.settings.items())
        if self.profile == REAL:
            return f"a real robot{told}"
        if self.mixed:
            varied = "several variations that were merged without saying which episode has which"
        elif self.variation is None:
            varied = "variation unknown (taken to be nominal)"
        else:
            varied = ", ".join(f"{name} {_shown(value)}" for name, value in self.variation.items()) or "nominal"
        return f"{self.profile}, {varied}{told}, {self.simulator or 'simulator unknown'}"


def deviations(variation: Any) -> dict[str, Any] | None:
    """Return the fields of a variation that are not nominal."""
    if not isinstance(variation, Mapping):
        return None
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in variation.items()}
    return {name: value for name, value in plain.items() if value != NOMINAL.get(name)}


def _shown_setting(value: Any) -> str:
    return json.dumps(value).replace('"', "")


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return f"{value:g}" if isinstance(value, (int, float)) else str(value)
    return ":".join(dict.fromkeys(f"{bound:g}" if isinstance(bound, (int, float)) else str(bound) for bound in value))

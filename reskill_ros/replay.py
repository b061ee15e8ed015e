"""What a bag says about a policy: which observations it met and what it answered, to ask it again and compare."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message

from reskill_core.errors import DataError
from reskill_core.runtime import SkillAction as CoreSkillAction
from reskill_ros import convert
from reskill_ros.bag import BagReader
from reskill_ros.msg import Observation, SkillAction

_OBSERVATION_TYPE, _ACTION_TYPE = "reskill_ros/msg/Observation", "reskill_ros/msg/SkillAction"


@dataclass(frozen=True)
class Recorded:
    """One recorded observation, and the answer to it if that was recorded too."""

    stamp_ns: int
    observation: Observation
    answer: SkillAction | None


def load_recorded(bag: Path, namespace: str = "") -> list[Recorded]:
    """Read observations and answers, joined by stamp, in the order in which they were observed.

    A policy is where it was only if it has seen its episode from the start; so what follows a gap in an episode, or
    an episode whose start is not in the bag, is left out.

    Args:
        bag: folder or MCAP file.
        namespace: namespace of the recorded graph; empty: the only one in the bag.

    Raises:
        DataError: the bag has no such messages, or of several graphs.
    """
    reader = BagReader(bag)
    types = reader.topic_types()
    observation_topic = _only(types, _OBSERVATION_TYPE, "observation", namespace, bag)
    action_topic = _only(types, _ACTION_TYPE, "skill_action", namespace, bag)
    observations: dict[int, Observation] = {}
    answers: dict[int, SkillAction] = {}
    for message in reader.messages({observation_topic, action_topic}):
        kind, into = (Observation, observations) if message.topic == observation_topic else (SkillAction, answers)
        content = deserialize_message(message.data, kind)
        # A message that was repeated in lockstep is the same again.
        into.setdefault(convert.stamp_to_ns(content.header.stamp), content)
    replayed, episode_id, next_step = [], None, 0
    for stamp_ns, observation in sorted(observations.items()):
        if observation.episode_step == 0:
            episode_id, next_step = observation.episode_id, 0
        if (observation.episode_id, observation.episode_step) == (episode_id, next_step):
            replayed.append(Recorded(stamp_ns, observation, answers.get(stamp_ns)))
            next_step += 1
    return replayed


def _only(types: dict[str, str], type_name: str, name: str, namespace: str, bag: Path) -> str:
    if namespace:
        candidates = [topic for topic in types if topic == f"/{namespace.strip('/')}/{name}"]
    else:
        candidates = [topic for topic, found in types.items() if found == type_name and topic.endswith(f"/{name}")]
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(sorted(candidates or types)) or "nothing"
    if candidates:
        raise DataError(f"{bag} holds several graphs ({found}); choose one by its namespace")
    raise DataError(f"{bag} has no messages of {type_name} on {namespace or '…'}/{name}; it has {found}")


@dataclass
class Comparison:
    """How recomputed answers differ from recorded ones.

    Attributes:
        count: answers compared.
        largest: largest absolute difference by field; of fields that cannot be compared there is none.
        incomparable: fields of different lengths, or with values that are not finite.
        first_difference: stamp [ns] of the first answer that differed beyond the tolerance.
        sources: pairs (recorded, recomputed) of what the actions are said to come from.
    """

    tolerance: float
    count: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    incomparable: set[str] = field(default_factory=set)
    first_difference: int | None = None
    sources: set[tuple[str, str]] = field(default_factory=set)

    def add(self, stamp_ns: int, recorded: SkillAction, recomputed: SkillAction) -> None:
        """Compare the two answers to one observation."""
        self.count += 1
        self.sources.add((recorded.source, recomputed.source))
        theirs, ours = convert.skill_action(recorded), convert.skill_action(recomputed)
        differs = False
        for item in fields(CoreSkillAction):
            difference = _difference(getattr(theirs, item.name), getattr(ours, item.name))
            if difference is None:
                self.incomparable.add(item.name)
            else:
                self.largest[item.name] = max(self.largest.get(item.name, 0.0), difference)
            differs |= difference is None or difference > self.tolerance
        if differs and self.first_difference is None:
            self.first_difference = stamp_ns

    @property
    def equal(self) -> bool:
        """Whether something was compared, and everything agrees within the tolerance."""
        return self.count > 0 and self.first_difference is None

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "equal": self.equal,
            "compared": self.count,
            "tolerance": self.tolerance,
            "largest_difference": self.largest,
            "incomparable": sorted(self.incomparable),
            "first_difference_stamp_ns": self.first_difference,
            "sources": [list(pair) for pair in sorted(self.sources)],
        }

    def describe(self) -> str:
        """As a few lines of text."""
        verdict = "equal" if self.equal else "DIFFERENT" if self.count else "nothing to compare"
        lines = [f"{self.count} answers compared, tolerance {self.tolerance:g}: {verdict}"]
        lines += [f"  largest difference of {name}: {value:.3g}" for name, value in self.largest.items()]
        lines += [f"  {name}: different length or not finite" for name in sorted(self.incomparable)]
        lines += [
            f"  recorded from {old!r}, recomputed from {new!r}" for old, new in sorted(self.sources) if old != new
        ]
        return "\n".join(lines)


def _difference(recorded: np.ndarray, recomputed: np.ndarray) -> float | None:
    if recorded.shape != recomputed.shape:
        return None
    difference = np.abs(recorded.astype(np.float64) - recomputed.astype(np.float64))
    return float(difference.max(initial=0.0)) if np.isfinite(difference).all() else None

"""Recorded observations of a bag with a policy's actions, and the comparison of these with recomputed actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from reskill_core.data.compressed_frames import decompress_block
from reskill_core.errors import DataError
from reskill_core.runtime import SkillAction as CoreSkillAction
from reskill_core.spec import ImageFeature, TaskSpec
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.images import image_message
from reskill_ros.recording.recorded_topics import Heard, read_topics

# Replayed observations get new stamps: those of a bag with several runs would go back.
_PERIOD_NS = 40_000_000


@dataclass(frozen=True)
class Recorded:
    """Recorded observation with a new stamp, and the action in response to it.

    Attributes:
        stamp_ns: stamp of the observation in the bag [ns].
        observation: the observation.
        answer: the recorded action.
        frames: compressed frame of the observation, by image feature.
    """

    stamp_ns: int
    observation: Observation
    answer: SkillAction
    frames: Mapping[str, bytes] = field(default_factory=dict)

    def images(self, features: Sequence[ImageFeature]) -> dict[str, Image]:
        """Return the images as messages with the stamp of the observation."""
        header = self.observation.header
        pictures = {
            feature.name: decompress_block(self.frames[feature.name], 1, feature.frame_shape)[0] for feature in features
        }
        return {name: image_message(header.stamp, name, picture) for name, picture in pictures.items()}


@dataclass
class Recording:
    """Contents of a bag that can be replayed, and counts of everything in it.

    Attributes:
        items: observations that can be replayed, with the recorded actions, in order.
        observations: number of distinct observations.
        answers: number of distinct actions.
        runs: number of times that the recorded graph was started.
        faults: reasons why recorded actions cannot be compared.
        notes: harmless findings.
    """

    items: list[Recorded] = field(default_factory=list)
    observations: int = 0
    answers: int = 0
    runs: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load_recorded(bag: Path, namespace: str = "", task: TaskSpec | None = None) -> Recording:
    """Read observations, images and actions, joined by stamp, in the order of the observations.

    A policy has the same internal state only if it receives an episode from its start: an episode is left out after a
    gap, an observation without an image or an observation without an action, and altogether if its start is missing.

    Args:
        bag: folder or MCAP file.
        namespace: namespace of the recorded graph; empty: the only one in the bag.
        task: task of the policy; observations of other tasks are left out. None: any task without images.

    Raises:
        DataError: the bag has no such messages, or of several graphs, or none that can be replayed.
    """
    heard = read_topics(bag, namespace, task.obs.images if task is not None else ())
    runs = _runs(heard.observations)
    recording = Recording(observations=sum(map(len, runs)), runs=len(runs), faults=list(heard.faults))
    _join(runs, heard.answers, recording)
    for name, frames in heard.images.items():
        _join_images(runs, name, frames, recording)
    if len(runs) > 1:
        recording.notes.append(f"the recorded graph was started {len(runs)} times: the stamps go back")
    left_out: Counter[str] = Counter()
    for number, run in enumerate(runs):
        _follow(run, number == len(runs) - 1, task, recording, left_out)
    recording.faults += [f"{count} {what}" for what, count in left_out.items()]
    for number, item in enumerate(recording.items, 1):
        item.observation.header.stamp = convert.ns_to_stamp(number * _PERIOD_NS)
    if not recording.items:
        listed = "".join(f"\n  - {fault}" for fault in recording.faults)
        raise DataError(
            f"{bag} holds nothing to compare: {recording.observations} observations and {recording.answers} answers, "
            f"but no episode from its start with the actions that answered it{listed}"
        )
    return recording


@dataclass
class _Asked:
    """Observation with its first and last place in the bag, the actions in response to it, and its images by name."""

    heard: Heard
    last_place: int
    answers: list[Heard] = field(default_factory=list)
    images: dict[str, Heard] = field(default_factory=dict)

    def distance(self, place: int) -> int:
        """Number of messages between the observation and another place in the bag."""
        return max(self.heard.place - place, place - self.last_place, 0)


_Run = dict[int, _Asked]  # By stamp, in order.


def _runs(observations: Sequence[Heard]) -> list[_Run]:
    """Separate the runs of a graph: within one, stamps rise; in lockstep the newest observation may be repeated."""
    runs: list[_Run] = []
    newest: _Asked | None = None
    for heard in observations:
        if newest is not None and heard.stamp_ns == newest.heard.stamp_ns and heard.data == newest.heard.data:
            newest.last_place = heard.place
            continue
        if newest is None or heard.stamp_ns <= newest.heard.stamp_ns:
            runs.append({})
        newest = runs[-1][heard.stamp_ns] = _Asked(heard, heard.place)
    return runs


def _join(runs: Sequence[_Run], answers: Sequence[Heard], recording: Recording) -> None:
    """Assign each action to its observation: of those with its stamp, the nearest one in the bag."""
    orphans: set[int] = set()
    conflicting = 0
    for answer in answers:
        asked = _nearest(runs, answer)
        if asked is None:
            orphans.add(answer.stamp_ns)
        elif all(answer.data != other.data for other in asked.answers):
            conflicting += bool(asked.answers)
            asked.answers.append(answer)
    recording.answers = len(orphans) + sum(len(asked.answers) for run in runs for asked in run.values())
    if orphans:
        recording.faults.append(f"{len(orphans)} answers belong to no observation in the bag")
    if conflicting:
        recording.faults.append(f"{conflicting} answers differ from another one to the same observation")


def _join_images(runs: Sequence[_Run], name: str, frames: Sequence[Heard], recording: Recording) -> None:
    """Assign each frame of an image feature to its observation, as actions are."""
    conflicting = 0
    for frame in frames:
        asked = _nearest(runs, frame)
        if asked is not None:  # else of an observation whose message is missing, which is counted there
            conflicting += asked.images.setdefault(name, frame).data != frame.data
    if conflicting:
        recording.faults.append(f"{conflicting} images {name} differ from another one of the same observation")


def _nearest(runs: Sequence[_Run], heard: Heard) -> _Asked | None:
    candidates = [run[heard.stamp_ns] for run in runs if heard.stamp_ns in run]
    return min(candidates, key=lambda asked: asked.distance(heard.place), default=None)


def _follow(run: _Run, is_last: bool, task: TaskSpec | None, recording: Recording, left_out: Counter[str]) -> None:
    """Add the observations of one run that can be replayed."""
    asked = list(run.values())
    answered = [number for number, item in enumerate(asked) if item.answers]
    first = answered[0] if answered else len(asked)
    expected: tuple[int, int] | None = None
    if 0 < first < len(asked) and asked[0].heard.message.episode_step == 0:
        # A policy treats the first observation that it receives as the start of an episode.
        recording.notes.append(f"the first {first} observations were not answered: the policy was not active yet")
        asked = asked[first:]
        expected = _position(asked[0])
    for number, item in enumerate(asked):
        observation: Observation = item.heard.message
        if observation.episode_step == 0:
            expected = _position(item)
        fault = _misfit(item, task) if task is not None else ""
        if fault:
            left_out[fault] += 1
            expected = None
        elif not item.answers:
            if is_last and number == len(asked) - 1 and not recording.faults:
                recording.notes.append("the last observation was not answered before recording ended")
            else:
                left_out["observations have no answer in the bag"] += 1
            expected = None
        elif _position(item) != expected:
            left_out["answers follow a gap in their episode, or its start is missing: they cannot be recomputed"] += 1
        else:
            frames = {name: frame.data for name, frame in item.images.items()}
            recording.items.append(Recorded(item.heard.stamp_ns, observation, item.answers[0].message, frames))
            expected = (observation.episode_id, observation.episode_step + 1)


def _misfit(asked: _Asked, task: TaskSpec) -> str:
    """Why an observation cannot be replayed to a policy of a task; empty if it can."""
    if fault := convert.observation_fault(asked.heard.message, task):
        return f"observations are not of task {task.name} as the policy knows it: {fault.replace('_', ' ')}"
    missing = [image.name for image in task.obs.images if image.name not in asked.images]
    return f"observations have no image {', '.join(missing)} in the bag" if missing else ""


def _position(asked: _Asked) -> tuple[int, int]:
    return asked.heard.message.episode_id, asked.heard.message.episode_step


@dataclass
class Comparison:
    """Differences between recomputed and recorded actions.

    Attributes:
        tolerance: largest difference that counts as equal.
        count: number of compared actions.
        largest: largest absolute difference, by comparable field.
        incomparable: fields of different lengths, or with values that are not finite.
        first_difference: stamp [ns] of the first action whose difference exceeds the tolerance.
        sources: pairs (recorded, recomputed) of the actions' sources.
    """

    tolerance: float
    count: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    incomparable: set[str] = field(default_factory=set)
    first_difference: int | None = None
    sources: set[tuple[str, str]] = field(default_factory=set)

    def add(self, stamp_ns: int, recorded: SkillAction, recomputed: SkillAction) -> None:
        """Compare the two actions for one observation."""
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
        """Whether there were comparisons, and all actions are equal within the tolerance."""
        return self.count > 0 and self.first_difference is None

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison for the report, ready for JSON."""
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
        """Format the comparison as lines of text."""
        verdict = "equal" if self.equal else "DIFFERENT" if self.count else "nothing to compare"
        lines = [f"{self.count} answers compared, tolerance {self.tolerance:g}: {verdict}"]
        lines += [f"  largest difference of {name}: {value:.3g}" for name, value in self.largest.items()]
        lines += [f"  {name}: different length or not finite" for name in sorted(self.incomparable)]
        lines += [
            f"  recorded from {old!r}, recomputed from {new!r}" for old, new in sorted(self.sources) if old != new
        ]
        return "\n".join(lines)


@dataclass
class Verdict:
    """Result of a replay.

    Attributes:
        recording: contents of the bag.
        comparison: comparison of the actions.
        faults: reasons why recorded actions were not compared.
    """

    recording: Recording
    comparison: Comparison
    faults: list[str]

    @property
    def complete(self) -> bool:
        """Whether all recorded actions were compared."""
        return not self.faults and self.comparison.count == self.recording.answers

    @property
    def exit_code(self) -> int:
        """Exit code: 0 if all recorded actions were compared and are equal, 1 if any differs, else 3."""
        return 1 if self.comparison.first_difference is not None else 0 if self.complete else 3

    def to_dict(self) -> dict[str, Any]:
        """Return the result for the report, ready for JSON."""
        return {
            **self.comparison.to_dict(),
            "complete": self.complete,
            "recorded_observations": self.recording.observations,
            "recorded_answers": self.recording.answers,
            "runs": self.recording.runs,
            "faults": self.faults,
            "notes": self.recording.notes,
        }

    def describe(self) -> str:
        """Format the result as lines of text."""
        recording = self.recording
        lines = [
            f"recorded: {recording.observations} observations, {recording.answers} answers",
            *(f"  note: {note}" for note in recording.notes),
            self.comparison.describe(),
            *(f"  not compared: {fault}" for fault in self.faults),
        ]
        compared = f"{self.comparison.count} of {recording.answers}"
        last = {
            0: f"EQUAL: {compared} recorded answers compared",
            1: f"DIFFERENT: {compared} recorded answers compared",
            3: f"INCOMPLETE: {compared} answers that can be read were compared, none differs; the rest see above",
        }
        return "\n".join([*lines, last[self.exit_code]])


def _difference(recorded: np.ndarray, recomputed: np.ndarray) -> float | None:
    if recorded.shape != recomputed.shape:
        return None
    difference = np.abs(recorded.astype(np.float64) - recomputed.astype(np.float64))
    return float(difference.max(initial=0.0)) if np.isfinite(difference).all() else None

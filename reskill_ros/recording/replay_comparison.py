"""What a bag says about a policy: which observations it met and what it answered, to ask it again and compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.errors import DataError
from reskill_core.runtime import SkillAction as CoreSkillAction
from reskill_core.spec import TaskSpec
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import convert
from reskill_ros.recording.recorded_topics import Heard, read_topics

# Observations are shown again at times of their own: the stamps of a bag with several runs would go back.
_PERIOD_NS = 40_000_000


@dataclass(frozen=True)
class Recorded:
    """One recorded observation, stamped anew to be shown again, and the answer to it.

    Attributes:
        stamp_ns: its stamp in the bag [ns].
        observation: what was observed.
        answer: what was answered.
    """

    stamp_ns: int
    observation: Observation
    answer: SkillAction


@dataclass
class Recording:
    """What there is to compare in a bag, and what there is beside it.

    Attributes:
        items: observations that a policy can be asked again, with their answers, in order.
        observations: observations in the bag, each counted once.
        answers: answers in the bag, each counted once.
        runs: how often the recorded graph was started.
        faults: why not all that was recorded can be compared.
        notes: what is worth knowing beside.
    """

    items: list[Recorded] = field(default_factory=list)
    observations: int = 0
    answers: int = 0
    runs: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load_recorded(bag: Path, namespace: str = "", task: TaskSpec | None = None) -> Recording:
    """Read observations and answers, joined by stamp, in the order in which they were observed.

    A policy is where it was only if it has seen its episode from the start; so what follows a gap in an episode, or
    an observation without an answer, is left out, as is an episode whose start is not in the bag.

    Args:
        bag: folder or MCAP file.
        namespace: namespace of the recorded graph; empty: the only one in the bag.
        task: what the policy acts in; observations of other tasks are left out. None: whatever was recorded.

    Raises:
        DataError: the bag has no such messages, or of several graphs, or none that the policy could answer; or the
            task observes images.
    """
    if task is not None and task.obs.images:
        names = ", ".join(image.name for image in task.obs.images)
        raise DataError(f"task {task.name} observes images ({names}), which are not replayed from bags yet")
    heard = read_topics(bag, namespace)
    runs = _runs(heard.observations)
    recording = Recording(observations=sum(map(len, runs)), runs=len(runs), faults=list(heard.faults))
    _join(runs, heard.answers, recording)
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
    """An observation: where in the bag it stands first and last, and the answers to it."""

    heard: Heard
    last_place: int
    answers: list[Heard] = field(default_factory=list)

    def distance(self, place: int) -> int:
        """How far away in the bag a place is."""
        return max(self.heard.place - place, place - self.last_place, 0)


_Run = dict[int, _Asked]  # By stamp, in order.


def _runs(observations: Sequence[Heard]) -> list[_Run]:
    """Tell runs apart: in one of them, stamps rise; in lockstep the newest observation may be repeated."""
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
    """Give each answer to its observation: of those with its stamp, the one that is nearest to it in the bag."""
    orphans: set[int] = set()
    conflicting = 0
    for answer in answers:
        candidates = [run[answer.stamp_ns] for run in runs if answer.stamp_ns in run]
        if not candidates:
            orphans.add(answer.stamp_ns)
            continue
        asked = min(candidates, key=lambda asked: asked.distance(answer.place))
        if all(answer.data != other.data for other in asked.answers):
            conflicting += bool(asked.answers)
            asked.answers.append(answer)
    recording.answers = len(orphans) + sum(len(asked.answers) for run in runs for asked in run.values())
    if orphans:
        recording.faults.append(f"{len(orphans)} answers belong to no observation in the bag")
    if conflicting:
        recording.faults.append(f"{conflicting} answers differ from another one to the same observation")


def _follow(run: _Run, is_last: bool, task: TaskSpec | None, recording: Recording, left_out: Counter[str]) -> None:
    """Add what can be asked again of one run."""
    asked = list(run.values())
    answered = [number for number, item in enumerate(asked) if item.answers]
    first = answered[0] if answered else len(asked)
    expected: tuple[int, int] | None = None
    if 0 < first < len(asked) and asked[0].heard.message.episode_step == 0:
        # A policy takes the first observation that it hears for the start of an episode.
        recording.notes.append(f"the first {first} observations were not answered: the policy was not active yet")
        asked = asked[first:]
        expected = _position(asked[0])
    for number, item in enumerate(asked):
        observation: Observation = item.heard.message
        if observation.episode_step == 0:
            expected = _position(item)
        fault = convert.observation_fault(observation, task) if task is not None else ""
        if fault:
            left_out[f"observations are not of task {task.name} as the policy knows it: {fault.replace('_', ' ')}"] += 1  # type: ignore[union-attr]
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
            recording.items.append(Recorded(item.heard.stamp_ns, observation, item.answers[0].message))
            expected = (observation.episode_id, observation.episode_step + 1)


def _position(asked: _Asked) -> tuple[int, int]:
    return asked.heard.message.episode_id, asked.heard.message.episode_step


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


@dataclass
class Verdict:
    """What a replay has shown.

    Attributes:
        recording: what was in the bag.
        comparison: what was compared.
        faults: why not all that was recorded was compared.
    """

    recording: Recording
    comparison: Comparison
    faults: list[str]

    @property
    def complete(self) -> bool:
        """Whether everything that was recorded was compared."""
        return not self.faults and self.comparison.count == self.recording.answers

    @property
    def exit_code(self) -> int:
        """0: all that was recorded was compared and is equal; 1: something differs; 3: not all could be compared."""
        return 1 if self.comparison.first_difference is not None else 0 if self.complete else 3

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
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
        """As a few lines of text."""
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

"""Evaluation results as files, with one schema for writers and readers.

::

    policies.json    policies on tasks; with one line per episode in episodes.jsonl next to it
    robustness.json  one policy under varied physics, perception and latency
    evaluation.json  a skill module

Unknown entries of a file are ignored; entries missing from an older file have the defaults given here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from reskill_core.checkpoint import CHECKPOINTS_FOLDER, Checkpoint
from reskill_core.errors import DataError
from reskill_core.files import atomic_write_json, atomic_write_jsonl, read_json, sha256_of
from reskill_core.intervals import Estimate
from reskill_core.lineage import Lineage
from reskill_core.runtime.agent import AGENT_KIND

SKILLS_FILE, POLICIES_FILE, EPISODES_FILE = "evaluation.json", "policies.json", "episodes.jsonl"
ROBUSTNESS_FILE = "robustness.json"
PATHS_PLOT, ROLLOUTS_PLOT, ROBUSTNESS_PLOT = "paths.png", "rollouts.png", "robustness.png"
# Key of the SHA-256 of the episodes' file in the results.
EPISODES_KEY = "episodes_sha256"

T = TypeVar("T")


@dataclass(frozen=True)
class EpisodeOutcome:
    """Outcome of one evaluation episode: a line of ``episodes.jsonl``.

    Attributes:
        task: name of the task.
        policy: name of the policy.
        seed: seed of the episode.
        success: whether it ended in success.
        episode_return: sum of its rewards.
        checkpoint: SHA-256 of the policy's checkpoint, if it has one.
        steps: length in control steps.
        scene: number of the scene.
        metrics: further metrics of the environment's family.
    """

    task: str
    policy: str
    seed: int
    success: bool
    episode_return: float
    checkpoint: str | None = None
    steps: int | None = None
    scene: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyFigures:
    """Figures of one policy on one task.

    Attributes:
        task: name of the task.
        policy: name of the policy.
        checkpoint: the policy's checkpoint, as given by the user; empty if it has none.
        lineage: lineage of the result (:meth:`~reskill_core.lineage.Lineage.to_document`).
        episodes: number of episodes.
        diverged: number of episodes in which the simulation diverged, which are not counted in ``episodes``.
        success: share of episodes that end in success.
        episode_return: mean return.
        metrics: means of the family's further metrics.
    """

    task: str
    policy: str
    success: Estimate
    episode_return: Estimate
    checkpoint: str = ""
    lineage: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 0
    diverged: int = 0
    metrics: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyResults:
    """Contents of ``policies.json``.

    Attributes:
        config: configuration of the evaluation, including ``profile`` and ``variation``.
        checkpoints: the checkpoint used for each folder of the configuration.
        results: one entry per task, policy and checkpoint.
        episodes_sha256: SHA-256 of ``episodes.jsonl``; None in older files.
        provenance: software versions of the evaluation.
    """

    config: Mapping[str, Any]
    results: tuple[PolicyFigures, ...]
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    episodes_sha256: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepPoint:
    """Figures of a policy for one value of the varied parameter."""

    value: float
    success: Estimate
    episode_return: Estimate
    diverged: int = 0


@dataclass(frozen=True)
class SweepFigures:
    """Figures of a policy over the values of one varied parameter; ``unit`` is that of the points' values."""

    name: str
    unit: str
    points: tuple[SweepPoint, ...]


@dataclass(frozen=True)
class CombinationFigures:
    """Figures of a policy with several parameters varied together; ``variation`` has their ranges."""

    name: str
    variation: Mapping[str, Any]
    success: Estimate
    episode_return: Estimate
    diverged: int = 0


@dataclass(frozen=True)
class RobustnessResults:
    """Contents of ``robustness.json``.

    Attributes:
        sweeps: one per varied parameter.
        task: name of the task.
        policy: name of the policy.
        episodes: number of episodes per point.
        profile: fidelity profile of the simulator.
        checkpoints: as in :class:`PolicyResults`.
        lineage: lineage of the result, without the variation, which is swept.
        provenance: software versions of the evaluation.
        combinations: combinations of varied parameters.
    """

    sweeps: tuple[SweepFigures, ...]
    task: str = ""
    policy: str = ""
    episodes: int = 0
    profile: str = ""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    combinations: tuple[CombinationFigures, ...] = ()


def write_policies(folder: Path, results: PolicyResults, episodes: Sequence[EpisodeOutcome]) -> None:
    """Write ``policies.json`` and ``episodes.jsonl``; the former contains the hash of the latter."""
    path = folder / EPISODES_FILE
    atomic_write_jsonl(path, map(asdict, episodes))
    atomic_write_json(folder / POLICIES_FILE, asdict(results) | {EPISODES_KEY: sha256_of(path)})


def read_policies(folder: Path) -> tuple[PolicyResults, tuple[EpisodeOutcome, ...]]:
    """Read back the files of :func:`write_policies`.

    Raises:
        DataError: a file is missing or damaged, or the episodes do not belong to the results.
    """
    path = folder / EPISODES_FILE
    results = parsed(PolicyResults, read_result(folder / POLICIES_FILE), folder / POLICIES_FILE)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"cannot read {path}: {reason}; run reskill evaluate again") from error
    if results.episodes_sha256 not in (None, sha256_of(path)):
        raise DataError(f"{path} has other episodes than {POLICIES_FILE} beside it; run reskill evaluate again")
    return results, parsed(tuple[EpisodeOutcome, ...], "[" + ",".join(lines) + "]", path)


def write_robustness(folder: Path, results: RobustnessResults) -> None:
    """Write ``robustness.json``."""
    atomic_write_json(folder / ROBUSTNESS_FILE, asdict(results))


def read_result(path: Path) -> dict[str, Any]:
    """Read one of the files without checking its schema.

    Raises:
        DataError: the file is missing or damaged.
    """
    document = read_json(path, DataError)
    if not isinstance(document, dict):
        raise DataError(f"{path} is no result: it must hold an object, found {type(document).__name__}")
    return document


def parsed(cls: type[T], document: Any, path: Path) -> T:
    """Convert a document, parsed or as JSON text, to the dataclasses of its schema; unknown entries are ignored.

    Raises:
        DataError: it does not fit the schema.
    """
    adapter: TypeAdapter[T] = TypeAdapter(cls)
    try:
        return adapter.validate_json(document) if isinstance(document, str) else adapter.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} is damaged, write it again: {where}: {first['msg']}") from error


def is_result_of(document: Mapping[str, Any], checkpoint: Checkpoint) -> bool | None:
    """Whether a result (contents of ``policies.json`` or another result file) was measured with a checkpoint.

    None if unknown: older results name only the step of the checkpoint, which can only prove that it is another one.
    """
    results = document.get("results")
    parts = [part for part in results if isinstance(part, Mapping)] if isinstance(results, list) else []
    lineages = [Lineage.of(part) for part in (document, *parts)]
    acting = {lineage.agent if checkpoint.kind == AGENT_KIND else lineage.skills for lineage in lineages} - {None}
    if acting:
        return checkpoint.sha256 in acting
    steps = document.get("checkpoints")
    if isinstance(steps, Mapping) and steps and checkpoint.folder.parent.name == CHECKPOINTS_FOLDER:
        return None if checkpoint.folder.name in steps.values() else False
    return None

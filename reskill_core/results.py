"""Results of evaluations as files: one schema, for what writes them and for what reads them.

::

    policies.json    how policies did on tasks; beside it one line for each episode in episodes.jsonl
    robustness.json  how one policy did in worlds that differ
    evaluation.json  how good a skill module is

What a file has beyond the schema is left alone; what an older file lacks has the default given here.
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

# Of skills, of policies with every episode, of a policy in worlds that differ.
SKILLS_FILE, POLICIES_FILE, EPISODES_FILE = "evaluation.json", "policies.json", "episodes.jsonl"
ROBUSTNESS_FILE = "robustness.json"
PATHS_PLOT, ROBUSTNESS_PLOT = "paths.png", "robustness.png"
# Key of results under which the SHA-256 of their episodes' file stands.
EPISODES_KEY = "episodes_sha256"

T = TypeVar("T")


@dataclass(frozen=True)
class EpisodeOutcome:
    """How one evaluation episode went: a line of ``episodes.jsonl``.

    Attributes:
        task: name of the task.
        policy: name of the policy.
        seed: of the episode.
        success: whether it ended in success.
        episode_return: sum of its rewards.
        checkpoint: SHA-256 of the checkpoint that acted, if one did.
        steps: its length in control steps.
        scene: number of the scene it took place in.
        metrics: what the environment's family measures beside success and return.
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
    """How one policy did on one task.

    Attributes:
        task: name of the task.
        policy: name of the policy.
        checkpoint: by what it acted, as it was given; empty if by none.
        lineage: who acted, and where, as :meth:`~reskill_core.lineage.Lineage.to_document` has it.
        episodes: number of episodes.
        diverged: episodes in which the simulation broke down, which are not among them.
        success: share of episodes that end in success.
        episode_return: mean return.
        metrics: means of what the environment's family measures.
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
        config: configuration of the evaluation; has the ``profile`` and the ``variation`` of the world.
        checkpoints: which checkpoint each folder of the configuration stood for.
        results: one entry for each task, policy and checkpoint.
        episodes_sha256: of ``episodes.jsonl`` beside it; None in older files.
        provenance: versions by which it was measured.
    """

    config: Mapping[str, Any]
    results: tuple[PolicyFigures, ...]
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    episodes_sha256: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepPoint:
    """How a policy does where one thing in the world has this value."""

    value: float
    success: Estimate
    episode_return: Estimate
    diverged: int = 0


@dataclass(frozen=True)
class SweepFigures:
    """How a policy does while one thing in the world varies; the unit is that of the points' values."""

    name: str
    unit: str
    points: tuple[SweepPoint, ...]


@dataclass(frozen=True)
class RobustnessResults:
    """Contents of ``robustness.json``.

    Attributes:
        sweeps: one for each thing that was varied.
        task: name of the task.
        policy: name of the policy.
        episodes: of each point.
        profile: fidelity profile of the simulator.
        checkpoints: as of :class:`PolicyResults`.
        lineage: who acted, and where; without the variation, which is what is swept.
        provenance: versions by which it was measured.
    """

    sweeps: tuple[SweepFigures, ...]
    task: str = ""
    policy: str = ""
    episodes: int = 0
    profile: str = ""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_policies(folder: Path, results: PolicyResults, episodes: Sequence[EpisodeOutcome]) -> None:
    """Write ``policies.json`` and ``episodes.jsonl``; the former gets the hash of the latter."""
    path = folder / EPISODES_FILE
    atomic_write_jsonl(path, map(asdict, episodes))
    atomic_write_json(folder / POLICIES_FILE, asdict(results) | {EPISODES_KEY: sha256_of(path)})


def read_policies(folder: Path) -> tuple[PolicyResults, tuple[EpisodeOutcome, ...]]:
    """Inverse of :func:`write_policies`.

    Raises:
        DataError: a file is missing or damaged, or the episodes are others than those of the results.
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
    """Contents of one of the files, as they are.

    Raises:
        DataError: the file is missing or damaged.
    """
    document = read_json(path, DataError)
    if not isinstance(document, dict):
        raise DataError(f"{path} is no result: it must hold an object, found {type(document).__name__}")
    return document


def parsed(cls: type[T], document: Any, path: Path) -> T:
    """A document, parsed or as JSON text, as the dataclasses that describe it; what they do not name is left out.

    Raises:
        DataError: it does not fit them.
    """
    adapter: TypeAdapter[T] = TypeAdapter(cls)
    try:
        return adapter.validate_json(document) if isinstance(document, str) else adapter.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} is damaged, write it again: {where}: {first['msg']}") from error


def is_result_of(document: Mapping[str, Any], checkpoint: Checkpoint) -> bool | None:
    """Whether a result (contents of ``policies.json`` and the like) was measured with a checkpoint.

    None where it does not say: older ones name the step of the checkpoint alone, which can only show that it is not.
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

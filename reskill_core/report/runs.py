"""Agent training runs and their comparison.

Runs of one task with the same ``variant`` in their configuration differ in their seed and share a row of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.errors import ConfigError
from reskill_core.estimation.config import EstimatorTrainingConfig
from reskill_core.intervals import Estimate, mean, mean_over_seeds, rate, rate_over_seeds
from reskill_core.lineage import Lineage, short_hash
from reskill_core.results import POLICIES_FILE, EpisodeOutcome, RobustnessResults
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.training.run_folder import CONFIG_FILE, EVALUATION_FOLDER

AGENT_POLICY, PRIOR_POLICY = "agent", "prior"


@dataclass(frozen=True)
class PolicyOutcomes:
    """Outcomes of the evaluation episodes of one policy on one task.

    Attributes:
        task: name of the task.
        policy: name of the policy.
        episodes: one outcome per episode.
        profile: fidelity profile of the simulator.
        variation: randomisation, as in ``policies.json``.
        folder: folder of the results.
        simulator: simulator with its version; None if unknown.
        checkpoint: SHA-256 of the policy's checkpoint; None if it has none, or it is unknown.
        settings: settings of the task, all of them; None if it has none, or they are unknown.
    """

    task: str
    policy: str
    episodes: tuple[EpisodeOutcome, ...]
    profile: str
    variation: Mapping[str, Any]
    folder: Path
    simulator: str | None = None
    checkpoint: str | None = None
    settings: Mapping[str, Any] | None = None

    @property
    def success(self) -> Estimate:
        """Share of episodes that end in success."""
        return rate([episode.success for episode in self.episodes])

    @property
    def episode_return(self) -> Estimate:
        """Mean return."""
        return mean([episode.episode_return for episode in self.episodes])

    @property
    def measured(self) -> str:
        """Description of the evaluation."""
        unknown = ", of an unknown checkpoint" if self.policy == AGENT_POLICY and self.checkpoint is None else ""
        return f"{len(self.episodes)} episodes, {self.profile}{unknown}"

    @property
    def world(self) -> Lineage:
        """Profile, variation, settings of the task and simulator of the evaluation."""
        return Lineage(profile=self.profile, variation=self.variation, settings=self.settings, simulator=self.simulator)


@dataclass(frozen=True)
class LearningCurve:
    """Evaluations during training, K of them.

    Attributes:
        steps: (K,) environment steps, summed over all environments.
        minutes: (K,) training time until then, without evaluations [min].
        returns: (K,) mean return.
        successes: (K,) share of episodes that ended in success.
    """

    steps: Float64Array
    minutes: Float64Array
    returns: Float64Array
    successes: Float64Array


@dataclass(frozen=True)
class AgentRun:
    """Training run of an agent, or of a state estimator for one.

    Attributes:
        folder: the run folder.
        task: name of the task.
        config: the configuration.
        curve: evaluations during training, at least one.
        outcomes: evaluation after training, if there was one.
        robustness: robustness sweep, if there was one.
        lineage: ingredients of the run, and the hash of its best checkpoint.
        outdated: names of results that are left out because they are of an earlier best checkpoint.
    """

    folder: Path
    task: str
    config: AgentTrainingConfig | EstimatorTrainingConfig
    curve: LearningCurve
    outcomes: PolicyOutcomes | None
    robustness: RobustnessResults | None
    lineage: Lineage
    outdated: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Variant and seed."""
        return f"{self.config.variant}, seed {self.config.seed}"

    @property
    def steps(self) -> int:
        """Environment steps of training, summed over all environments."""
        return int(self.curve.steps[-1])

    @property
    def minutes(self) -> float:
        """Training time, without evaluations [min]."""
        return float(self.curve.minutes[-1])

    @property
    def episode_return(self) -> float:
        """Mean return."""
        return self.outcomes.episode_return.mean if self.outcomes else float(self.curve.returns[-1])

    @property
    def success(self) -> float:
        """Share of episodes that end in success."""
        return self.outcomes.success.mean if self.outcomes else float(self.curve.successes[-1])

    @property
    def measured(self) -> str:
        """Description of the evaluation behind return and success."""
        if self.outcomes:
            return self.outcomes.measured
        outdated = "; its evaluation is outdated" if POLICIES_FILE in self.outdated else ""
        return f"in training only: {self.config.evaluation_episodes} episodes, {self.config.profile}{outdated}"

    @property
    def warnings(self) -> list[str]:
        """Results that are left out, with the reason."""
        agent = short_hash(self.lineage.agent)
        return [
            f"{self.folder / EVALUATION_FOLDER / name} is outdated and left out: the best checkpoint is {agent} now; "
            "evaluate it again"
            for name in self.outdated
        ]


@dataclass(frozen=True)
class Variant:
    """Runs of one task that differ in their seed, ordered by seed.

    Attributes:
        task: name of the task.
        name: name of the variant.
        runs: its runs.
        settings: settings of the task in which it differs from other variants.
    """

    task: str
    name: str
    runs: tuple[AgentRun, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name, with the settings in which it differs."""
        own = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"{self.name} ({own})" if own else self.name

    @property
    def episode_return(self) -> float:
        """Mean over the seeds of their mean returns."""
        return float(np.mean([run.episode_return for run in self.runs]))

    @property
    def success(self) -> float:
        """Mean over the seeds of their shares of success."""
        return float(np.mean([run.success for run in self.runs]))

    @property
    def worst(self) -> AgentRun:
        """The run with the lowest return."""
        return min(self.runs, key=lambda run: run.episode_return)

    @property
    def best(self) -> AgentRun:
        """The run with the highest return."""
        return max(self.runs, key=lambda run: run.episode_return)

    @property
    def evaluated(self) -> bool:
        """Whether every seed was evaluated after training."""
        return all(run.outcomes for run in self.runs)

    def interval(self, measure: str, form: str) -> str:
        """Format the 95 % interval over seeds.

        For a single seed it is the interval over its episodes, labelled so; there is none if a seed was not evaluated.

        Args:
            measure: ``episode_return`` or ``success``.
            form: format of the bounds.
        """
        values = [
            [getattr(one, measure) for one in sorted(run.outcomes.episodes, key=lambda one: one.seed)]
            for run in self.runs
            if run.outcomes
        ]
        if len(values) < len(self.runs):
            return "–"
        of_episodes, of_seeds = {"success": (rate, rate_over_seeds), "episode_return": (mean, mean_over_seeds)}[measure]
        if len(values) == 1:
            return f"one seed; its episodes {of_episodes(values[0]).interval(form)}"
        return of_seeds(values).interval(form)

    @property
    def measured(self) -> str:
        """Description of the evaluations behind return and success."""
        return "; ".join(dict.fromkeys(run.measured for run in self.runs))


@dataclass(frozen=True)
class Comparison:
    """Variants of one task, and reference policies as lower and upper bounds."""

    task: str
    variants: tuple[Variant, ...]
    references: tuple[PolicyOutcomes, ...]

    @property
    def warnings(self) -> list[str]:
        """Results that are left out, and references that do not match the agents."""
        runs = [run for variant in self.variants for run in variant.runs]
        skills = {run.lineage.skills for run in runs}
        foreign = [
            f"{one.folder}: {PRIOR_POLICY} is that of skills {short_hash(one.checkpoint)}, which no agent here has"
            for one in self.references
            if one.policy == PRIOR_POLICY and one.checkpoint and not skills & {one.checkpoint, None}
        ]
        return [*(warning for run in runs for warning in run.warnings), *foreign]


def compare(runs: Iterable[AgentRun], references: Sequence[PolicyOutcomes] = ()) -> list[Comparison]:
    """Group runs by task and variant, in the order given.

    Variants may differ in settings of their task, such as the layout of a maze, if each was evaluated with the settings
    that it was trained with.

    Raises:
        ConfigError: a seed occurs twice in a variant, or runs and references of a task were evaluated with different
            profiles, variations or simulators, or otherwise with different settings of the task.
    """
    tasks: dict[str, dict[str, list[AgentRun]]] = {}
    for run in runs:
        tasks.setdefault(run.task, {}).setdefault(run.config.variant, []).append(run)
    return [
        _comparable(
            task,
            [_variant(task, name, found) for name, found in variants.items()],
            tuple(reference for reference in references if reference.task == task),
        )
        for task, variants in tasks.items()
    ]


def seed_band(
    curves: Sequence[tuple[Float64Array, Float64Array]],
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Compute mean and range over seeds of curves with different x values, within their common range.

    Args:
        curves: x (K,), increasing, and y (K,) of each seed.

    Returns:
        (M,) x values of all seeds, and the mean, lowest and highest y there, linearly interpolated.
    """
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    everywhere = np.unique(np.concatenate([x for x, _ in curves]))
    grid = everywhere[(everywhere >= begin) & (everywhere <= end)]
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    return grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def pick_episodes(episodes: Sequence[EpisodeOutcome]) -> dict[str, EpisodeOutcome]:
    """Pick the best, median and worst episode by return; for an even number, the better one of the two medians."""
    ordered = sorted(episodes, key=lambda episode: episode.episode_return)
    return {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}


def _variant(task: str, name: str, runs: Sequence[AgentRun]) -> Variant:
    by_seed: dict[int, AgentRun] = {}
    for run in runs:
        other = by_seed.setdefault(run.config.seed, run)
        if other is not run:
            raise ConfigError(
                f"{other.folder} and {run.folder} are both seed {run.config.seed} of variant {name!r} on {task}; "
                f"leave one out, or call one otherwise: variant: in its {CONFIG_FILE}"
            )
    return Variant(task, name, tuple(by_seed[seed] for seed in sorted(by_seed)))


def _comparable(task: str, variants: Sequence[Variant], references: tuple[PolicyOutcomes, ...]) -> Comparison:
    """Compare what was evaluated in the same world, but for settings of the task that variants were trained with."""
    agents = [(run.outcomes, variant) for variant in variants for run in variant.runs if run.outcomes]
    for (one, mine), (other, theirs) in combinations([*agents, *((each, None) for each in references)], 2):
        world = one.world
        if mine and theirs and mine is not theirs and _in_own_settings(mine) and _in_own_settings(theirs):
            world = replace(world, settings=None)
        if differing := world.differences(other.world):
            raise ConfigError(
                f"{one.folder} and {other.folder} were evaluated in different worlds: {'; '.join(differing)}; "
                "evaluate one of them again with the other's --profile, --vary and --task-settings, and with the same "
                "simulator"
            )
    return Comparison(task, tuple(_with_own_settings(variants)), references)


def _in_own_settings(variant: Variant) -> bool:
    """Whether all runs were evaluated with the settings of the task that they were trained with."""
    return all(run.outcomes and run.outcomes.settings == run.lineage.settings for run in variant.runs)


def _with_own_settings(variants: Sequence[Variant]) -> list[Variant]:
    """Variants with the settings in which they differ from each other."""
    known = {each.name: settings for each in variants if (settings := _settings(each))}
    names = dict.fromkeys(name for settings in known.values() for name in settings)
    differing = [name for name in names if any(a.get(name) != b.get(name) for a, b in combinations(known.values(), 2))]
    own = {variant: {name: settings.get(name) for name in differing} for variant, settings in known.items()}
    return [replace(each, settings=own.get(each.name, {})) for each in variants]


def _settings(variant: Variant) -> Mapping[str, Any] | None:
    first = variant.runs[0]
    return first.outcomes.settings if first.outcomes else first.lineage.settings

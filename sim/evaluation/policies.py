"""Evaluation protocol of policies on tasks: fixed seeds, success and return with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.checkpoint import Checkpoint, load_checkpoint
from reskill_core.config import config_to_dict
from reskill_core.data import Episode
from reskill_core.environment import Places
from reskill_core.errors import ConfigError, require_choice
from reskill_core.intervals import Estimate, estimates, mean, rate
from reskill_core.lineage import Lineage, short_hash
from reskill_core.parameters import parameter
from reskill_core.policy import Policy
from reskill_core.progress import progress_bar
from reskill_core.provenance import provenance
from reskill_core.results import EpisodeOutcome, PolicyFigures, PolicyResults, write_policies
from reskill_core.runtime import SkillAction, SkillModule, SkillPolicy
from reskill_core.runtime.agent import AGENT_KIND, agent_policy
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.seeding import EVALUATION_SEED
from reskill_core.spec import TaskSpec, num_rows
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.evaluation.acting_lineage import acting_lineage
from reskill_sim.evaluation.finished_episodes import FinishedEpisodes
from reskill_sim.evaluation.rollouts import UniformPolicy, plain_action, with_places
from reskill_sim.evaluation.worlds import settings_for
from reskill_sim.families import family_of, get_task

BATCH = 64


class ZeroPolicy:
    """Policy with zero actions."""

    def __init__(self, task: TaskSpec) -> None:
        self._dim = task.action.dim

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start episodes; has no effect."""

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Return zero actions (n, A)."""
        return plain_action(np.zeros((num_rows(observations), self._dim), np.float32))


def _prior(task: TaskSpec, num_envs: int, checkpoint: Checkpoint | None) -> Policy:
    assert checkpoint is not None
    return with_places(SkillPolicy(SkillModule(checkpoint)), num_envs)


def _agent(task: TaskSpec, num_envs: int, checkpoint: Checkpoint | None) -> Policy:
    assert checkpoint is not None
    return with_places(agent_policy(checkpoint), num_envs)


def _demonstrator(task: TaskSpec, num_envs: int, checkpoint: Checkpoint | None) -> Policy:
    return family_of(task.name).make_demonstrator(task.name, num_envs=num_envs, settings=task.settings)


def _fast_script(task: TaskSpec, num_envs: int, checkpoint: Checkpoint | None) -> Policy:
    return family_of(task.name).make_fast_script(task.name, num_envs, task.settings)


PolicyFactory = Callable[[TaskSpec, int, Checkpoint | None], Policy]

# Baselines, scripted policies as lower and upper bounds, and trained policies.
POLICIES: dict[str, PolicyFactory] = {
    "zero": lambda task, num_envs, checkpoint: ZeroPolicy(task),
    "random": lambda task, num_envs, checkpoint: UniformPolicy(task, num_envs),
    "demonstrator": _demonstrator,
    "fast-script": _fast_script,
    "prior": _prior,
    "agent": _agent,
}
# Required kind of checkpoint, by policy.
_KINDS = {"prior": SKILL_MODULE_KIND, "agent": AGENT_KIND}


def acting_checkpoints(
    policy: str, task: TaskSpec, checkpoints: Sequence[Checkpoint]
) -> Sequence[Checkpoint] | tuple[None]:
    """Select the checkpoints that a policy can use on a task, without duplicates; only None if it needs none.

    They need the task's layout; if there are agents of the task itself, other agents are excluded.

    Raises:
        ConfigError: there is no policy of that name, or no checkpoint fits.
    """
    require_choice("policy", policy, tuple(POLICIES))
    if policy not in _KINDS:
        return (None,)
    given = [checkpoint for checkpoint in checkpoints if checkpoint.kind == _KINDS[policy]]
    fitting = [checkpoint for checkpoint in given if not checkpoint.task.interface_differences(task)]
    if not fitting:
        names = ", ".join(checkpoint.task.name for checkpoint in given) or "none"
        raise ConfigError(
            f"policy {policy} needs a checkpoint of {'an agent' if policy == 'agent' else 'a skill module'} with the "
            f"observation layout of task {task.name!r}; given: {names}"
        )
    own = [checkpoint for checkpoint in fitting if checkpoint.task.name == task.name and policy == "agent"]
    by_hash: dict[str | None, Checkpoint] = {}
    for checkpoint in own or fitting:
        by_hash.setdefault(checkpoint.sha256, checkpoint)
    return list(by_hash.values())


def make_policy(name: str, task: TaskSpec, num_envs: int, checkpoints: Sequence[Checkpoint] = ()) -> Policy:
    """Create a policy by name for N environments of a task, with the first checkpoint that fits.

    Raises:
        ConfigError: there is no policy of that name or for that task, or no checkpoint fits.
    """
    return POLICIES[name](task, num_envs, acting_checkpoints(name, task, checkpoints)[0])


@dataclass(frozen=True)
class PolicyEvaluationConfig:
    """Configuration of an evaluation of policies.

    Attributes:
        policies: names of policies, see ``POLICIES``.
        tasks: names of tasks; by default those of the checkpoints.
        checkpoints: run folders or checkpoints of skill modules and agents; each is evaluated on the tasks that it
            fits.
        out: folder for the results.
        episodes: number of episodes per policy and task, with the same seeds for all.
        profile: fidelity profile of the simulator.
        variation: randomisation of physics, perception and latency.
        task_settings: settings of the tasks that differ from those of the checkpoints, or else from the default.
        threads: number of simulation threads.
    """

    policies: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    out: str = "runs/evaluation/policies"
    episodes: int = parameter(200, low=1, high=10**6)
    profile: str = "exact"
    variation: Variation = NOMINAL
    task_settings: dict[str, Any] = field(default_factory=dict)
    threads: int = parameter(2, low=0, high=256)


@dataclass(frozen=True)
class PolicyEvaluation:
    """Evaluation of one policy on one task.

    Attributes:
        task: name of the task.
        policy: name of the policy.
        outcomes: outcomes of the episodes, ordered by seed.
        num_diverged: number of diverged episodes, which are not among the outcomes.
        lineage: lineage of the result.
        checkpoint: the policy's checkpoint, as given by the user; empty if it has none.
    """

    task: str
    policy: str
    outcomes: tuple[EpisodeOutcome, ...]
    num_diverged: int
    lineage: Lineage
    checkpoint: str = ""

    @property
    def success(self) -> Estimate:
        """Share of episodes that end in success."""
        return rate([outcome.success for outcome in self.outcomes])

    @property
    def episode_return(self) -> Estimate:
        """Mean return."""
        return mean([outcome.episode_return for outcome in self.outcomes])

    @property
    def metrics(self) -> dict[str, Estimate]:
        """Means of the task's further metrics, by name."""
        return estimates([outcome.metrics for outcome in self.outcomes])

    @property
    def figures(self) -> PolicyFigures:
        """Figures with their intervals."""
        return PolicyFigures(
            self.task,
            self.policy,
            self.success,
            self.episode_return,
            self.checkpoint,
            self.lineage.to_document(),
            len(self.outcomes),
            self.num_diverged,
            self.metrics,
        )

    @property
    def acting(self) -> str | None:
        """SHA-256 of the policy's checkpoint, if it has one."""
        return self.lineage.agent or self.lineage.skills

    def cells(self) -> list[str]:
        """Format success, return and number of diverged episodes, for a table."""
        returned = self.episode_return
        return [
            f"{self.success}",
            returned.text(".2f"),
            f"{self.num_diverged}",
        ]


def evaluate_policy(
    task: Task,
    make_acting: Callable[[int], Policy],
    policy: str,
    episodes: int,
    profile: str = "exact",
    threads: int = 0,
    on_episode: Callable[[Episode], None] = lambda episode: None,
    checkpoint: Checkpoint | None = None,
    first_seed: int = EVALUATION_SEED,
    finished: FinishedEpisodes | None = None,
) -> PolicyEvaluation:
    """Evaluate a policy on the evaluation seeds, which are the same for all policies.

    Args:
        task: the task, with its variation and settings.
        make_acting: creates the policy for a number of environments.
        policy: its name.
        episodes: number of episodes.
        profile: fidelity profile of the simulator.
        threads: number of simulation threads.
        on_episode: called with every finished episode.
        checkpoint: the policy's checkpoint, if any.
        first_seed: seed of the first episode, the others count up; by default those of reported evaluations.
        finished: outcomes of an interrupted evaluation, which are not repeated; new ones are added.
    """
    seeds = range(first_seed, first_seed + episodes)
    lineage = acting_lineage(task, profile, checkpoint)
    earlier = finished.of(lineage, policy) if finished is not None else {}
    outcomes = [earlier[seed] for seed in seeds if seed in earlier]
    left = [seed for seed in seeds if seed not in earlier]
    num_envs = min(BATCH, len(left))
    for episode in run_episodes(task.make_env(num_envs, profile, threads), make_acting(num_envs), left) if left else ():
        on_episode(episode)
        outcome = EpisodeOutcome(
            task.spec.name,
            policy,
            episode.seed,
            episode.success,
            float(episode.reward.sum(dtype=np.float64)),
            lineage.agent or lineage.skills,
            episode.num_steps,
            task.draw_scene(episode.seed),
            task.metrics(episode),
        )
        outcomes.append(outcome)
        if finished is not None:
            finished.add(lineage, outcome)
    in_order = tuple(sorted(outcomes, key=lambda outcome: outcome.seed))
    return PolicyEvaluation(task.spec.name, policy, in_order, episodes - len(outcomes), lineage)


def evaluate_policies(config: PolicyEvaluationConfig, show_progress: bool = True) -> list[PolicyEvaluation]:
    """Evaluate every policy on every task with every checkpoint that fits; writes the result files.

    An evaluation that was interrupted is continued, if it is repeated in the same folder.

    Raises:
        ConfigError: a policy or task is unknown, no task is given, or no checkpoint fits.
        CheckpointError: a checkpoint cannot be read.
    """
    config, checkpoints = with_checkpoints(config)
    tasks = [
        get_task(name, config.variation, settings_for(name, checkpoints, config.task_settings)) for name in config.tasks
    ]
    runs = [(task, name) for task in tasks for name in config.policies]
    finished = FinishedEpisodes(Path(config.out))
    results = evaluate_runs(runs, config, checkpoints, show_progress, finished)
    _write(Path(config.out), config, checkpoints, results)
    finished.discard()
    return results


def with_checkpoints(config: PolicyEvaluationConfig) -> tuple[PolicyEvaluationConfig, list[Checkpoint]]:
    """Load the checkpoints of a configuration, and complete its tasks by theirs if it has none.

    Raises:
        ConfigError: there is no task.
        CheckpointError: a checkpoint cannot be read.
    """
    checkpoints = [load_checkpoint(folder, *POLICY_KINDS) for folder in config.checkpoints]
    tasks = tuple(dict.fromkeys(config.tasks or (checkpoint.task.name for checkpoint in checkpoints)))
    if not tasks:
        raise ConfigError("name the tasks by --task, or give a checkpoint whose task it is to be")
    return replace(config, tasks=tasks), checkpoints


def evaluate_runs(
    runs: Sequence[tuple[Task, str]],
    config: PolicyEvaluationConfig,
    checkpoints: Sequence[Checkpoint],
    show_progress: bool,
    finished: FinishedEpisodes | None = None,
) -> list[PolicyEvaluation]:
    """Evaluate pairs of a task and a policy's name, with one progress bar over all episodes.

    Returns:
        One evaluation per pair and checkpoint that fits.

    Raises:
        ConfigError: a policy is unknown, or no checkpoint fits; raised before the first episode.
    """
    given = {id(checkpoint): name for name, checkpoint in zip(config.checkpoints, checkpoints, strict=True)}
    acting = [(task, name, by) for task, name in runs for by in acting_checkpoints(name, task.spec, checkpoints)]
    for task, name, by in acting:
        make_policy(name, task.spec, 1, [by] if by else ())
    results: list[PolicyEvaluation] = []
    with progress_bar(shown=show_progress, total=len(acting) * config.episodes, unit="episodes") as progress:

        def count(episode: Episode) -> None:
            progress.update()

        for task, name, by in acting:
            progress.set_description(f"{task.spec.name}, {name}")
            make_acting = partial(make_policy, name, task.spec, checkpoints=[by] if by else ())
            found = evaluate_policy(
                task,
                make_acting,
                name,
                config.episodes,
                config.profile,
                config.threads,
                count,
                by,
                finished=finished,
            )
            progress.update((len(results) + 1) * config.episodes - progress.n)
            results.append(replace(found, checkpoint=given.get(id(by), "")))
    return results


def checkpoint_names(config: PolicyEvaluationConfig, checkpoints: Sequence[Checkpoint]) -> dict[str, str]:
    """Return the name of the checkpoint used for each folder of the configuration; in a run it is the step."""
    folders = [checkpoint.folder.name for checkpoint in checkpoints]
    return dict(zip(config.checkpoints, folders, strict=True))


def _write(
    out: Path, config: PolicyEvaluationConfig, checkpoints: Sequence[Checkpoint], evaluations: list[PolicyEvaluation]
) -> None:
    results = PolicyResults(
        config_to_dict(config),
        tuple(evaluation.figures for evaluation in evaluations),
        checkpoint_names(config, checkpoints),
        provenance=provenance(),
    )
    write_policies(out, results, [outcome for evaluation in evaluations for outcome in evaluation.outcomes])


def table(results: Sequence[PolicyEvaluation]) -> list[str]:
    """Format a Markdown table of success at the end and return, with 95 % intervals.

    Checkpoints are listed with the first digits of their hash, if there are any.
    """
    named = any(result.acting for result in results)
    heads = ["task", "policy", *(["checkpoint"] if named else []), "success", "return", "diverged"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for result in results:
        by = f"{result.checkpoint} ({short_hash(result.acting)})" if result.acting else ""
        cells = [result.task, result.policy, *([by] if named else []), *result.cells()]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def metrics_table(results: Sequence[PolicyEvaluation]) -> list[str]:
    """Format a Markdown table of the tasks' further metrics, with 95 % intervals; empty if there are none."""
    lines = []
    for result in results:
        titles = family_of(result.task).metric_titles
        for name, estimate in result.metrics.items():
            lines.append(f"| {result.task} | {result.policy} | {titles.get(name, name)} | {estimate} |")
    return ["| task | policy | metric | mean |", "|---|---|---|---|", *lines] if lines else []

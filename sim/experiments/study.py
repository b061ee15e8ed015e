"""Studies: training runs of variants of the agent, on several tasks with several seeds."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import config_from_dict, config_to_dict, merged, read_yaml
from reskill_core.errors import ConfigError, ReskillError
from reskill_core.files import plain_name_fault, require_writable_folder
from reskill_core.lineage import Lineage
from reskill_core.parameters import MAX_SEED, parameter
from reskill_core.progress import progress_bar
from reskill_core.provenance import simulator_version
from reskill_core.report import AGENT_POLICY, compare, read_outcomes, read_run, write_results
from reskill_core.resources import find_config
from reskill_core.results import POLICIES_FILE, read_result
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.training.run_folder import EVALUATION_FOLDER
from reskill_core.workers import WorkerPool
from reskill_sim.evaluation import PolicyEvaluationConfig, evaluate_policies
from reskill_sim.experiments.agent_training import train_agent
from reskill_sim.families import get_task

# Sections whose settings depend on one of them.
_SCHEMAS = {"high_level": "algorithm", "low_level": "algorithm", "model": "kind"}


@dataclass(frozen=True)
class StudyConfig:
    """Configuration of a study.

    Attributes:
        agents: configurations of agents, one per task: paths, or names of shipped ones.
        variants: changes to these configurations, by name of the variant. ``{skills}`` in a text stands for the skills
            of the agent's own configuration.
        out: folder; runs are in ``<task>/<variant>/seed_<seed>``, references in ``<task>/references``.
        common: changes for all variants and the references.
        seeds: training seeds.
        episodes: number of evaluation episodes per run, in ``exact``.
        workers: number of concurrent runs, each with one thread.
        references: policies to evaluate for comparison, as lower and upper bounds.
        skills: skill modules that are trained first, if a run or a reference has them and they are not there:
            configurations of skills, and for each of them, by what is appended to its run folder, changes to it.
    """

    agents: tuple[str, ...]
    variants: dict[str, dict[str, Any]]
    out: str
    common: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = parameter((0, 1), low=0, high=MAX_SEED)
    episodes: int = parameter(200, low=1, high=10**6)
    workers: int = parameter(2, low=1, high=256)
    references: tuple[str, ...] = ()
    skills: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def violations(self) -> list[str]:
        """Check rules on single fields."""
        counts = ("agents", "variants", "seeds")
        faults = [f"{name}: must not be empty" for name in counts if not getattr(self, name)]
        # A variant's name is used for a folder.
        return faults + [f"variants: {fault}" for fault in map(plain_name_fault, self.variants) if fault]


def plan_study(config: StudyConfig) -> list[AgentTrainingConfig]:
    """Return the runs of a study, ordered by seed, so that every variant has a result early.

    Raises:
        ConfigError: a configuration is missing, a variant does not fit it, or two runs would share a folder.
    """
    runs = [
        _run_config(config, agent, variant, seed)
        for seed in config.seeds
        for agent in config.agents
        for variant in config.variants
    ]
    outs = [run.out for run in runs]
    if twice := sorted({out for out in outs if outs.count(out) > 1}):
        raise ConfigError(f"several runs of the study would go to {', '.join(twice)}: of each task, name one agent")
    return runs


def plan_skills(config: StudyConfig) -> list[SkillTrainingConfig]:
    """Return the trainings of the skill modules that the runs and references of a study have.

    Raises:
        ConfigError: a configuration is missing, or changes do not fit it.
    """
    needed = {Path(run.skills) for run in plan_study(config)}
    needed |= {Path(skills) for each in _references(config) for skills in each.checkpoints}
    plans = []
    for path, variants in config.skills.items():
        base = read_yaml(find_config(path))
        for suffix, changes in variants.items():
            document = reduce(merged, (_without_replaced(base, changes), changes, {"threads": 1}))
            document["out"] = f"{base['out']}{suffix}"
            plans.append(config_from_dict(SkillTrainingConfig, document, source=f"skills {suffix!r} of {path}"))
    return [plan for plan in plans if Path(plan.out) in needed]


def run_study(config: StudyConfig, show_progress: bool = True) -> list[Path]:
    """Train and evaluate all unfinished runs and write the results; returns the run folders.

    Raises:
        ConfigError: see :func:`plan_study`.
        ReskillError: runs have failed; raised after the others have finished.
    """
    runs, skills = plan_study(config), plan_skills(config)
    require_writable_folder(Path(config.out), ConfigError)
    references = _references(config)
    failures = []
    with (
        WorkerPool(config.workers) as pool,
        progress_bar(
            shown=show_progress, total=len(skills) + len(runs) + len(references), desc="study", unit="run"
        ) as bar,
    ):
        for trained in as_completed([pool.submit(_train_skills, plan) for plan in skills]):
            bar.update()
            trained.result()
        waiting = {pool.submit(_evaluate_once, evaluation): evaluation.out for evaluation in references}
        waiting |= {pool.submit(_train_and_evaluate, run, config.episodes): run.out for run in runs}
        for done in as_completed(waiting):
            bar.update()
            if (error := done.exception()) is not None:
                failures.append(f"{waiting[done]}: {error}")
                tqdm.write("".join(traceback.format_exception_only(error)))
    _write_results(config, runs, references)
    if failures:
        raise ReskillError(f"{len(failures)} of {len(runs)} runs failed:\n" + "\n".join(f"  - {f}" for f in failures))
    return [Path(run.out) for run in runs]


def _run_config(config: StudyConfig, agent: str, variant: str, seed: int) -> AgentTrainingConfig:
    base = _common(config, agent)
    out = f"{config.out}/{base['task']}/{variant}/seed_{seed}"
    own = {"variant": variant, "seed": seed, "out": out, "threads": 1}
    changes = _with_skills(config.variants[variant], str(base.get("skills", "")))
    document = reduce(merged, (_without_replaced(base, changes), changes, own))
    return config_from_dict(AgentTrainingConfig, document, source=f"variant {variant} of {agent}")


def _without_replaced(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of a document without the sections in which the changes name another algorithm or kind of model."""
    kept: dict[str, Any] = {}
    for name, value in document.items():
        inner = changes.get(name)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            key = _SCHEMAS.get(name, "")
            named = value.get(key)
            value = {} if inner.get(key, named) != named else _without_replaced(value, inner)
        kept[name] = value
    return kept


def _with_skills(value: Any, skills: str) -> Any:
    """Copy of a document with the agent's skills in place of ``{skills}``."""
    if isinstance(value, Mapping):
        return {name: _with_skills(inner, skills) for name, inner in value.items()}
    return value.replace("{skills}", skills) if isinstance(value, str) else value


def _common(config: StudyConfig, agent: str) -> dict[str, Any]:
    """Configuration shared by all variants of an agent."""
    return merged(read_yaml(find_config(agent)), config.common)


def _references(config: StudyConfig) -> list[PolicyEvaluationConfig]:
    return [_references_of(config, agent) for agent in config.agents if config.references]


def _references_of(config: StudyConfig, agent: str) -> PolicyEvaluationConfig:
    base = _common(config, agent)
    out = f"{config.out}/{base['task']}/references"
    return PolicyEvaluationConfig(
        config.references,
        (base["task"],),
        (base["skills"],),
        out,
        config.episodes,
        # All of them: the skills may have been learnt with others.
        task_settings=dict(get_task(base["task"], settings=base.get("task_settings") or {}).spec.settings),
        threads=1,
    )


def _train_skills(config: SkillTrainingConfig) -> None:
    # Imports torch, which agents by PPO do not need.
    from reskill_core.training.skill_trainer import train_skills

    train_skills(config, show_progress=False)


def _train_and_evaluate(config: AgentTrainingConfig, episodes: int) -> None:
    result = train_agent(config, show_progress=False)
    out = result.run / EVALUATION_FOLDER
    evaluation = PolicyEvaluationConfig(
        (AGENT_POLICY,), (config.task,), (str(result.run),), str(out), episodes, threads=config.threads
    )
    _evaluate_once(evaluation)


def _evaluate_once(evaluation: PolicyEvaluationConfig) -> None:
    """Evaluate, unless the same checkpoints were already evaluated with the same settings and simulator."""
    if not _is_evaluated(evaluation):
        evaluate_policies(evaluation, show_progress=False)


def _is_evaluated(evaluation: PolicyEvaluationConfig) -> bool:
    found = Path(evaluation.out) / POLICIES_FILE
    if not found.is_file():
        return False
    document = read_result(found)
    lineages = [Lineage.of(result) for result in document.get("results", ())]
    acted = {lineage.agent or lineage.skills for lineage in lineages} - {None}
    given = {load_checkpoint(folder, *POLICY_KINDS).sha256 for folder in evaluation.checkpoints}
    same_simulator = all(lineage.simulator == simulator_version() for lineage in lineages)
    # Older results have no settings of tasks. Checkpoints are known by their contents, wherever they are now.
    config = {"task_settings": {}, **(document.get("config") or {})}
    places = {"checkpoints": list(evaluation.checkpoints), "out": evaluation.out}
    return config | places == config_to_dict(evaluation) and same_simulator and acted <= given


def _write_results(
    config: StudyConfig, runs: list[AgentTrainingConfig], references: list[PolicyEvaluationConfig]
) -> None:
    """Write the table and the learning curves of the evaluated runs."""
    evaluated = [Path(run.out) for run in runs if (Path(run.out) / EVALUATION_FOLDER / POLICIES_FILE).is_file()]
    found = [Path(each.out) for each in references if (Path(each.out) / POLICIES_FILE).is_file()]
    outcomes = [outcome for folder in found for outcome in read_outcomes(folder)]
    write_results(Path(config.out), compare(map(read_run, evaluated), outcomes))

"""Training agents in the simulator, and how fast that is."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import config_from_dict, config_to_dict, load_config
from reskill_core.estimation.config import EstimatorTrainingConfig
from reskill_core.resources import config_folder, shipped_models
from reskill_core.rl.config import NO_SKILLS, AgentTrainingConfig, Schedule
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import SkillPolicy
from reskill_core.seeding import first_episode
from reskill_core.training.agent_trainer import AgentTrainer
from reskill_core.training.evaluated_run import EvaluatedResult
from reskill_core.training.metrics import read_metrics
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation
from reskill_sim.evaluation import evaluate_policy
from reskill_sim.evaluation.rollouts import with_places
from reskill_sim.families import family_of, get_task


def train_agent(config: AgentTrainingConfig, show_progress: bool = True) -> EvaluatedResult:
    """Train an agent, or continue a run that was interrupted in the same folder.

    Raises:
        ConfigError: there is no such task, profile, variation or setting of the task.
        CheckpointError: skills, initial agent or estimator cannot be read or do not fit the task, or the run folder
            holds another run: one with other settings, skills, demonstrations, world or simulator.
        TrainingError: a loss is not finite.
    """
    variation = config_from_dict(Variation, config.variation or {}, source="the variation")
    task = get_task(config.task, variation, config.task_settings)
    longer = task.lasting(config.horizons)
    sizes = np.diff([*range(0, config.num_envs, config.group_size), config.num_envs])
    groups = [longer.make_env(size, config.profile) for size in sizes.tolist()]
    module = SkillModule.load(config.skills, batch_invariant=False) if config.skills != NO_SKILLS else None
    begun_from = [load_checkpoint(path, AGENT_KIND) if path else None for path in (config.initial, config.estimator)]
    evaluate = partial(evaluate_selection, longer, config)
    trainer = AgentTrainer(config, groups, task.spec, module, evaluate, config_to_dict(variation), *begun_from)
    return trainer.run(show_progress)


def measure_training(profiles: Sequence[str] = ("fast", "turbo"), iterations: int = 10) -> list[dict[str, str | float]]:
    """Environment steps per second of training by the configurations of agents whose skills are shipped.

    Args:
        profiles: profiles of the simulator, where the task has them.
        iterations: how many to measure, after as many to warm up.

    Returns:
        A row for each task and profile: ``steps_per_s`` over all, median over the iterations, and the
        ``learning_share`` of the time.
    """
    rows: list[dict[str, str | float]] = []
    for path in sorted((config_folder() / "agents").glob("*.yaml")):
        config = load_config(AgentTrainingConfig, path)
        config = replace(config, skills="skills/" + Path(config.skills).name)
        if config.skills in shipped_models():
            for profile in (name for name in profiles if name in family_of(config.task).profiles):
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(_measure(config, profile, folder, iterations))
    return rows


def _measure(shipped: AgentTrainingConfig, profile: str, folder: str, iterations: int) -> dict[str, str | float]:
    steps = 2 * iterations * shipped.num_envs * shipped.rollout_steps
    # The residual at its full weight from the beginning: the most expensive case.
    agent = replace(shipped.agent, schedule=Schedule("linear", 0, 1))
    config = replace(
        shipped,
        out=folder,
        profile=profile,
        steps=steps,
        evaluate_every=steps,
        evaluation_episodes=1,
        agent=agent,
    )
    train_agent(config, show_progress=False)
    rows = [row for row in read_metrics(Path(folder)) if "train/steps_per_s" in row][iterations:]
    figures = {
        name: statistics.median(row[f"train/{name}"] for row in rows) for name in ("steps_per_s", "learning_share")
    }
    return {"task": shipped.task, "profile": profile, **figures}


def evaluate_selection(
    task: Task, config: AgentTrainingConfig | EstimatorTrainingConfig, policy: SkillPolicy
) -> dict[str, float]:
    """How well it does in the episodes that choose the run's best checkpoint, the same at every evaluation."""
    make_acting = partial(with_places, policy)
    found = evaluate_policy(
        task,
        make_acting,
        "agent",
        config.evaluation_episodes,
        config.profile,
        config.threads,
        first_seed=first_episode(config.seed, "selection"),
    )
    names = {name for outcome in found.outcomes for name in outcome.metrics}
    # Some metrics only exist for some episodes, such as the steps to a goal that was reached.
    of_task = {name: [o.metrics[name] for o in found.outcomes if name in o.metrics] for name in sorted(names)}
    return {
        **{name: statistics.fmean(values) for name, values in of_task.items()},
        "return": found.episode_return.mean,
        "success": found.success.mean,
    }

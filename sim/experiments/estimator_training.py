"""Training state estimators of agents in the simulator."""

from __future__ import annotations

from functools import partial

from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.estimation.config import EstimatorTrainingConfig
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.training.estimator_trainer import EstimatorTrainer
from reskill_core.training.evaluated_run import EvaluatedResult
from reskill_sim.engine.variation import Variation
from reskill_sim.experiments.agent_training import evaluate_selection
from reskill_sim.families import get_task


def train_estimator(config: EstimatorTrainingConfig, show_progress: bool = True) -> EvaluatedResult:
    """Train a state estimator for an agent, or continue a run that was interrupted in the same folder.

    Raises:
        ConfigError: there is no such profile or variation of the agent's task, or it has images.
        CheckpointError: the agent cannot be read, or the run folder holds another run.
        TrainingError: a loss is not finite.
    """
    agent = load_checkpoint(config.agent, AGENT_KIND)
    variation = config_from_dict(Variation, config.variation, source="the variation")
    task = get_task(agent.task.name, variation, agent.task.settings)
    agent.require_task(task.spec)
    longer = task.lasting(config.horizons)
    environments = longer.make_env(config.num_envs, config.profile, config.threads)
    evaluate = partial(evaluate_selection, longer, config)
    return EstimatorTrainer(config, environments, agent, evaluate, config_to_dict(variation)).run(show_progress)

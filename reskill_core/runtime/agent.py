"""Policies of agents, composed of a skill module, a high level and a residual policy.

Either level may be missing; without a high level the skill module may be missing, too. The composition is the same in
training and deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_from_dict
from reskill_core.errors import CheckpointError
from reskill_core.lineage import Lineage
from reskill_core.models.features import FeatureMap
from reskill_core.rl.actor import Actor
from reskill_core.rl.algorithm import ALGORITHMS
from reskill_core.rl.config import AgentConfig
from reskill_core.runtime.estimator import Estimator
from reskill_core.runtime.networks import Weights
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_module import UNFIT, SkillModule
from reskill_core.runtime.skill_policy import Mode, SkillPolicy
from reskill_core.spec import TaskSpec

AGENT_KIND = "agent"

# Keys of the checkpoint document, in addition to ``task``, and prefixes of weights. The checkpoint includes the skill
# module, because an agent only works with the skills it was trained with. Without skills it includes the normaliser of
# the features instead.
AGENT_KEY, SKILLS_KEY, FEATURES_KEY, WEIGHT_KEY = "agent", "skills", "features", "residual_weight"
SKILLS, HIGH_LEVEL, LOW_LEVEL = "skills.", "high_level.", "low_level."
# Of an agent with a state estimator.
ESTIMATOR_KEY, ESTIMATOR = "estimator", "estimator."


def agent_of(
    module: SkillModule | ObservationFeatures,
    config: AgentConfig,
    high_level: Actor | None,
    residual: Actor | None,
    residual_weight: float = 0.0,
    mode: Mode = "mode",
    task: TaskSpec | None = None,
    checkpoint: Checkpoint | None = None,
    estimator: Weights | None = None,
) -> SkillPolicy:
    """Compose the policy of an agent.

    Args:
        module: its skills, or the features of observations.
        config: configuration of the agent.
        high_level: policy that chooses skills; required for an agent with skills.
        residual: policy that corrects their actions.
        residual_weight: weight of the residual.
        mode: see :class:`~reskill_core.runtime.skill_policy.SkillPolicy`.
        task: task to act in; by default that of the checkpoint.
        checkpoint: checkpoint of the agent.
        estimator: weights of a state estimator that corrects observations; None without one.
    """
    return SkillPolicy(
        module,
        mode,
        config.latent_source,
        high_level,
        residual,
        residual_weight,
        config.noise_limit,
        config.steps_per_skill(module.horizon),
        config.skills,
        task,
        checkpoint,
        config.memory,
        None if estimator is None else Estimator(estimator, module.batch_invariant),
    )


def agent_policy(checkpoint: Checkpoint, mode: Mode = "mode", batch_invariant: bool = True) -> SkillPolicy:
    """Load the policy of an agent's checkpoint.

    Args:
        checkpoint: checkpoint of kind ``AGENT_KIND``.
        mode: ``mode`` uses the most likely skill, as in evaluations; ``sample`` samples one.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.

    Raises:
        CheckpointError: it is incomplete.
    """
    try:
        document, weights = checkpoint.document, checkpoint.weights
        config = config_from_dict(AgentConfig, document[AGENT_KEY], source="the agent")
        module = module_of(checkpoint, config, batch_invariant)
        high_level = _actor(config.high_level.algorithm, weights, HIGH_LEVEL) if config.skills else None
        residual = _actor(config.low_level.algorithm, weights, LOW_LEVEL) if config.residual else None
        weight = float(document[WEIGHT_KEY]) if config.residual else 0.0
        estimator = estimator_weights(checkpoint)
        policy = agent_of(
            module, config, high_level, residual, weight, mode, checkpoint=checkpoint, estimator=estimator
        )
        # Act once with all parts, to detect mismatches now.
        policy.residual_weight = 1.0
        policy.reset([0])
        policy.act(policy.task_spec.obs.zeros(1))
        policy.residual_weight = weight
        policy.reset([])
    except UNFIT as error:
        raise CheckpointError(
            f"{checkpoint.folder} lacks a part of an agent, or parts do not fit: {error!r}"
        ) from error
    return policy


def estimator_weights(checkpoint: Checkpoint) -> dict[str, NDArray[Any]] | None:
    """Weights of the state estimator in an agent's checkpoint; None if it has none."""
    return below(ESTIMATOR, checkpoint.weights) if ESTIMATOR_KEY in checkpoint.document else None


def below(prefix: str, weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Select the arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}


def _actor(algorithm: str, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> Actor:
    actor: Actor = ALGORITHMS.get(algorithm).actor_from(weights, prefix)
    return actor


def module_of(checkpoint: Checkpoint, config: AgentConfig, batch_invariant: bool) -> SkillModule | ObservationFeatures:
    """The skill module in an agent's checkpoint, or the features of an agent without skills.

    Args:
        checkpoint: checkpoint of kind ``AGENT_KIND``.
        config: configuration of the agent.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.
    """
    document = checkpoint.document
    if FEATURES_KEY in document:
        feature_map = FeatureMap.from_document(config.features, checkpoint.task.obs, document[FEATURES_KEY])
        return ObservationFeatures(checkpoint.task, feature_map, batch_invariant)
    skills = replace(
        checkpoint,
        weights=below(SKILLS, checkpoint.weights),
        document=document[SKILLS_KEY],
        sha256=Lineage.of(document).skills,
    )
    return SkillModule(skills, batch_invariant)

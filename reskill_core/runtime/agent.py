"""An agent's policy from its parts: skills, what chooses among them, and what corrects their actions.

An agent is a skill module, a high level and a residual. Either level may be missing, and without a high level the skill
module may be, too. While it learns and when it is deployed it is put together in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_module import UNFIT, SkillModule
from reskill_core.runtime.skill_policy import Mode, SkillPolicy
from reskill_core.spec import TaskSpec

AGENT_KIND = "agent"

# Keys of the checkpoint document beside ``task``, and prefixes of weights. The skill module is in the checkpoint: an
# agent without the very skills that it has learnt to use is worth nothing. Without skills, the normaliser of its
# features is there instead.
AGENT_KEY, SKILLS_KEY, FEATURES_KEY, WEIGHT_KEY = "agent", "skills", "features", "residual_weight"
SKILLS, HIGH_LEVEL, LOW_LEVEL = "skills.", "high_level.", "low_level."


def agent_of(
    module: SkillModule | ObservationFeatures,
    config: AgentConfig,
    high_level: Actor | None,
    residual: Actor | None,
    residual_weight: float = 0.0,
    mode: Mode = "mode",
    task: TaskSpec | None = None,
    checkpoint: Checkpoint | None = None,
) -> SkillPolicy:
    """The policy of an agent.

    Args:
        module: its skills, or the features of observations.
        config: what it is.
        high_level: chooses skills; needed where the configuration says that there are some.
        residual: corrects their actions.
        residual_weight: of the correction.
        mode: see :class:`~reskill_core.runtime.skill_policy.SkillPolicy`.
        task: in which it acts; by default that of the checkpoint.
        checkpoint: what it was made from.
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
    )


def agent_policy(checkpoint: Checkpoint, mode: Mode = "mode", batch_invariant: bool = True) -> SkillPolicy:
    """The policy of an agent's checkpoint.

    Args:
        checkpoint: of kind ``AGENT_KIND``.
        mode: ``mode`` always takes the most likely skill, as agents are evaluated; ``sample`` draws one.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.

    Raises:
        CheckpointError: it lacks something.
    """
    try:
        document, weights = checkpoint.document, checkpoint.weights
        config = config_from_dict(AgentConfig, document[AGENT_KEY], source="the agent")
        module = _module_of(checkpoint, config, batch_invariant)
        high_level = _actor(config.high_level.algorithm, weights, HIGH_LEVEL) if config.skills else None
        residual = _actor(config.low_level.algorithm, weights, LOW_LEVEL) if config.residual else None
        weight = float(document[WEIGHT_KEY]) if config.residual else 0.0
        policy = agent_of(module, config, high_level, residual, weight, mode, checkpoint=checkpoint)
        # Acts once with all its parts, so that those that do not fit are found now.
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


def _actor(algorithm: str, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> Actor:
    actor: Actor = ALGORITHMS.get(algorithm).actor_from(weights, prefix)
    return actor


def _module_of(checkpoint: Checkpoint, config: AgentConfig, batch_invariant: bool) -> SkillModule | ObservationFeatures:
    """The skill module within an agent's checkpoint, or what it has in place of one."""
    document = checkpoint.document
    if FEATURES_KEY in document:
        feature_map = FeatureMap.from_document(config.features, checkpoint.task.obs, document[FEATURES_KEY])
        return ObservationFeatures(checkpoint.task, feature_map, batch_invariant)
    weights = {k.removeprefix(SKILLS): array for k, array in checkpoint.weights.items() if k.startswith(SKILLS)}
    skills = replace(checkpoint, weights=weights, document=document[SKILLS_KEY], sha256=Lineage.of(document).skills)
    return SkillModule(skills, batch_invariant)

"""Levels of an agent in training: their algorithms, made for the inputs that task, skills and environments give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.environment import Graded, RestorableVectorEnv
from reskill_core.errors import ConfigError
from reskill_core.rl.algorithm import ALGORITHMS, Algorithm
from reskill_core.rl.config import AgentTrainingConfig, AlgorithmConfig
from reskill_core.rl.privileged import PrivilegedView
from reskill_core.runtime.agent import HIGH_LEVEL, LOW_LEVEL
from reskill_core.runtime.memory import Memory
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import residual_dim
from reskill_core.spec import TaskSpec


def make_levels(
    config: AgentTrainingConfig,
    task: TaskSpec,
    module: SkillModule | ObservationFeatures,
    environments: RestorableVectorEnv,
) -> dict[str, Algorithm]:
    """Create the algorithms of an agent's levels, by the prefix of their weights.

    Args:
        config: configuration of the run.
        task: its task.
        module: the skills, or the features of an agent without skills.
        environments: some of its environments.

    Raises:
        ConfigError: the critics are to be privileged, but environments or an algorithm do not support it.
    """
    agent = config.agent
    features = module.features(task.obs.zeros(1)).shape[-1]
    features += Memory(agent.memory, features, task.action.dim).dim
    privileged = PrivilegedView(environments, module).dim if agent.privileged_critics else 0

    def learner(prefix: str, settings: AlgorithmConfig, inputs: int, decisions: int, limit: float) -> Algorithm:
        algorithm, level = ALGORITHMS.get(settings.algorithm), prefix.rstrip(".")
        if privileged and not getattr(algorithm, "PRIVILEGED", False):
            raise ConfigError(
                f"privileged_critics: {level} learns by {settings.algorithm}, which has no critics that see more than "
                "its actor; choose false, or another algorithm"
            )
        made: Algorithm = algorithm(
            inputs=inputs,
            features=features,
            decisions=decisions,
            config=settings,
            seed=config.seed,
            level=level,
            limit=limit,
            skills=module if isinstance(module, SkillModule) else None,
            **({"privileged": privileged} if privileged else {}),
        )
        return made

    levels: dict[str, Algorithm] = {}
    if agent.skills:
        levels[HIGH_LEVEL] = learner(HIGH_LEVEL, agent.high_level, features, module.latent_dim, agent.noise_limit)
    if agent.residual:
        inputs = residual_dim(module, features)
        levels[LOW_LEVEL] = learner(LOW_LEVEL, agent.low_level, inputs, task.action.dim, 1.0)
    return levels


def set_strengths(environments: Sequence[RestorableVectorEnv], values: Float64Array) -> None:
    """Set the strengths (N,) of the variation in episodes that start from now on, in groups of N environments.

    Raises:
        ConfigError: the environments do not support it.
    """
    ends = np.cumsum([group.num_envs for group in environments])
    for group, own in zip(environments, np.split(values, ends[:-1]), strict=True):
        if not isinstance(group, Graded):
            raise ConfigError(
                f"the variation of task {group.spec.name!r} cannot be weakened; its environments have to implement "
                "reskill_core.environment.Graded, or leave curriculum and nominal_share out"
            )
        group.strength[:] = own

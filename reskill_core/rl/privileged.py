"""Privileged inputs of critics: critics are of no use after training, so they may know what no robot can."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float32Array
from reskill_core.environment import Privileged, VectorEnv
from reskill_core.errors import ConfigError
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_module import SkillModule


class PrivilegedView:
    """Privileged inputs of critics in n environments.

    They are the features of the observation without delay and noise, without a memory, and then the parameters of the
    episode's world; see :class:`~reskill_core.environment.Privileged`.

    Args:
        environments: n environments.
        module: the skills, with ``batch_invariant`` off, or the features of an agent without skills.

    Raises:
        ConfigError: the environments only tell what the agent observes.
    """

    def __init__(self, environments: VectorEnv, module: SkillModule | ObservationFeatures) -> None:
        if not isinstance(environments, Privileged):
            raise ConfigError(
                f"privileged_critics: the environments of task {environments.spec.name!r} only tell what the agent "
                "observes; they have to implement reskill_core.environment.Privileged, or choose false"
            )
        self._environments, self._module = environments, module

    @property
    def dim(self) -> int:
        """Length P of the inputs."""
        return self().shape[1]

    def __call__(self) -> Float32Array:
        """Return the inputs (n, P) in the current states."""
        features = self._module.features(self._environments.true_observation())
        return np.concatenate([features, self._environments.world_parameters()], axis=1, dtype=np.float32)

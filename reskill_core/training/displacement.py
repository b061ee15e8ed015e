"""Displaced windows, from which decoders learn to return to the path of a demonstration.

The decoder sees a window as if its joints had started elsewhere, and is to return: with displacement d of a joint at a
step, the label of its velocity v becomes v - gain * d / T for a control period T, so that (1 - gain) * d is left at the
next one. Corrective labels against the drift of imitation: Laskey et al. 2017 obtain them by disturbing demonstrators,
Ke et al. 2023 from a model of the motion, which is known here: a position is the integral of its velocity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reskill_core.errors import ConfigError
from reskill_core.models.observations import Inputs, vector_of, with_vector
from reskill_core.spec import JOINT_VELOCITY, TaskSpec
from reskill_core.training.config import DisplacementConfig


class Displacement:
    """Random displacements of joints, with the labels that undo them.

    Args:
        config: which joints, and how far.
        task: layouts of observations and actions.

    Raises:
        ConfigError: a term is none of joint positions, or one of its joints has no velocity among the actions.
    """

    def __init__(self, config: DisplacementConfig, task: TaskSpec) -> None:
        self._config = config
        positions = {term.name: term for term in task.obs.terms if term.kind == "joint_position"}
        velocities = {
            part.name: (index, part.scale * task.control_period_s)
            for index, part in enumerate(task.action.components)
            if part.quantity == JOINT_VELOCITY
        }
        columns, components, movements = [], [], []
        for name in config.terms:
            if name not in positions:
                raise ConfigError(
                    f"displacement.terms: {name} is no term of joint positions; "
                    f"those of task {task.name!r} are {', '.join(positions) or 'none'}"
                )
            for place, joint in enumerate(positions[name].of):
                if joint not in velocities:
                    raise ConfigError(
                        f"displacement.terms: {name}: the velocity of {joint} is no action of task {task.name!r}, "
                        "so that no label leads back"
                    )
                columns.append(task.obs.slice(name).start + place)
                components.append(velocities[joint][0])
                movements.append(velocities[joint][1])
        self._columns, self._components = torch.tensor(columns), torch.tensor(components)
        self._movements = torch.tensor(movements, dtype=torch.float32)
        self._low, self._high = (torch.tensor(bound)[self._components] for bound in (task.action.low, task.action.high))

    def displaced(self, observation: Inputs, action: Tensor, generator: torch.Generator) -> tuple[Inputs, Tensor]:
        """Displace windows at random.

        Args:
            observation: (B, H, O).
            action: (B, H, A) labels.
            generator: random stream.

        Returns:
            Observations with displaced joint positions, and labels that return to the given ones.
        """
        config, vector = self._config, vector_of(observation)
        size = config.std * torch.rand(len(action), 1, generator=generator)
        start = size * torch.randn(len(action), len(self._columns), generator=generator)
        left = (1.0 - config.gain) ** torch.arange(action.shape[1])
        offset = start[:, None] * left[:, None]
        vector, action = vector.clone(), action.clone()
        vector[..., self._columns] += offset
        returning = action[..., self._components] - config.gain * offset / self._movements
        action[..., self._components] = torch.minimum(torch.maximum(returning, self._low), self._high)
        return with_vector(observation, vector), action

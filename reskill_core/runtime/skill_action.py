"""Actions of policies and demonstrators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, Float64Array
from reskill_core.spec import ActionSpec


@dataclass(frozen=True, slots=True)
class SkillAction:
    """Action of one control step with its components, for a batch of N environments.

    ``action = clip(decoded_action + residual_weight * residual)``. A demonstrator's decoded action is its noise-free
    action, the training label; its noise is the residual, with weight 1.

    Attributes:
        action: (N, A) the action to execute, in [-1, 1].
        decoded_action: (N, A) action of the skill decoder, or of the demonstrator.
        residual: (N, A) correction added to it.
        residual_weight: (N,) weight of the correction.
        latent: (N, Z) the skill's latent; Z is 0 for a demonstrator.
        skill_step: (N,) control step within the skill, from 0.
    """

    action: Float32Array
    decoded_action: Float32Array
    residual: Float32Array
    residual_weight: Float32Array
    latent: Float32Array
    skill_step: NDArray[np.int64]

    @classmethod
    def demonstrated(cls, spec: ActionSpec, clean: Float64Array, noise: Float32Array) -> SkillAction:
        """Action of a demonstrator.

        Args:
            spec: layout of the action.
            clean: (N, A) noise-free action; limited, it is the label.
            noise: (N, A) noise of what is executed.
        """
        label, count = spec.clip(clean), len(clean)
        return cls(
            action=spec.clip(label + noise),
            decoded_action=label,
            residual=noise,
            residual_weight=np.ones(count, np.float32),
            latent=np.zeros((count, 0), np.float32),
            skill_step=np.zeros(count, np.int64),
        )

"""Gaussian actor: a network for the mean, and a standard deviation that does not depend on the input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.rl.actor import Decision
from reskill_core.runtime.networks import Mlp

ACTOR, LOG_STD = "actor", "log_std"


class GaussianActor(NamedTuple):
    """Gaussian :class:`~reskill_core.rl.actor.Actor`.

    Attributes:
        mean: network from inputs (..., I) to means (..., D).
        std: (D,) standard deviation.
    """

    mean: Mlp
    std: Float32Array

    @classmethod
    def from_weights(cls, weights: Mapping[str, NDArray[np.float32]], prefix: str = "") -> GaussianActor:
        """Load an actor from the weights of a checkpoint whose names begin with ``prefix``."""
        return cls(Mlp.from_weights(weights, f"{prefix}{ACTOR}"), np.exp(weights[f"{prefix}{LOG_STD}"]))

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """See :class:`~reskill_core.rl.actor.Actor`."""
        mean = self.mean(inputs).reshape(len(inputs), -1)
        if draws is None:
            return Decision(mean, None)
        return Decision(mean + self.std * draws, log_density(draws, np.log(self.std)))


def log_density(drawn: Float32Array, log_std: Float32Array) -> Float32Array:
    """Compute (...,) log densities of Gaussian samples, given their standard normal draws (..., D) [nats]."""
    half_log_two_pi = np.float32(0.5 * math.log(2 * math.pi))
    density: Float32Array = (-0.5 * drawn * drawn - (log_std + half_log_two_pi)).sum(axis=-1, dtype=np.float32)
    return density

"""ReSkill's skill model in numpy, equivalent to :class:`reskill_core.models.skill_vae.SkillVae`.

Results are bit-equal to those of the version with which the shipped agents were trained and evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.models.config import ReskillModelConfig
from reskill_core.models.features import FeatureMap
from reskill_core.runtime.networks import Mlp
from reskill_core.runtime.priors import build_numpy_prior
from reskill_core.runtime.skill_runtime import Weights
from reskill_core.spec import TaskSpec

_ENCODER, _DECODER, _PRIOR = "encoder", "decoder", "prior"


class NumpySkills:
    """Skill runtime with features, decoder and prior; see :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""

    maps_noise = True

    def __init__(
        self,
        config: ReskillModelConfig,
        task: TaskSpec,
        weights: Weights,
        normaliser: Mapping[str, Any],
        batch_invariant: bool,
    ) -> None:
        self._batch_invariant = batch_invariant
        self._features = FeatureMap.from_document(config.features, task.obs, normaliser)
        self._decoder = Mlp.from_weights(weights, _DECODER)
        self._prior = build_numpy_prior(config.prior, config.latent_dim, weights, _PRIOR)
        self.state_dim = config.latent_dim

    def features(self, observations: Float32Array) -> Float32Array:
        """Compute normalised features of observations (N, O)."""
        return self._features(self._rows(observations))

    def begin(self, features: Float32Array, latents: Float32Array) -> Float32Array:
        """Return the latents, the only state of a closed-loop decoder."""
        return latents

    def act(self, features: Float32Array, states: Float32Array) -> tuple[Float32Array, Float32Array]:
        """See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""
        inputs = np.concatenate((features, self._rows(states)), axis=-1)
        return np.tanh(self._decoder(inputs)).reshape(len(features), -1), states

    def noise_to_latent(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""
        return self._prior.noise_to_latent(self._rows(noise), features).reshape(noise.shape)

    @staticmethod
    def acting_weights(weights: Weights) -> dict[str, NDArray[Any]]:
        """Select all weights except the encoder's."""
        return {name: array for name, array in weights.items() if not name.startswith(f"{_ENCODER}.")}

    def _rows(self, array: Float32Array) -> Float32Array:
        # numpy multiplies (N, 1, K) by a matrix row by row, but (N, K) in blocks with rounding that depends on N.
        return array[:, None] if self._batch_invariant else array

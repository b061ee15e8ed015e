"""The interface of what acts with a trained skill model: no torch, one observation or a batch of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reskill_core.spec import TaskSpec

FloatArray = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


class SkillRuntime(Protocol):
    """A skill model that acts.

    Shapes: N observations; features (N, F), latents and noise (N, Z), decoder states (N, S), actions (N, A). Features
    may come as (N, 1, F), which numpy multiplies by a matrix row by row; whatever is given back as features is taken
    back in the same layout.

    Args:
        config: hyper-parameters, of the class that the model's kind names.
        task: that the model was made for.
        weights: of the checkpoint.
        normaliser: constants of the model, from the checkpoint.
        batch_invariant: compute each row of a batch as if it were alone, to the last bit.
    """

    def __init__(
        self,
        config: Any,
        task: TaskSpec,
        weights: Weights,
        normaliser: Mapping[str, Any],
        batch_invariant: bool,
    ) -> None: ...

    @property
    def state_dim(self) -> int:
        """Length S of what the decoder remembers of a skill from one control step to the next."""

    @property
    def maps_noise(self) -> bool:
        """Whether the prior is a map from noise N(0, I) to latents, so that :meth:`noise_to_latent` works."""

    def features(self, observations: Any) -> FloatArray:
        """Features of observations: (N, O) float32 vectors, or a mapping of them and of images."""

    def begin(self, features: FloatArray, latents: FloatArray) -> FloatArray:
        """Decoder states (N, S) of skills that start."""

    def act(self, features: FloatArray, states: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Actions (N, A) in [-1, 1] of one control step, and the states after it."""

    def noise_to_latent(self, noise: FloatArray, features: FloatArray) -> FloatArray:
        """Latents (N, Z) that noise (N, Z) stands for: N(0, I) noise samples the prior."""

    @staticmethod
    def acting_weights(weights: Weights) -> dict[str, NDArray[Any]]:
        """What it needs of a checkpoint's weights."""

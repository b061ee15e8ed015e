"""Interface of skill runtimes: inference with a trained skill model, without torch, for one or many observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.spec import TaskSpec

Weights = Mapping[str, NDArray[Any]]


class SkillRuntime(Protocol):
    """Skill model for inference.

    Shapes: N observations; features (N, F), latents and noise (N, Z), decoder states (N, S), actions (N, A). Features
    may be (N, 1, F), which numpy multiplies by a matrix row by row; all methods accept the layout that :meth:`features`
    returns.

    Args:
        config: hyper-parameters, of the kind's configuration class.
        task: the task that the model was trained for.
        weights: weights of the checkpoint.
        normaliser: constants of the model, from the checkpoint.
        batch_invariant: make each row of a batch bit-equal to the same row computed alone.
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
        """Length S of the decoder's state."""

    @property
    def maps_noise(self) -> bool:
        """Whether the prior is a map from noise N(0, I) to latents, so that :meth:`noise_to_latent` works."""

    def features(self, observations: Any) -> Float32Array:
        """Compute features of observations: (N, O) float32 vectors, or a mapping of them and of images."""

    def begin(self, features: Float32Array, latents: Float32Array) -> Float32Array:
        """Return the initial decoder states (N, S) of skills."""

    def act(self, features: Float32Array, states: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return actions (N, A) in [-1, 1] of one control step, and the next states."""

    def noise_to_latent(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """Map noise (N, Z) to latents (N, Z); N(0, I) noise samples the prior."""

    @staticmethod
    def acting_weights(weights: Weights) -> dict[str, NDArray[Any]]:
        """Select the weights of a checkpoint that inference needs."""

"""Trained skill modules, as used by agents, policies and evaluations for any kind of skill model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.arrays import Float32Array
from reskill_core.checkpoint import Checkpoint, load_checkpoint
from reskill_core.config import config_from_dict
from reskill_core.errors import CheckpointError, ConfigError, SpecError
from reskill_core.models.config import SkillModelConfig
from reskill_core.models.feature_columns import Columns, columns_from
from reskill_core.models.registry import skill_model_kind
from reskill_core.models.skill_document import COLUMNS_KEY, MODEL_KEY, NORMALISER_KEY
from reskill_core.spec.observations import VECTOR

if TYPE_CHECKING:
    from reskill_core.models.skill_model import SkillModel


SKILL_MODULE_KIND = "skill_module"

# Exceptions raised when computing with mismatched parts.
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, ConfigError, SpecError)


def no_noise_map(kind: str) -> str:
    """Why noise is no latent of the prior in a model of a kind, for people."""
    return (
        f"the prior of a skill model of kind {kind!r} is no map from noise to latents, as flows and Gaussians are; "
        "take latents themselves: latent_source=standard_normal"
    )


class SkillModule:
    """Trained skill model: features, decoder and prior without torch; the posterior in torch, imported on first use.

    A skill runs by ``state = begin(features, latents)`` at its first observation, and ``action, state = act(features,
    state)`` in every control step; the caller keeps the states. Observations are (N, O), or a mapping of ``vector`` and
    image names for tasks with images.

    Args:
        checkpoint: checkpoint of kind ``SKILL_MODULE_KIND``.
        batch_invariant: make each row of a batch bit-equal to the same row computed alone, so that an episode does not
            depend on the other environments. If off, large batches are several times faster.

    Raises:
        CheckpointError: the checkpoint is incomplete.
    """

    def __init__(self, checkpoint: Checkpoint, batch_invariant: bool = True) -> None:
        self.checkpoint = checkpoint
        self.batch_invariant = batch_invariant
        self.task_spec = checkpoint.task
        self._has_images = bool(self.task_spec.obs.images)
        try:
            section = checkpoint.document[MODEL_KEY]
            self.config = config_from_dict(SkillModelConfig, section, source="the model")
            self._runtime = skill_model_kind(section).load_runtime()(
                self.config,
                self.task_spec,
                checkpoint.weights,
                checkpoint.document[NORMALISER_KEY],
                batch_invariant,
            )
            feature_dim = self._require_fit()
            self._columns = columns_from(checkpoint.document.get(COLUMNS_KEY), feature_dim)
        except UNFIT as error:
            raise CheckpointError(
                f"{checkpoint.folder} lacks a part of a skill module, or parts do not fit: {error!r}"
            ) from error

    @classmethod
    def load(cls, folder: Path | str, batch_invariant: bool = True) -> SkillModule:
        """Read a checkpoint or the best one of a run folder.

        Raises:
            CheckpointError: it is missing, damaged or of another kind.
        """
        return cls(load_checkpoint(folder, SKILL_MODULE_KIND), batch_invariant)

    @property
    def latent_dim(self) -> int:
        """Length Z of a latent."""
        return self.config.latent_dim

    @property
    def horizon(self) -> int:
        """Control steps H of a skill."""
        return self.config.horizon

    @property
    def state_dim(self) -> int:
        """Length S of the decoder's state."""
        return self._runtime.state_dim

    @property
    def maps_noise(self) -> bool:
        """Whether the skill prior is a map from noise to latents, such as flows and Gaussians."""
        return self._runtime.maps_noise

    @property
    def feature_columns(self) -> Columns:
        """Columns of the features, first and last + 1, by what they are computed from.

        Names are ``vector``, terms of the observation's vector, and images; a prior with convolutions of its own
        beside others has ``prior_<image>`` as well. Models without such names have one entry, ``vector``.
        """
        return self._columns

    @property
    def acting_weights(self) -> dict[str, NDArray[Any]]:
        """Weights needed for inference, which are included in an agent's checkpoint."""
        return self._runtime.acting_weights(self.checkpoint.weights)

    def features(self, observations: Any) -> Float32Array:
        """Compute features of observations, in the layout of the other methods' argument ``features``.

        Raises:
            SpecError: a shape is wrong.
        """
        if self._has_images:
            parts = dict(self.task_spec.obs.check(observations))
            return self._runtime.features({**parts, VECTOR: np.asarray(parts[VECTOR], dtype=np.float32)})
        return self._runtime.features(self._checked("observations", observations, self.task_spec.obs.dim))

    def begin(self, features: Float32Array, latents: Float32Array) -> Float32Array:
        """Return the initial states (N, S) of skills (N, Z) at features of :meth:`features`."""
        return self._runtime.begin(features, latents)

    def act(self, features: Float32Array, states: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return actions (N, A) in [-1, 1] of one control step at features of :meth:`features`, and the next states."""
        return self._runtime.act(features, states)

    def decode(self, observations: Any, latents: ArrayLike) -> Float32Array:
        """Decode the first actions (N, A) in [-1, 1] of skills (N, Z) that start at observations.

        Raises:
            SpecError: a shape is wrong.
        """
        features = self.features(observations)
        checked = self._checked("latents", latents, self.latent_dim, len(features))
        return self.act(features, self.begin(features, checked))[0]

    def noise_to_latent(self, noise: ArrayLike, observations: Any) -> Float32Array:
        """Map noise (N, Z) to latents (N, Z) at observations; N(0, I) noise samples the prior.

        Raises:
            SpecError: a shape is wrong, or the model's prior is not a map from noise.
        """
        features = self.features(observations)
        return self.prior_features(self._checked("noise", noise, self.latent_dim, len(features)), features)

    def prior_features(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """:meth:`noise_to_latent` at features of :meth:`features`."""
        if not self.maps_noise:
            raise SpecError(no_noise_map(self.config.kind))
        return self._runtime.noise_to_latent(noise, features)

    def encode(self, observations: Any, actions: ArrayLike) -> tuple[Float32Array, Float32Array]:
        """Compute posterior mean and standard deviation, each (B, Z), of windows (B, H, O) and (B, H, A).

        Raises:
            SpecError: a shape is wrong.
            CheckpointError: the checkpoint has no posterior, such as the skills in an agent's checkpoint.
        """
        import torch

        from reskill_core.models.observations import as_tensors

        with torch.no_grad():
            action = torch.from_numpy(np.asarray(actions, dtype=np.float32))
            posterior = self.torch_model.posterior(as_tensors(observations), action)
        return posterior.mean.numpy(), posterior.log_std.exp().numpy()

    @cached_property
    def torch_model(self) -> SkillModel:
        """Complete model in torch, in evaluation mode."""
        from reskill_core.models.io import torch_model

        return torch_model(self.checkpoint)

    def _require_fit(self) -> int:
        """Evaluate all parts once; returns the length F of the features.

        Raises one of :data:`UNFIT` if the parts do not fit each other and the task.
        """
        features = self.features(self.task_spec.obs.zeros(1))
        latent = np.zeros((1, self.latent_dim), dtype=np.float32)
        if self.maps_noise:
            latent = self.prior_features(latent, features)
        state = self.begin(features, latent)
        action, following = self.act(features, state)
        found = {"latents": latent, "states": state, "following states": following, "actions": action}
        expected = (self.latent_dim, self.state_dim, self.state_dim, self.task_spec.action.dim)
        for (name, array), width in zip(found.items(), expected, strict=True):
            if array.shape != (1, width):
                raise ValueError(f"{name} have shape {array.shape}, expected (1, {width})")
        return features.size

    def _checked(self, name: str, values: ArrayLike, width: int, rows: int | None = None) -> Float32Array:
        array = np.asarray(values, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != width or rows not in (None, len(array)):
            raise SpecError(f"{name} has shape {array.shape}, expected ({'N' if rows is None else rows}, {width})")
        return array

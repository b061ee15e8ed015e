"""A trained skill module, evaluated in numpy."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.checkpoint import Checkpoint, load_checkpoint
from reskill_core.config import config_from_dict
from reskill_core.errors import CheckpointError, ConfigError, SpecError
from reskill_core.models.config import SkillModelConfig
from reskill_core.models.features import FeatureMap
from reskill_core.runtime.networks import Mlp
from reskill_core.runtime.priors import build_numpy_prior

if TYPE_CHECKING:
    from reskill_core.models.skill_vae import SkillVae

FloatArray = NDArray[np.float32]

SKILL_MODULE_KIND = "skill_module"

# Keys of the checkpoint document beside ``task``, which every kind has.
MODEL_KEY = "model"
NORMALISER_KEY = "normaliser"

# What computing with parts that do not fit each other raises.
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, ConfigError, SpecError)

ENCODER, DECODER, PRIOR = "encoder", "decoder", "prior"


class SkillModule:
    """Features, closed-loop decoder and prior in numpy; the encoder in torch, loaded when first used.

    Args:
        checkpoint: of kind ``SKILL_MODULE_KIND``.
        batch_invariant: compute each row of a batch as if it were alone, to the last bit, so that an episode does not
            depend on which others run beside it. Off, large batches are several times faster.

    Raises:
        CheckpointError: the checkpoint lacks something.
    """

    def __init__(self, checkpoint: Checkpoint, batch_invariant: bool = True) -> None:
        self.checkpoint = checkpoint
        self.batch_invariant = batch_invariant
        self.task_spec = checkpoint.task
        try:
            self.config = config_from_dict(SkillModelConfig, checkpoint.document[MODEL_KEY])
            self._features = FeatureMap.from_document(
                self.config.features, self.task_spec.obs, checkpoint.document[NORMALISER_KEY]
            )
            self._decoder = Mlp.from_weights(checkpoint.weights, DECODER)
            self._prior = build_numpy_prior(self.config.prior, self.config.latent_dim, checkpoint.weights, PRIOR)
            self._require_fit()
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

    def features(self, observations: ArrayLike) -> FloatArray:
        """Normalised features of observations (N, O), in the layout that the other methods' ``features`` take."""
        array = self._checked("observations", observations, self.task_spec.obs.dim)
        return self._features(self._rows(array))

    def decode(self, observations: ArrayLike, latents: ArrayLike) -> FloatArray:
        """Actions (N, A) in [-1, 1] that skills (N, Z) take at observations (N, O).

        Raises:
            SpecError: a shape is wrong.
        """
        features = self.features(observations)
        return self.decode_features(features, self._checked("latents", latents, self.latent_dim, len(features)))

    def decode_features(self, features: FloatArray, latents: FloatArray) -> FloatArray:
        """:meth:`decode` at features that :meth:`features` gave."""
        inputs = np.concatenate((features, self._rows(latents)), axis=-1)
        return np.tanh(self._decoder(inputs)).reshape(len(features), -1)

    def noise_to_latent(self, noise: ArrayLike, observations: ArrayLike) -> FloatArray:
        """Latents (N, Z) that noise (N, Z) stands for at observations (N, O): N(0, I) noise samples the prior.

        Raises:
            SpecError: a shape is wrong.
        """
        features = self.features(observations)
        return self.prior_features(self._checked("noise", noise, self.latent_dim, len(features)), features)

    def prior_features(self, noise: FloatArray, features: FloatArray) -> FloatArray:
        """:meth:`noise_to_latent` at features that :meth:`features` gave."""
        return self._prior.noise_to_latent(self._rows(noise), features).reshape(noise.shape)

    def encode(self, observations: ArrayLike, actions: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation, each (B, Z), of windows (B, H, O) and (B, H, A).

        Raises:
            SpecError: a shape is wrong.
        """
        import torch

        with torch.no_grad():
            mean, log_std = self.torch_model.encode(
                torch.from_numpy(np.asarray(observations, dtype=np.float32)),
                torch.from_numpy(np.asarray(actions, dtype=np.float32)),
            )
        return mean.numpy(), log_std.exp().numpy()

    @cached_property
    def torch_model(self) -> SkillVae:
        """The whole module in torch, in evaluation mode."""
        from reskill_core.models.io import torch_model

        return torch_model(self.config, self._features, self.task_spec.action.dim, self.checkpoint)

    def _require_fit(self) -> None:
        """Raise whatever comes of it if the parts do not fit each other and the task."""
        observation = np.zeros((1, self.task_spec.obs.dim), dtype=np.float32)
        latent = self.noise_to_latent(np.zeros((1, self.latent_dim), dtype=np.float32), observation)
        action = self.decode(observation, latent)
        if (latent.shape, action.shape) != ((1, self.latent_dim), (1, self.task_spec.action.dim)):
            raise ValueError(f"latents {latent.shape[1:]} and actions {action.shape[1:]} have other sizes")

    def _rows(self, array: FloatArray) -> FloatArray:
        # numpy multiplies (N, 1, K) by a matrix one row at a time, (N, K) in blocks whose rounding depends on N.
        return array[:, None] if self.batch_invariant else array

    def _checked(self, name: str, values: ArrayLike, width: int, rows: int | None = None) -> FloatArray:
        array = np.asarray(values, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != width or rows not in (None, len(array)):
            raise SpecError(f"{name} has shape {array.shape}, expected ({'N' if rows is None else rows}, {width})")
        return array

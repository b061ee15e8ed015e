"""Features of observations, the network inputs: the observation with relative terms, normalised.

The same functions are used in training (torch tensors) and inference (numpy arrays), so that they cannot diverge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.errors import ConfigError
from reskill_core.models.config import FeatureConfig
from reskill_core.spec import ObsSpec

_STATISTICS_CHUNK = 65536


def raw_features(xp: Any, observation: Any, expand: Any, same_pair: Any, softening_m: float) -> Any:
    """Append offsets and directions to observations, before normalisation.

    Args:
        xp: ``numpy`` or ``torch``, matching the arrays.
        observation: (..., O).
        expand: (O, O + 3P) identity and, per pair, +1 and -1 at its two terms: exact copies and differences.
        same_pair: (3P, 3P) ones between entries of the same pair, to sum squares within a pair.
        softening_m: see :class:`FeatureConfig`.

    Returns:
        (..., F = O + 6P): observation, offsets [m], directions.
    """
    expanded = observation @ expand
    offset = expanded[..., expand.shape[0] :]
    direction = offset / xp.sqrt((offset * offset) @ same_pair + softening_m**2)
    return xp.concatenate((expanded, direction), axis=-1)


def normalised_features(xp: Any, raw: Any, mean: Any, inverse_std: Any, limit: float) -> Any:
    """Normalise raw features (..., F) to zero mean and unit variance over the training data, and clip them."""
    return xp.clip((raw - mean) * inverse_std, -limit, limit)


@dataclass(frozen=True)
class FeatureMap:
    """Map from observations to normalised features, in numpy; also holds the constants for torch.

    Attributes:
        expand: (O, O + 3P), see :func:`raw_features`.
        same_pair: (3P, 3P), see :func:`raw_features`.
        mean: (F,) mean of the raw features over the training data.
        std: (F,) their standard deviation, at least ``std_floor``.
        inverse_std: (F,) its inverse.
        softening_m: see :class:`FeatureConfig`.
        limit: see :class:`FeatureConfig`.
    """

    expand: Float32Array
    same_pair: Float32Array
    mean: Float32Array
    std: Float32Array
    inverse_std: Float32Array
    softening_m: float
    limit: float

    @classmethod
    def fit(cls, config: FeatureConfig, obs: ObsSpec, observations: Float32Array) -> FeatureMap:
        """Compute mean and standard deviation from training observations.

        Args:
            config: configuration of the features.
            obs: layout of the observations.
            observations: (N, O) all steps of the training split.

        Raises:
            ConfigError: the configuration names terms that the observation lacks.
        """
        count = obs.dim + 6 * len(config.relative)
        unit = cls._build(config, obs, np.zeros(count), np.ones(count))
        total, total_square = np.zeros(count), np.zeros(count)
        # Moments about the first sample, because a plain sum of squares loses precision for positions far from 0.
        origin = unit._raw(observations[:1]).astype(np.float64)
        for start in range(0, len(observations), _STATISTICS_CHUNK):
            shifted = unit._raw(observations[start : start + _STATISTICS_CHUNK]) - origin
            total += shifted.sum(axis=0)
            total_square += np.square(shifted).sum(axis=0)
        mean = total / len(observations)
        variance = np.maximum(total_square / len(observations) - mean**2, 0.0)
        return cls._build(config, obs, mean + origin[0], np.maximum(np.sqrt(variance), config.std_floor))

    @classmethod
    def from_document(cls, config: FeatureConfig, obs: ObsSpec, document: Mapping[str, Any]) -> FeatureMap:
        """Rebuild from the document of :meth:`to_document`."""
        return cls._build(config, obs, np.array(document["mean"]), np.array(document["std"]))

    def to_document(self) -> dict[str, list[float]]:
        """Return mean and standard deviation for the checkpoint; float32 values are exact in JSON."""
        return {"mean": [float(x) for x in self.mean], "std": [float(x) for x in self.std]}

    @classmethod
    def _build(
        cls, config: FeatureConfig, obs: ObsSpec, mean: NDArray[np.float64], std: NDArray[np.float64]
    ) -> FeatureMap:
        faults = config.spec_violations(obs)
        if faults:
            raise ConfigError("features do not fit the task:\n" + "\n".join(f"  - {fault}" for fault in faults))
        pairs = len(config.relative)
        expand = np.eye(obs.dim, obs.dim + 3 * pairs, dtype=np.float32)
        for index, (target, origin) in enumerate(config.relative):
            columns = slice(obs.dim + 3 * index, obs.dim + 3 * (index + 1))
            expand[obs.slice(target), columns] += np.eye(3, dtype=np.float32)
            expand[obs.slice(origin), columns] -= np.eye(3, dtype=np.float32)
        same_pair = np.kron(np.eye(pairs), np.ones((3, 3))).astype(np.float32)
        mean32, std32 = mean.astype(np.float32), std.astype(np.float32)
        return cls(expand, same_pair, mean32, std32, np.reciprocal(std32), config.direction_softening_m, config.limit)

    @property
    def obs_dim(self) -> int:
        """Length O of an observation."""
        return self.expand.shape[0]

    @property
    def dim(self) -> int:
        """Length F of the feature vector."""
        return self.mean.shape[0]

    def _raw(self, observation: Float32Array) -> Float32Array:
        return raw_features(np, observation, self.expand, self.same_pair, self.softening_m)

    def __call__(self, observation: Float32Array) -> Float32Array:
        """Compute normalised features (..., F) of float32 observations (..., O)."""
        return normalised_features(np, self._raw(observation), self.mean, self.inverse_std, self.limit)

"""Ticks of the control loop: an observation with its stamp, episode and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EpisodeStep:
    """Episode and step of a stamp; the seed is -1 if there is none."""

    episode_id: int = 0
    seed: int = -1
    step: int = 0


@dataclass(frozen=True)
class Tick:
    """Tick of the control loop: one observation.

    Attributes:
        stamp_ns: stamp [ns].
        values: (1, O) vector of the observation.
        episode: episode and step.
        images: newest frame (H, W, C) of each image, by name.
    """

    stamp_ns: int
    values: NDArray[np.float64]
    episode: EpisodeStep
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

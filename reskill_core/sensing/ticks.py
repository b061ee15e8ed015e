"""Ticks of the control loop: one observation each, its time, and its place in the episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EpisodeStep:
    """Which step of which episode a stamp belongs to; seed -1 where there is none."""

    episode_id: int = 0
    seed: int = -1
    step: int = 0


@dataclass(frozen=True)
class Tick:
    """One observation.

    Attributes:
        stamp_ns: its stamp [ns].
        values: (1, O) its vector.
        episode: its place in the episode.
        images: newest frame (H, W, C) of each of its images, by name.
    """

    stamp_ns: int
    values: NDArray[np.float64]
    episode: EpisodeStep
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

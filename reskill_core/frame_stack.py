"""The newest frames of a camera, stacked as an image feature of an observation says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SpecError
from reskill_core.spec import ImageFeature

Places = Sequence[int] | NDArray[np.int64]


class FrameStack:
    """The last frames of one image feature in N places, oldest first; an episode starts with its first frame in all.

    Attributes:
        feature: the feature.
        images: (N, stack, H, W, C) uint8, what is observed now; overwritten by what comes next.
    """

    def __init__(self, feature: ImageFeature, num_places: int) -> None:
        """Start black."""
        self.feature = feature
        self.images: NDArray[np.uint8] = np.zeros((num_places, *feature.shape), np.uint8)

    def reset(self, frames: NDArray[np.uint8], places: Places | None = None) -> None:
        """Start episodes with these frames (n, H, W, C), one for each place; everywhere by default.

        Raises:
            SpecError: they have another shape or type.
        """
        rows = self._rows(places)
        self.images[rows] = self._checked(frames, rows)[:, None]

    def push(self, frames: NDArray[np.uint8], places: Places | None = None) -> None:
        """Add the frames (n, H, W, C) of the next control step.

        Raises:
            SpecError: they have another shape or type.
        """
        rows = self._rows(places)
        checked = self._checked(frames, rows)
        self.images[rows, :-1] = self.images[rows, 1:]
        self.images[rows, -1] = checked

    def _rows(self, places: Places | None) -> NDArray[np.int64]:
        return np.arange(len(self.images)) if places is None else np.asarray(places, np.int64)

    def _checked(self, frames: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        shape = (len(rows), *self.feature.frame_shape)
        if frames.shape != shape or frames.dtype != np.uint8:
            raise SpecError(f"image {self.feature.name!r} must be uint8{shape}, got {frames.dtype}{frames.shape}")
        return frames

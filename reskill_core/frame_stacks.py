"""Frame stacks of image observations, by control step or by stamp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reskill_core.environment import Places
from reskill_core.errors import SpecError
from reskill_core.spec import ImageFeature

# Frames kept in addition to a stack, because responses to observations may be a few frames late.
_SPARE = 10


class SteppedFrames:
    """Frame stacks of one image feature in N environments that are stepped together.

    The oldest frame comes first; an episode starts with copies of its first frame.

    Attributes:
        feature: the feature.
        images: (N, stack, H, W, C) uint8, the current stacks; updated in place.
    """

    def __init__(self, feature: ImageFeature, num_places: int) -> None:
        """Start with black frames."""
        self.feature = feature
        self.images: NDArray[np.uint8] = np.zeros((num_places, *feature.shape), np.uint8)

    def reset(self, frames: NDArray[np.uint8], places: Places | None = None) -> None:
        """Start episodes with these frames (n, H, W, C), one per place; by default in all places.

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


class StampedFrames:
    """Buffer of the newest frames of each image feature, which stacks the frames up to a stamp."""

    def __init__(self, features: Sequence[ImageFeature]) -> None:
        """Start without frames.

        Args:
            features: image features of an observation.
        """
        self._features = tuple(features)
        self._frames: dict[str, dict[int, NDArray[np.uint8]]] = {}
        self.forget()

    def forget(self) -> None:
        """Discard all frames."""
        self._frames = {feature.name: {} for feature in self._features}

    def add(self, name: str, stamp_ns: int, frame: NDArray[np.uint8]) -> None:
        """Add a frame (H, W, C) of an image feature with its stamp [ns]; it replaces one with the same stamp."""
        frames = self._frames[name]
        frames[stamp_ns] = frame
        stack = next(feature.stack for feature in self._features if feature.name == name)
        for old in sorted(frames)[: -(stack + _SPARE)]:
            del frames[old]

    def has(self, stamp_ns: int) -> bool:
        """Whether there is a frame of every image feature with this stamp [ns]."""
        return all(stamp_ns in frames for frames in self._frames.values())

    def stacked(self, stamp_ns: int, start_ns: int) -> dict[str, NDArray[np.uint8]]:
        """Return the frame stacks (1, stack, H, W, C) of one observation, by image feature.

        Args:
            stamp_ns: stamp of the observation [ns], with which there must be a frame of every feature.
            start_ns: stamp of the first observation of its episode [ns], whose frames pad the stacks.
        """
        images = {}
        for feature in self._features:
            frames = self._frames[feature.name]
            stamps = [stamp for stamp in sorted(frames) if start_ns <= stamp <= stamp_ns][-feature.stack :]
            missing = [stamps[0]] * (feature.stack - len(stamps))
            images[feature.name] = np.stack([frames[stamp] for stamp in (*missing, *stamps)])[None]
        return images

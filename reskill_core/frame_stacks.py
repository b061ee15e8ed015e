"""The images of observations from single frames, each with the time it was taken at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reskill_core.spec import ImageFeature

# Frames kept beside those of a stack: an observation may be answered a few frames late.
_SPARE = 10


class FrameStacks:
    """Keeps the newest frames of each image and stacks those up to a time, as observations hold them."""

    def __init__(self, features: Sequence[ImageFeature]) -> None:
        """Start without any frame.

        Args:
            features: the images of an observation.
        """
        self._features = tuple(features)
        self._frames: dict[str, dict[int, NDArray[np.uint8]]] = {}
        self.forget()

    def forget(self) -> None:
        """Drop all frames."""
        self._frames = {feature.name: {} for feature in self._features}

    def add(self, name: str, stamp_ns: int, frame: NDArray[np.uint8]) -> None:
        """Take a frame (H, W, C) of an image, taken at a time [ns]; one that is there already is replaced."""
        frames = self._frames[name]
        frames[stamp_ns] = frame
        stack = next(feature.stack for feature in self._features if feature.name == name)
        for old in sorted(frames)[: -(stack + _SPARE)]:
            del frames[old]

    def has(self, stamp_ns: int) -> bool:
        """Whether there is a frame of every image of that time [ns]."""
        return all(stamp_ns in frames for frames in self._frames.values())

    def stacked(self, stamp_ns: int, start_ns: int) -> dict[str, NDArray[np.uint8]]:
        """The images (1, stack, H, W, C) of one observation, by name.

        Args:
            stamp_ns: its time [ns], of which there must be a frame of every image.
            start_ns: time of the first observation of its episode [ns]; the frame of it stands for those before.
        """
        images = {}
        for feature in self._features:
            frames = self._frames[feature.name]
            stamps = [stamp for stamp in sorted(frames) if start_ns <= stamp <= stamp_ns][-feature.stack :]
            missing = [stamps[0]] * (feature.stack - len(stamps))
            images[feature.name] = np.stack([frames[stamp] for stamp in (*missing, *stamps)])[None]
        return images

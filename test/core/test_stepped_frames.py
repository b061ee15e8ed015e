"""Stacks of camera frames: oldest first, each place by itself, the first frame in all at the start."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reskill_core.errors import SpecError
from reskill_core.frame_stacks import SteppedFrames
from reskill_core.spec import ImageFeature

CAMERA = ImageFeature("camera", height=1, width=2, channels=1, stack=3)


def frames(*values: int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(values, np.uint8)[:, None, None, None], (len(values), 1, 2, 1))


def shown(stack: SteppedFrames) -> list[list[int]]:
    assert (stack.images[..., 0, 0, 0] == stack.images[..., 0, 1, 0]).all()
    return stack.images[:, :, 0, 0, 0].tolist()


def test_the_newest_frame_comes_last_and_the_first_stands_in_for_those_before() -> None:
    stack = SteppedFrames(CAMERA, 2)
    stack.reset(frames(1, 5))
    assert shown(stack) == [[1, 1, 1], [5, 5, 5]]
    stack.push(frames(2, 6))
    stack.push(frames(3, 7))
    assert shown(stack) == [[1, 2, 3], [5, 6, 7]]
    stack.push(frames(4, 8))
    assert shown(stack) == [[2, 3, 4], [6, 7, 8]]


def test_places_have_stacks_of_their_own() -> None:
    stack = SteppedFrames(CAMERA, 3)
    stack.reset(frames(1, 2, 3))
    stack.push(frames(9, 7), [2, 0])
    assert shown(stack) == [[1, 1, 7], [2, 2, 2], [3, 3, 9]]
    stack.reset(frames(4), [0])
    assert shown(stack) == [[4, 4, 4], [2, 2, 2], [3, 3, 9]]


def test_a_stack_of_one_is_the_newest_frame() -> None:
    stack = SteppedFrames(ImageFeature("camera", 1, 2, 1), 1)
    stack.reset(frames(1))
    stack.push(frames(2))
    assert shown(stack) == [[2]]


def test_frames_must_fit_the_feature() -> None:
    stack = SteppedFrames(CAMERA, 2)
    with pytest.raises(SpecError, match=r"image 'camera' must be uint8\(2, 1, 2, 1\), got uint8\(1, 1, 2, 1\)"):
        stack.push(frames(1))
    with pytest.raises(SpecError, match="got float64"):
        stack.reset(frames(1, 2).astype(np.float64))

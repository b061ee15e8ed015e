"""Images of observations from single frames."""

from __future__ import annotations

import numpy as np

from reskill_core.frame_stacks import StampedFrames
from reskill_core.spec import ImageFeature

FEATURE = ImageFeature("view", 2, 3, 3, stack=3)


def frame(value: int) -> np.ndarray:
    return np.full(FEATURE.frame_shape, value, np.uint8)


def values(stacks: StampedFrames, stamp_ns: int, start_ns: int) -> list[int]:
    (stack,) = stacks.stacked(stamp_ns, start_ns)["view"]
    assert stack.shape == FEATURE.shape
    return [int(item.flat[0]) for item in stack]


def test_the_first_frame_of_an_episode_stands_for_those_before_it() -> None:
    stacks = StampedFrames((FEATURE,))
    for stamp_ns in (10, 20, 30, 40, 50):
        stacks.add("view", stamp_ns, frame(stamp_ns))
    assert values(stacks, 50, 10) == [30, 40, 50]
    assert values(stacks, 30, 20) == [20, 20, 30], "later frames, and those of the episode before, are no part of it"
    assert values(stacks, 30, 30) == [30, 30, 30]
    assert stacks.has(50)
    assert not stacks.has(60)
    stacks.forget()
    assert not stacks.has(50)


def test_old_frames_are_dropped() -> None:
    stacks = StampedFrames((FEATURE,))
    for stamp_ns in range(1000):
        stacks.add("view", stamp_ns, frame(stamp_ns % 256))
    assert stacks.has(999 - 12)
    assert not stacks.has(999 - 13)

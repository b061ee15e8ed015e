"""Episodes with images are assembled once: messages that are late must not wait for it, and count as late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reskill_core.data.compressed_frames import CompressedFrames, compress_block
from reskill_core.spec import ImageFeature, ObsSpec, TaskSpec, frame_term
from reskill_ros.plumbing.topics import observed_image
from reskill_ros.recording import episode_assembler
from reskill_ros.recording.episode_assembler import Demonstrated, EpisodeAssembler, State

CAMERA = ImageFeature("camera", 4, 6, 3)
TASK = TaskSpec("seeing", ObsSpec(("gripper",), (), (frame_term("place", "position", "gripper"),), images=(CAMERA,)))
IMAGE = observed_image("camera")
STEPS = 5


def frame(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 256, CAMERA.frame_shape, np.uint8)


def play(assembler: EpisodeAssembler, step: int, *left_out: str) -> None:
    """Everything of one step, but for some topics."""
    state = State(1, 7, step, 0.5, False, False, step == STEPS, True, np.array([float(step)]))
    values: dict[str, Any] = {
        "observation": np.full(3, step, np.float32),
        "skill_action": Demonstrated(np.zeros(4, np.float32), "somebody", 0.0),
        "executed_action": np.zeros(4, np.float32),
        "episode": state,
        IMAGE: compress_block(frame(step)[None]),
    }
    for topic, value in values.items():
        if topic not in left_out:
            assembler.add(topic, 10 * (step + 1), value, now_s=float(step))


def test_an_episode_is_put_together_once_everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    build = episode_assembler._compressed

    def counted(rows: Sequence[dict[str, Any]], topic: str, feature: ImageFeature) -> CompressedFrames:
        built.append(len(rows))
        return build(rows, topic, feature)

    monkeypatch.setattr(episode_assembler, "_compressed", counted)
    assembler = EpisodeAssembler(TASK, driver_episodes=True, patience_s=2.0)
    assembler.start()
    for step in range(STEPS):
        play(assembler, step)
    play(assembler, STEPS, IMAGE)
    for _ in range(3):
        assert assembler.finished(STEPS + 1.9) == []
    assert built == [], "nothing is compressed for an episode that is not whole"
    play(assembler, STEPS)
    [assembled] = assembler.finished(STEPS + 9.0)
    assert (assembled.missing, assembled.steps, built) == ({}, STEPS, [STEPS + 1])
    assert assembled.episode is not None
    np.testing.assert_array_equal(
        assembled.episode.images["camera"].array(), np.stack([frame(step) for step in range(STEPS + 1)])
    )


def test_an_image_that_does_not_come_is_waited_for_and_named() -> None:
    assembler = EpisodeAssembler(replace(TASK, horizon=STEPS), driver_episodes=True, patience_s=2.0)
    assembler.start()
    for step in range(STEPS + 1):
        play(assembler, step, *([IMAGE] if step == 3 else []))
    assert assembler.finished(STEPS + 1.9) == []
    [assembled] = assembler.finished(STEPS + 2.1)
    assert assembled.missing == {IMAGE: 1}
    assert assembled.episode is not None
    # The third step's outcome would be in the image that is missing.
    assert assembled.episode.num_steps == 2

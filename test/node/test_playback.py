"""Playback of a recorded episode: when it begins, what it commands, and what it reports."""

from __future__ import annotations

import numpy as np
import pytest
from recorder_bench import TASK, episode

from reskill_core.spec import JOINT_POSITION, ActionComponent, ActionSpec, TaskSpec
from reskill_ros.recording.episode_playback import EpisodePlayback


def test_it_stands_still_until_commands_pass_and_after_the_end() -> None:
    shown = episode(1, steps=3)
    playback = EpisodePlayback(shown, TASK, waits=True)
    playback.reset([0])
    first = shown.observation[:1].astype(np.float64)
    for _ in range(3):
        assert not playback.act(first).action.any()
    assert playback.steps == 0
    playback.begin()
    for step in range(3):
        answer = playback.act(shown.observation[step : step + 1].astype(np.float64))
        assert answer.action.tobytes() == shown.executed_action[step].tobytes()
        assert answer.decoded_action.tobytes() == shown.action[step].tobytes()
        assert not playback.over
    for _ in range(2):
        assert not playback.act(shown.final_observation[None].astype(np.float64)).action.any()
        assert playback.over
    assert set(playback.end.values()) == {0.0}


def test_deviations_are_distances_of_frames_and_of_joints() -> None:
    """By hand: 3-4-5 for a frame, the larger of two for the fingers; what is measured at the end counts at the end."""
    shown = episode(1, steps=1)
    playback = EpisodePlayback(shown, TASK, waits=False)
    playback.act(shown.observation.astype(np.float64))
    last = shown.final_observation.astype(np.float64)
    last[TASK.obs.slice("block_position")] += [0.03, 0.0, -0.04]
    last[TASK.obs.slice("finger_position")] += [0.01, -0.02]
    playback.act(last[None])
    assert playback.end["block_position"] == pytest.approx(0.05, abs=1e-6)
    assert playback.end["finger_position"] == pytest.approx(0.02, abs=1e-6)
    assert playback.end["gripper_position"] == playback.start["block_position"] == 0.0
    assert "gripper_displacement" not in playback.end


def test_standing_still_is_a_position_where_positions_are_commanded() -> None:
    """Zero would be a position that the joint may be far from."""
    actions = ActionSpec(
        (ActionComponent("a", JOINT_POSITION, "rad", 2.0), *ActionSpec().components[1:]),
    )
    shown = episode(1, steps=2)
    playback = EpisodePlayback(shown, TaskSpec("joints", TASK.obs, actions), waits=True)
    np.testing.assert_array_equal(
        playback.act(shown.observation[:1].astype(np.float64)).action[0], [shown.executed_action[0, 0], 0, 0, 0]
    )
    playback.begin()
    for _ in range(3):
        answer = playback.act(shown.observation[:1].astype(np.float64))
    np.testing.assert_array_equal(answer.action[0], [shown.executed_action[1, 0], 0, 0, 0])

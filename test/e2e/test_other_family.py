"""A family of another distribution runs over ROS as in process: no gripper, wheels, a mast, a light."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from graph_runs import run_graph
from other_family import plane_world  # noqa: F401 - a fixture

from reskill_core.data import DemoDataset
from reskill_sim.families import get_task

if TYPE_CHECKING:
    from reskill_core.data import Episode

SEEDS = (5, 6)


@pytest.mark.usefixtures("plane_world")
def test_joints_and_raw_commands_in_lockstep_equal_those_in_process(tmp_path: Path) -> None:
    """Velocities, positions and numbers that only the environment understands, in one array with a stamp."""
    given = {"task": "plane_roll", "seed": SEEDS[0], "episodes": len(SEEDS), "keep_failures": "true"}
    run_graph("collect", tmp_path, **given, dataset=tmp_path / "data")
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.seed.tolist() == list(SEEDS)
    for index, seed in enumerate(SEEDS):
        require_equal(dataset.episode(index), seed)


def require_equal(recorded: Episode, seed: int) -> None:
    task = get_task("plane_roll")
    environment, policy = task.make_env(), task.family.make_demonstrator("plane_roll")
    observation = environment.reset([seed])
    policy.reset([seed])
    for step in range(recorded.num_steps):
        assert recorded.sim_state[step].tobytes() == environment.state()[0].tobytes()
        np.testing.assert_array_equal(recorded.observation[step], observation[0].astype(np.float32))
        action = policy.act(observation)
        np.testing.assert_array_equal(recorded.executed_action[step], action.action[0])
        result = environment.step(action.action)
        observation = result.observation
    assert result.done[0]
    assert recorded.source == "steering"

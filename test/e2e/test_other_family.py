"""A family of another distribution runs over ROS as in process: pictures, two directions, wheels, and no gripper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from graph_runs import run_graph
from other_family import plane_world  # noqa: F401 - a fixture

from reskill_core.data import DemoDataset
from reskill_core.spec import images_of, vector_of
from reskill_sim.families import get_task

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_sim.engine.task import Task

SEEDS = (5, 6)


@pytest.mark.usefixtures("plane_world")
@pytest.mark.parametrize(("task", "settings"), [("plane_roll", "{goal: [0.5, -0.25]}"), ("plane_reach", "")])
def test_episodes_over_ros_in_lockstep_equal_those_in_process(task: str, settings: str, tmp_path: Path) -> None:
    """Wheels, a mast and a light by one array with a stamp; a point by a twist, looking at pictures."""
    given = {"task": task, "seed": SEEDS[0], "episodes": len(SEEDS), "keep_failures": "true"}
    run_graph("collect", tmp_path, **given, dataset=tmp_path / "data", task_settings=settings)
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.seed.tolist() == list(SEEDS)
    [world] = dataset.worlds
    assert world.settings == {"reached_m": 0.1, "goal": [0.5, -0.25] if settings else None}
    for index, seed in enumerate(SEEDS):
        require_equal(dataset.episode(index), get_task(task, settings=world.settings), seed)


def require_equal(recorded: Episode, task: Task, seed: int) -> None:
    environment, policy = task.make_env(), task.family.make_demonstrator(task.spec.name)
    observation = environment.reset([seed])
    policy.reset([seed])
    frames = {image: frames.array() for image, frames in recorded.images.items()}
    assert frames.keys() == images_of(observation).keys()
    for step in range(recorded.num_steps + 1):
        for image, stack in images_of(observation).items():
            np.testing.assert_array_equal(frames[image][step], stack[0, -1])
        if step == recorded.num_steps:
            break
        assert recorded.sim_state[step].tobytes() == environment.state()[0].tobytes()
        np.testing.assert_array_equal(recorded.observation[step], vector_of(observation)[0].astype(np.float32))
        action = policy.act(observation)
        np.testing.assert_array_equal(recorded.executed_action[step], action.action[0])
        result = environment.step(action.action)
        observation = result.observation
    assert result.done[0]
    assert recorded.source == "steering"

"""What the tasks pay for, in the simulator and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reskill_core.observation import SensorFrame
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.task import EpisodeStart, SimulatedTask, Situation
from reskill_sim.fetch.tasks import TASKS, get_task
from reskill_sim.fetch.tasks.base import upright_pose
from reskill_sim.fetch.tasks.clean_up import TRAY_CENTRE_W, TRAY_FLOOR_M

OPEN, CLOSED = 0.05, 0.025
BLOCK_HALF = 0.025


def frame(task: SimulatedTask, finger: float = OPEN, **positions: list[float]) -> SensorFrame:
    names = task.spec.obs.frames
    pos = np.array([[positions[name] for name in names]])
    quat = np.tile([1.0, 0.0, 0.0, 0.0], (1, len(names), 1))
    return SensorFrame(np.full((1, 2), finger), pos, quat)


def judge(task: SimulatedTask, now: SensorFrame, before: SensorFrame | None = None) -> tuple[bool, float]:
    situation = Situation(task.spec.obs.frames, now, now if before is None else before, np.ones(1))
    success = task.success(situation)
    return bool(success[0]), float(task.reward(situation, success)[0])


def test_slippery_push_pays_for_the_block_at_the_goal_in_the_plane() -> None:
    task = get_task("slippery_push")
    goal = [1.3162, 0.7075, 0.4245]
    assert judge(task, frame(task, gripper=[1, 1, 1], block=[1.34, 0.72, 0.44], goal=goal)) == (True, 1.0)
    assert judge(task, frame(task, gripper=[1, 1, 1], block=[1.35, 0.7075, 0.4245], goal=goal)) == (False, 0.0)


def test_clean_up_pays_for_a_block_left_in_the_tray_and_a_gripper_far_away() -> None:
    task = get_task("clean_up")
    block, goal = [*TRAY_CENTRE_W, TRAY_FLOOR_M + BLOCK_HALF], [1.4162, 1.0749, 0.4245]
    up = frame(task, gripper=[1.4, 1.06, 0.52], block=block, goal=goal)
    assert judge(task, up) == (True, 1.0)
    success, reward = judge(task, frame(task, gripper=[1.4, 1.06, 0.45], block=block, goal=goal))
    assert success
    assert reward == pytest.approx(np.exp(-0.5))
    holding = frame(task, CLOSED, gripper=[1.4, 1.06, 0.45], block=block, goal=goal)
    assert judge(task, holding) == (False, 0.0)
    before = frame(task, gripper=[1.4, 1.06, 0.52], block=[block[0] - 0.01, *block[1:]], goal=goal)
    assert judge(task, up, before) == (False, 0.0)
    beside = frame(task, gripper=[1.4, 1.06, 0.52], block=[1.2, 1.06, 0.425], goal=goal)
    assert judge(task, beside) == (False, 0.0)


def test_pyramid_stack_pays_for_a_stack_and_not_for_holding_one() -> None:
    task = get_task("pyramid_stack")
    large, block = [1.3, 0.7, 0.435], [1.31, 0.71, 0.495]
    assert judge(task, frame(task, gripper=[1.3, 0.7, 0.6], block=block, goal=large)) == (True, 1.0)
    assert judge(task, frame(task, CLOSED, gripper=block, block=block, goal=large)) == (False, 0.0)
    off_centre = [1.3, 0.745, 0.495]
    assert judge(task, frame(task, gripper=[1.3, 0.7, 0.6], block=off_centre, goal=large)) == (False, 0.0)
    floating = [1.31, 0.71, 0.51]
    assert judge(task, frame(task, gripper=[1.3, 0.7, 0.6], block=floating, goal=large)) == (False, 0.0)


def placed(simulator: Simulator, poses: list[list[float]], steps: int = 12) -> tuple[bool, float]:
    """Let objects come to rest where they were put, the gripper standing still."""
    start = EpisodeStart(np.array(poses), np.array(poses[-1][:3]))
    simulator.set_state(simulator.initial_rows([start], [0]))
    for _ in range(steps):
        result = simulator.step(np.zeros((1, simulator.task.spec.action.dim)))
    return bool(result.success[0]), float(result.reward[0])


def test_a_block_put_into_the_tray_counts_as_resting_there() -> None:
    simulator = Simulator(get_task("clean_up"))
    pose = upright_pose(np.array(TRAY_CENTRE_W), TRAY_FLOOR_M + BLOCK_HALF + 0.002).tolist()
    assert placed(simulator, [pose]) == (True, 1.0)


def test_a_real_stack_counts_and_blocks_side_by_side_do_not() -> None:
    simulator = Simulator(get_task("pyramid_stack"))
    large = upright_pose(np.array([1.2, 0.6]), 0.435).tolist()
    on_top = upright_pose(np.array([1.21, 0.61]), 0.497).tolist()
    assert placed(simulator, [on_top, large]) == (True, 1.0)
    beside = upright_pose(np.array([1.2, 0.67]), 0.425).tolist()
    assert placed(simulator, [beside, large]) == (False, 0.0)


@pytest.mark.parametrize("name", TASKS)
def test_nothing_starts_inside_anything_else(name: str) -> None:
    task = get_task(name)
    simulator = Simulator(task, 50)
    before = simulator.reset(range(50))
    after = simulator.step(np.zeros((50, task.spec.action.dim))).observation
    column = task.spec.obs.slice(f"{task.spec.obs.objects[0]}_position")
    # What overlaps is thrown apart in the first step; what stands settles by fractions of a millimetre.
    assert np.abs(after[:, column] - before[:, column]).max() < 1e-3


def test_slippery_push_keeps_the_fingers_closed() -> None:
    simulator = Simulator(get_task("slippery_push"))
    fingers = get_task("slippery_push").spec.obs.slice("finger_position")
    for _ in range(5):
        observation = simulator.step(np.array([[0.0, 0.0, 0.0, 1.0]])).observation
    assert not observation[0, fingers].any()


def test_tasks_that_pay_by_the_step_go_on_to_the_horizon() -> None:
    simulator = Simulator(get_task("clean_up"))
    pose = upright_pose(np.array(TRAY_CENTRE_W), TRAY_FLOOR_M + BLOCK_HALF)
    simulator.set_state(simulator.initial_rows([EpisodeStart(pose[None], pose[:3])], [0]))
    results = [simulator.step(np.zeros((1, 4))) for _ in range(50)]
    assert not any(result.terminated[0] for result in results)
    assert [bool(result.truncated[0]) for result in results] == [False] * 49 + [True]
    assert sum(float(result.reward[0]) for result in results) > 45

"""The simulator against the installed Fetch environment, and its invariants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium_robotics
import mujoco
import numpy as np
import pytest

from reskill_core.errors import ConfigError, SimulationError, SpecError
from reskill_core.frames import RigidTransform
from reskill_core.rotations import matrix_from_quat
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.stock_version import stock_fault
from reskill_sim.engine.task import EpisodeStart
from reskill_sim.fetch import constants
from reskill_sim.fetch.demonstrators import make_demonstrator
from reskill_sim.fetch.kinematics import GripperKinematics
from reskill_sim.fetch.model import _as_if_finer, build_model, start_state
from reskill_sim.fetch.profiles import PROFILES
from reskill_sim.fetch.scene import Scene, Table
from reskill_sim.fetch.tasks import TASKS, get_task
from reskill_sim.fetch.tasks.block import BlockTask

STEPS = 12


def random_actions(task: str, steps: int, num_envs: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (steps, num_envs, get_task(task).spec.action.dim)).astype(np.float32)


class StockBlockTask(BlockTask):
    """The block task on the table of the stock environments, which do not end when it is solved."""

    hold_steps = None

    def __init__(self, gripper_closed: bool) -> None:
        super().__init__()
        self.spec = replace(self.spec, gripper_closed=gripper_closed)
        table = Table((1.3, 0.75), (0.25, 0.35))
        self.scenes = (Scene(table, self.scenes[0].objects),)


@pytest.mark.parametrize("every", [2, 4])
def test_a_constraint_acts_in_a_coarser_step_as_in_several_stock_ones(every: int) -> None:
    solref, impedance = np.array([[0.02, 1.0], [0.01, 1.2]]), np.array([[0.9, 0.95], [0.8, 0.9]])
    coarse, stiffer = _as_if_finer(solref, impedance, every)

    def coefficients(solref: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        time_constant, ratio = solref.T
        return 2.0 / time_constant, 1.0 / (time_constant * ratio) ** 2

    damping, stiffness = coefficients(solref)
    residual, velocity, path = np.ones(2), np.array([3.0, -20.0]), []
    for _ in range(6 * every):
        path.append(residual)
        velocity = velocity - 0.002 * (damping * velocity + stiffness * residual)
        residual = residual + 0.002 * velocity
    coarse_damping, coarse_stiffness = coefficients(coarse)
    now, then, later = (np.array(path[start * every :: every][:4]) for start in range(3))
    step_s = 0.002 * every
    pulled_back = step_s * coarse_damping * (then - now) + step_s**2 * coarse_stiffness * then
    np.testing.assert_allclose(later, then + (then - now) - pulled_back, atol=1e-12)
    # What gives way to a steady load by a millimetre does so at coarse steps.
    yields, coarsely = ((1.0 - d) / k[:, None] for d, k in ((impedance, stiffness), (stiffer, coarse_stiffness)))
    np.testing.assert_allclose(coarsely, yields, rtol=1e-12)


@pytest.mark.parametrize("gripper_closed", [False, True])
def test_the_gripper_gets_as_far_at_coarser_steps(gripper_closed: bool) -> None:
    action = np.array([[0.5, -0.2, 0.3, 0.0]])

    def moved(profile: str) -> float:
        task = StockBlockTask(gripper_closed)
        simulator = Simulator(task, 1, profile)
        gripper = task.spec.obs.slice("gripper_position")
        places = [simulator.reset([0])[0, gripper]]
        places += [simulator.step(action).observation[0, gripper] for _ in range(8)]
        return float(np.linalg.norm(places[8] - places[2]))

    exact = moved("exact")
    assert moved("fast") == pytest.approx(exact, rel=0.0075)
    assert moved("turbo") == pytest.approx(exact, rel=0.015)


def stock_row(simulator: Simulator, stock: Any, goal: np.ndarray) -> np.ndarray:
    """State of our simulator that is that of the stock environment just after its reset."""
    row = simulator.initial_rows([EpisodeStart(stock.data.joint("object0:joint").qpos[None], goal)], [0])[0]
    data = mujoco.MjData(simulator.model)
    data.qpos[:], data.qvel[:] = stock.data.qpos, stock.data.qvel
    mujoco.mj_forward(simulator.model, data)
    layout = simulator.layout
    row[layout.qpos], row[layout.qvel], row[layout.sensors] = data.qpos, data.qvel, data.sensordata
    row[layout.history] = simulator.readings(row[None])[0]
    return row


# Random actions by seed, or the demonstrator's with noise.
@pytest.mark.skipif(bool(stock_fault()), reason=stock_fault())
@pytest.mark.parametrize("scripted", [True, False])
@pytest.mark.parametrize(
    ("env_id", "kind", "closed"), [("FetchPickAndPlace-v4", "pick_and_place", False), ("FetchPush-v4", "push", True)]
)
def test_equals_the_installed_fetch_environments(env_id: str, kind: str, closed: bool, scripted: bool) -> None:
    gymnasium.register_envs(gymnasium_robotics)
    stocks: list[Any] = [gymnasium.make(env_id).unwrapped for _ in range(2)]
    cold = stocks[1]
    simulator = Simulator(StockBlockTask(closed))
    spec = simulator.task.spec.obs
    block = spec.frames.index("block")
    demonstrator = make_demonstrator("block", kind)
    gaps, velocity_gaps = np.zeros((2, 40)), []
    for seed in range(40):
        goals = [stock.reset(seed=seed)[0]["desired_goal"] for stock in stocks]
        simulator.set_state(stock_row(simulator, cold, goals[1])[None])
        demonstrator.reset([seed])
        rng = np.random.default_rng(seed)
        ours = simulator.observation()
        for _ in range(50):
            action = demonstrator.act(ours).action if scripted else rng.uniform(-1, 1, (1, 4)).astype(np.float32)
            # Where the solver starts from is no part of a state that can be restored.
            cold.data.qacc_warmstart[:] = 0.0
            observed = [stock.step(action[0].astype(np.float64))[0]["observation"] for stock in stocks]
            ours = simulator.step(action).observation
            turned = matrix_from_quat(simulator.frame.frame_quat_wxyz[0, block])
            for number, (stock, theirs) in enumerate(zip(stocks, observed, strict=True)):
                compared = (
                    (ours[0, spec.slice("gripper_position")], theirs[:3]),
                    (ours[0, spec.slice("block_position")], theirs[3:6]),
                    (ours[0, spec.slice("finger_position")], theirs[9:11]),
                    (turned, stock.data.site("object0").xmat.reshape(3, 3)),
                )
                gap = max(np.abs(mine - their).max() for mine, their in compared)
                gaps[number, seed] = max(gaps[number, seed], gap)
            velocity_gaps.append(ours[0, spec.slice("gripper_displacement")] - observed[0][20:23])
    warm, cold_gaps = gaps
    assert cold_gaps.max() < 1e-12
    # Left to itself, their solver starts each control step from the last one's solution, which is worth 1e-13 a step; a
    # block that falls or tumbles may multiply that, in one episode in forty.
    assert np.sort(warm)[:-1].max() < 1e-9
    assert warm.max() < 1e-6
    # Theirs is the velocity at the end of the control step times its duration, ours the distance moved in it: the
    # same but for the acceleration within the step.
    assert np.sqrt(np.mean(np.square(velocity_gaps))) < 0.006
    assert np.abs(velocity_gaps).max() < 0.03


@pytest.mark.parametrize("name", TASKS)
def test_observation_matches_its_specification(name: str) -> None:
    task = get_task(name)
    simulator = Simulator(task, 3)
    observation = simulator.reset([1, 2, 3])
    assert observation.shape == (3, task.spec.obs.dim) == (3, 43 if "hook" in name else 25)
    assert np.isfinite(observation).all()
    assert simulator.observation()[0][task.spec.obs.slice("gripper_position")] == pytest.approx(
        constants.START_GRIP_POS_W, abs=1e-3
    )
    displacements = [term.name for term in task.spec.obs.terms if "displacement" in term.kind]
    for term in displacements:
        assert not observation[:, task.spec.obs.slice(term)].any(), term


@pytest.mark.parametrize("name", TASKS)
def test_starting_sensors_are_those_mujoco_computes(name: str) -> None:
    simulator = Simulator(get_task(name))
    simulator.reset([7])
    scene = get_task(name).scene(int(simulator.scene_numbers[0]))
    model = build_model(scene)
    data = mujoco.MjData(model)
    data.qpos[:] = simulator.qpos_of(simulator.state()[0])
    mujoco.mj_forward(model, data)
    index = get_task(name).frame_index("gripper")
    np.testing.assert_allclose(simulator.frame.frame_pos_w[0, index], data.site(constants.GRIP_SITE).xpos, atol=1e-12)
    for item in scene.objects:
        index = get_task(name).frame_index(item.observed_as)
        expected = data.site(f"frame:{item.name}").xpos
        np.testing.assert_allclose(simulator.frame.frame_pos_w[0, index], expected, atol=1e-12)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", TASKS)
def test_results_do_not_depend_on_batch_place_or_threads(name: str, profile: str) -> None:
    task = get_task(name)
    alone, batch, threaded = (
        Simulator(task, num_envs, profile, threads) for num_envs, threads in ((1, 0), (5, 0), (5, 2))
    )
    alone.reset([3])
    batch.reset(range(5))
    threaded.reset([0, 3, 2, 1, 4])
    for actions in random_actions(name, STEPS, 5):
        alone.step(actions[3:4])
        batch.step(actions)
        threaded.step(actions[[0, 3, 2, 1, 4]])
    assert np.array_equal(alone.state()[0], batch.state()[3])
    assert np.array_equal(threaded.state()[1], batch.state()[3])


@pytest.mark.parametrize("name", TASKS)
def test_state_is_restored_exactly(name: str) -> None:
    simulator = Simulator(get_task(name), 2)
    actions = random_actions(name, 2 * STEPS, 2)
    for action in actions[:STEPS]:
        simulator.step(action)
    saved = simulator.state()
    first = [simulator.step(action).observation for action in actions[STEPS:]]
    simulator.reset([8, 9])
    simulator.set_state(saved[::-1], [1, 0])
    again = [simulator.step(action).observation for action in actions[STEPS:]]
    assert np.array_equal(first, again)
    with pytest.raises(SimulationError, match="state has shape"):
        simulator.set_state(saved[:, :-1])


def test_stepping_some_leaves_the_others_alone() -> None:
    simulator = Simulator(get_task("block"), 4)
    before = simulator.state()
    result = simulator.step(random_actions("block", 1, 2)[0], np.array([1, 3]))
    assert result.observation.shape == (2, 25)
    assert np.array_equal(simulator.state([0, 2]), before[[0, 2]])
    assert simulator.step_count.tolist() == [0, 1, 0, 1]


def test_displacement_is_what_the_gripper_moved() -> None:
    simulator = Simulator(get_task("block"))
    spec = get_task("block").spec.obs
    before = simulator.observation()[0]
    after = simulator.step(np.array([[1.0, 0, 0, 0]])).observation[0]
    moved = after[spec.slice("gripper_position")] - before[spec.slice("gripper_position")]
    np.testing.assert_allclose(after[spec.slice("gripper_displacement")], moved, atol=1e-12)
    # Full speed is 5 cm commanded; the arm lags behind in its first step.
    assert 0.025 < moved[0] < 0.05


def test_non_finite_actions_end_one_environment_only() -> None:
    simulator, twin = Simulator(get_task("block"), 3), Simulator(get_task("block"), 3)
    actions = random_actions("block", 1, 3)[0]
    expected = twin.step(actions)
    actions[1, 2] = np.nan
    result = simulator.step(actions)
    assert result.diverged.tolist() == [False, True, False]
    assert result.done.tolist() == [False, True, False]
    assert np.array_equal(result.observation[[0, 2]], expected.observation[[0, 2]])


def test_broken_physics_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    simulator = Simulator(get_task("block"), 2, threads=2)
    rows = simulator.state()
    # A finger at an absurd speed: MuJoCo gives up and silently starts the scene over.
    rows[0, 1 + simulator.model.nq + 13] = 1e12
    simulator.set_state(rows)
    with caplog.at_level("INFO", "mujoco"):
        result = simulator.step(np.zeros((2, 4)))
    assert result.diverged.tolist() == [True, False]
    assert np.isfinite(result.observation).all()
    assert "The simulation is unstable" in caplog.text
    assert not list(tmp_path.iterdir())


def test_success_must_hold_and_time_runs_out() -> None:
    task = get_task("block")
    simulator = Simulator(task, 2)
    start = task.sample_start(np.random.default_rng(0))
    there = EpisodeStart(start.object_poses, start.object_poses[0, :3])
    simulator.set_state(simulator.initial_rows([there, start], [0, 0]))
    assert task.hold_steps is not None
    results = [simulator.step(np.zeros((2, 4))) for _ in range(task.hold_steps)]
    assert [bool(result.terminated[0]) for result in results] == [False] * (task.hold_steps - 1) + [True]
    assert results[0].reward.tolist() == [0.0, -1.0]
    for _ in range(task.spec.horizon - task.hold_steps):
        last = simulator.step(np.zeros((2, 4)))
    assert (bool(last.truncated[1]), bool(last.terminated[1])) == (True, False)


@pytest.mark.parametrize("name", TASKS)
def test_starts_are_seeded_and_apart(name: str) -> None:
    task = get_task(name)
    simulator = Simulator(task, 100)
    first = simulator.reset(range(100))
    assert np.array_equal(first, Simulator(task, 100).reset(range(100)))
    assert len(np.unique(first, axis=0)) == 100
    manipulated = task.spec.obs.objects[0]
    frame = simulator.frame
    gap = frame.frame_pos_w[:, task.frame_index(manipulated)] - frame.frame_pos_w[:, task.frame_index("goal")]
    assert (np.linalg.norm(gap[:, :2], axis=1) >= 0.05).all()


def test_robot_facts_are_those_of_the_model() -> None:
    model = build_model(get_task("block").scene())
    joints = [model.joint(i).name.removeprefix(constants.MODEL_PREFIX) for i in range(model.njnt)]
    assert tuple(name for name in joints if name in constants.JOINT_NAMES) == constants.JOINT_NAMES
    actuators = [model.actuator(i).name.removeprefix(constants.MODEL_PREFIX) for i in range(model.nu)]
    assert tuple(actuators) == constants.FINGER_ACTUATORS
    for finger in constants.FINGER_JOINTS:
        assert model.joint(constants.MODEL_PREFIX + finger).range[1] == constants.FINGER_OPEN_M
    assert model.opt.timestep == constants.TIMESTEP_S
    np.testing.assert_allclose(start_state(model).site(constants.GRIP_SITE).xpos, constants.START_GRIP_POS_W, atol=1e-4)


@pytest.mark.parametrize("profile", ["fast", "turbo"])
def test_slim_profiles_start_where_the_exact_one_does_and_follow_it(profile: str) -> None:
    task = get_task("block")
    exact, slim = Simulator(task, 8), Simulator(task, 8, profile)
    np.testing.assert_allclose(slim.reset(range(8)), exact.reset(range(8)), atol=1e-4)
    np.testing.assert_allclose(slim.joint_positions(), exact.joint_positions(), atol=2e-3)
    demonstrator = make_demonstrator("block", "pick_and_place", (0.0, 0.0), 8)
    demonstrator.reset(range(8))
    gripper = task.spec.obs.slice("gripper_position")
    observation = exact.observation()
    for _ in range(25):
        action = demonstrator.act(observation).action
        observation, followed = exact.step(action).observation, slim.step(action).observation
        assert np.linalg.norm(observation[:, gripper] - followed[:, gripper], axis=1).max() < 0.015


def test_forward_kinematics_agrees_with_the_sensors() -> None:
    simulator = Simulator(get_task("block"))
    kinematics = GripperKinematics(simulator.joint_names)
    for action in random_actions("block", 5, 1):
        simulator.step(action)
    # Where config/drivers/fetch.yaml says that the base stands.
    base = RigidTransform((0.6919, 0.7441, 0.0))
    position, quat = kinematics.pose(simulator.joint_positions())
    pos_w, quat_wxyz = base.pose(position.tolist(), quat.tolist())
    # The sensors lag one 2 ms substep behind the joints.
    np.testing.assert_allclose(pos_w, simulator.frame.frame_pos_w[0, 0], atol=4e-3)
    assert abs(np.array(quat_wxyz) @ simulator.frame.frame_quat_wxyz[0, 0]) > 0.999


def test_wrong_use_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'blok'; allowed: block, clean_up, complex_hook"):
        get_task("blok")
    with pytest.raises(ConfigError, match="unknown simulator profile"):
        Simulator(get_task("block"), profile="quick")
    with pytest.raises(SimulationError, match="2 seeds for 1 environments"):
        Simulator(get_task("block")).reset([1, 2])
    with pytest.raises(SpecError, match="last axis must have length 4"):
        Simulator(get_task("block")).step(np.zeros((1, 3)))

"""The simulated kitchen: equality with the installed environment, subtasks, noise, state rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import gymnasium_robotics
import numpy as np
import pytest

from reskill_core.data import Episode
from reskill_core.errors import ConfigError
from reskill_sim.engine.measurement_noise import uniform_noise
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.stock_version import stock_fault
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import Variation
from reskill_sim.families import get_task
from reskill_sim.kitchen import constants, fidelity, model
from reskill_sim.kitchen.family import KITCHEN
from reskill_sim.kitchen.model import arm_limits, sensor_sizes
from reskill_sim.kitchen.profiles import PROFILES
from reskill_sim.kitchen.subtasks import SUBTASKS
from reskill_sim.kitchen.task import KITCHEN_OBS, KitchenSettings, KitchenTask

NUM_COORDINATES = len(constants.START_QPOS)


def quiet(**settings: Any) -> KitchenTask:
    """The task without noise of measurement."""
    return KitchenTask(settings=KitchenSettings(noise=0.0, **settings))


def stock(**options: Any) -> Any:
    """The installed environment."""
    gymnasium.register_envs(gymnasium_robotics)
    return gymnasium.make("FrankaKitchen-v1", robot_noise_ratio=0.0, object_noise_ratio=0.0, **options).unwrapped


def pushes(seed: int, steps: int) -> np.ndarray:
    """(T, 9) actions that move the arm into the furniture."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(0.0, 1.0, (1, 9)) + 0.3 * rng.normal(0.0, 1.0, (steps, 9))
    return np.clip(actions, -1.0, 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(KitchenTask(), 3, "turbo")


# ---------------------------------------------------------------------- the installed environment


NEEDS_STOCK = pytest.mark.skipif(bool(stock_fault()), reason=stock_fault())


@NEEDS_STOCK
def test_equals_the_installed_environment() -> None:
    env, ours = stock(), Simulator(quiet())
    theirs = env.reset(seed=0)[0]["observation"]
    np.testing.assert_array_equal(ours.observation()[0], theirs)
    for action in pushes(11, 60):
        # Where the solver starts from is no part of a state that can be restored.
        env.data.qacc_warmstart[:] = 0.0
        theirs = env.step(action.astype(np.float64))[0]["observation"]
        np.testing.assert_allclose(ours.step(action[None]).observation[0], theirs, rtol=0.0, atol=1e-9)
    assert np.abs(theirs[9:18]).max() > 0.1


@NEEDS_STOCK
def test_names_limits_and_noise_are_those_of_the_installed_environment() -> None:
    env = stock()
    robot, limits = env.robot_env, arm_limits()
    np.testing.assert_array_equal(robot.init_qpos, constants.START_QPOS)
    np.testing.assert_array_equal(robot.robot_pos_bound[:9], np.column_stack([limits.low, limits.high]))
    positions, velocities = robot.robot_pos_noise_amp, robot.robot_vel_noise_amp
    amplitude = np.concatenate(
        [0.01 * positions[:9], 0.01 * velocities[:9], 0.0005 * positions[8:], 0.0005 * velocities[9:]]
    )
    np.testing.assert_array_equal(limits.noise, amplitude)
    names = [env.model.joint(index).name for index in range(env.model.njnt)]
    assert names[9:] == [joint for _, joint, _ in constants.FURNITURE] + [constants.KETTLE_JOINT]
    kinds = [env.model.joint(joint).type[0] for _, joint, _ in constants.FURNITURE]
    assert [unit for *_, unit in constants.FURNITURE] == ["rad" if kind == 3 else "m" for kind in kinds]
    assert env.robot_env.dt == constants.CONTROL_PERIOD_S


def test_subtasks_are_those_of_the_installed_environment() -> None:
    module = __import__("gymnasium_robotics.envs.franka_kitchen.kitchen_env", fromlist=["x"])
    for name, subtask in SUBTASKS.items():
        theirs = name.replace("_", " ")
        np.testing.assert_array_equal(module.OBS_ELEMENT_GOALS[theirs], subtask.goal)
        columns = np.arange(subtask.first, subtask.first + len(subtask.goal))
        np.testing.assert_array_equal(module.OBS_ELEMENT_INDICES[theirs], columns)
        # The same coordinates by the names of the observation.
        start = KITCHEN_OBS.slice("bottom_right_knob_position").start - 9
        observed = [index for term in subtask.observed for index in range(300)[KITCHEN_OBS.slice(term)]]
        np.testing.assert_array_equal(observed, columns + start)
    assert len(SUBTASKS) == len(module.OBS_ELEMENT_GOALS)


def test_the_observation_has_the_59_values_in_order() -> None:
    assert KITCHEN_OBS.dim == 59
    assert list(sensor_sizes())[1:] == [term.name for term in KITCHEN_OBS.terms[2:]]
    assert [KITCHEN_OBS.slice(name).start for name in ("arm_velocity", "kettle_position", "kettle_velocity")] == [
        9,
        32,
        53,
    ]


# ---------------------------------------------------------------------- subtasks


def situation(simulator: Simulator, memory: np.ndarray, *, done: tuple[str, ...]) -> Situation:
    """A state in which these subtasks are at their goals, and the others at their start."""
    qpos = np.array(constants.START_QPOS)
    for name in done:
        subtask = SUBTASKS[name]
        qpos[subtask.first : subtask.first + len(subtask.goal)] = subtask.goal
    physics = np.zeros((1, simulator.layout.physics.stop))
    physics[0, simulator.layout.qpos] = qpos
    frame = simulator.frame
    return Situation((), frame, frame, np.ones(1), physics, memory[None], memory[None])


@pytest.mark.parametrize(
    ("ordered", "memory", "at_goal", "after"),
    [
        (False, [0, 0, 0, 0], ("kettle",), [0, 1, 0, 0]),
        (False, [1, 0, 0, 0], ("light_switch", "top_burner"), [1, 0, 0, 1]),
        (True, [0, 0, 0, 0], ("kettle",), [0, 0, 0, 0]),
        (True, [1, 0, 0, 0], ("kettle",), [1, 1, 0, 0]),
        (True, [0, 0, 0, 0], ("microwave", "kettle", "light_switch"), [1, 1, 0, 0]),
        (True, [1, 1, 1, 0], ("light_switch",), [1, 1, 1, 1]),
    ],
)
def test_which_subtasks_count(
    simulator: Simulator, ordered: bool, memory: list[int], at_goal: tuple[str, ...], after: list[int]
) -> None:
    task = quiet(ordered=ordered)
    state = situation(simulator, np.array(memory, float), done=at_goal)
    remembered = task.remembered(state)
    np.testing.assert_array_equal(remembered, [after])
    state = replace(state, memory=remembered)
    assert task.reward(state, task.success(state)) == sum(after) - sum(memory)
    assert task.success(state) == all(after)


def test_a_subtask_is_rewarded_once_and_the_last_one_ends_the_episode() -> None:
    simulator = Simulator(quiet(subtasks=("microwave", "kettle")), 2, "turbo")
    rows = simulator.state()
    rows[0, simulator.layout.qpos.start + SUBTASKS["microwave"].first] = -0.75
    simulator.set_state(rows)
    idle = np.zeros((2, 9), np.float32)
    first = simulator.step(idle)
    np.testing.assert_array_equal(first.reward, [1.0, 0.0])
    assert not first.success.any()
    assert not first.done.any()
    rows = simulator.state()
    # It stays completed when the door is shut again, and when the row is restored elsewhere.
    rows[0, simulator.layout.qpos.start + SUBTASKS["microwave"].first] = 0.0
    kettle = SUBTASKS["kettle"]
    rows[0, simulator.layout.qpos.start + kettle.first :][: len(kettle.goal)] = kettle.goal
    simulator.set_state(rows[::-1].copy())
    last = simulator.step(idle)
    np.testing.assert_array_equal(last.reward, [0.0, 1.0])
    np.testing.assert_array_equal(last.success, [False, True])
    np.testing.assert_array_equal(last.terminated, [False, True])


def test_metrics_say_which_subtasks_were_completed() -> None:
    task = quiet(ordered=True)
    vectors = np.zeros((3, 59), np.float32)
    vectors[:, :9] = constants.START_QPOS[:9]
    vectors[:, 18:39] = constants.START_QPOS[9:]
    vectors[1:, KITCHEN_OBS.slice("microwave_position")] = -0.7
    vectors[2:, KITCHEN_OBS.slice("bottom_left_knob_position")] = -0.9
    vectors[2:, KITCHEN_OBS.slice("kettle_position")] = SUBTASKS["kettle"].goal[:3]
    nothing = np.zeros((3, 9), np.float32)
    episode = Episode(
        observation=vectors,
        action=nothing,
        executed_action=nothing,
        reward=np.array([1.0, 2.0, 0.0], np.float32),
        sim_state=np.zeros((3, 0)),
        final_observation=vectors[2],
        seed=0,
        success=False,
        terminated=False,
        truncated=True,
        noise_scale=0.0,
        source="",
    )
    expected = {"subtasks": 3.0, "microwave": True, "kettle": True, "bottom_burner": True, "light_switch": False}
    assert task.metrics(episode) == expected
    assert set(task.metrics(episode)) <= set(KITCHEN.metric_titles)


# ---------------------------------------------------------------------- noise and rows


def test_noise_is_that_of_seed_and_step_alone() -> None:
    seeds, steps = np.array([5, 5, 6, 2**53 - 1]), np.array([0, 1, 0, 280])
    drawn = uniform_noise(seeds, steps, 59)
    np.testing.assert_array_equal(uniform_noise(seeds[2:], steps[2:], 59), drawn[2:])
    assert len(np.unique(drawn)) == drawn.size
    many = uniform_noise(np.repeat(np.arange(50), 50), np.tile(np.arange(50), 50), 40)
    assert np.abs(many).max() <= 1.0
    assert many.mean() == pytest.approx(0.0, abs=0.01)
    assert many.var() == pytest.approx(1 / 3, abs=0.01)
    # Neither of two neighbours tells about the other.
    for one, other in ((many[:-1], many[1:]), (many[:-50], many[50:]), (many[:, :-1], many[:, 1:])):
        assert np.mean(one * other) == pytest.approx(0.0, abs=0.01)


def test_measurements_are_noisy_and_the_arm_follows_them(simulator: Simulator) -> None:
    simulator.reset([1, 2, 1])
    observation = simulator.observation()
    np.testing.assert_array_equal(observation[0], observation[2])
    gap = observation - Simulator(quiet(), profile="turbo").observation()
    amplitude = arm_limits().noise
    assert (np.abs(gap) <= amplitude * (1 + 1e-6)).all()
    assert np.abs(gap).max(axis=0)[:9] == pytest.approx(amplitude[:9], rel=0.9)
    np.testing.assert_array_equal(simulator.joint_positions(1), observation[1, :9])
    np.testing.assert_array_equal(simulator.joint_velocities(1), observation[1, 9:18])
    control = simulator.mechanism.control(
        simulator.state()[:, simulator.layout.physics],
        simulator.state()[:, simulator.layout.sensors],
        np.full((3, 9), 0.5),
    )
    expected = np.clip(observation[:, :9] + 0.5 * 2.0 * 0.08, arm_limits().low, arm_limits().high)
    np.testing.assert_allclose(control, expected, atol=1e-15)


def test_a_restored_row_continues_bit_equal_in_another_place(simulator: Simulator) -> None:
    simulator.reset([3, 4, 5])
    actions = pushes(3, 12)
    simulator.step(np.tile(actions[0], (3, 1)))
    row = simulator.state([1])
    told = [simulator.step(np.tile(action, (3, 1))).observation[1] for action in actions]
    alone = Simulator(KitchenTask(), 1, "turbo")
    alone.set_state(row)
    for action, expected in zip(actions, told, strict=True):
        np.testing.assert_array_equal(alone.step(action[None]).observation[0], expected)


def test_episodes_last_280_steps_of_80_ms(simulator: Simulator) -> None:
    simulator.reset([3, 4, 5])
    rows = simulator.state()
    rows[1, simulator.layout.step] = 279
    simulator.set_state(rows)
    result = simulator.step(np.zeros((3, 9), np.float32))
    np.testing.assert_array_equal(result.truncated, [False, True, False])
    assert simulator.time_s[0] == pytest.approx(0.08)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_stays_near_the_exact_one_without_contact(profile: str) -> None:
    exact, other = Simulator(quiet()), Simulator(quiet(), profile=profile)
    for _ in range(6):
        action = np.array([[0.2, -0.1, 0.1, 0.2, 0.1, 0.1, -0.2, 0.0, 0.0]], np.float32)
        gap = other.step(action).observation - exact.step(action).observation
    assert np.abs(gap[0, :9]).max() < 0.01


def test_the_counters_in_two_bodies_touch_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    parted = Simulator(quiet(), 2, "turbo")
    monkeypatch.setattr(model, "_part_counters", lambda spec: None)
    whole = Simulator(quiet(), 2, "turbo")
    assert parted.model.nbody == whole.model.nbody + 1
    kettle = parted.layout.qpos.start + SUBTASKS["kettle"].first
    rows = parted.state()
    # One kettle falls on the counter on the left, one into the sink on the right.
    rows[:, kettle : kettle + 3] = [[-0.8, 0.2, 1.7], [0.8, 0.5, 1.75]]
    for simulator in (parted, whole):
        simulator.set_state(rows)
    for _ in range(12):
        idle = np.zeros((2, 9), np.float32)
        gap = parted.step(idle).observation - whole.step(idle).observation
    assert np.abs(gap).max() < 1e-6
    heights = parted.observation()[:, KITCHEN_OBS.slice("kettle_position")][:, 2]
    assert heights[0] == pytest.approx(1.6, abs=0.02)
    assert 1.3 < heights[1] < 1.65


def test_fidelity_compares_with_the_exact_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "_NOISE_SCALES", (0.1,))
    monkeypatch.setattr(fidelity, "PROFILES", ("exact", "turbo"))
    monkeypatch.setattr(constants, "HORIZON", 12)
    exact, chance, turbo = fidelity.measure_fidelity(2)
    assert [row["profile"] for row in (exact, chance, turbo)] == ["exact", "exact, other noise", "turbo"]
    assert exact["arm_mrad"] == pytest.approx(0.0, abs=1e-3)
    assert exact["gap_0.1"] == 0.0
    assert 0.1 < turbo["arm_mrad"] < 100.0
    assert chance["arm_mrad"] > 0.1
    assert turbo["se_0.1"] >= 0.5


# ---------------------------------------------------------------------- settings and variation


def test_settings_are_checked() -> None:
    assert KitchenSettings().subtasks == ("microwave", "kettle", "bottom_burner", "light_switch")
    task = get_task("kitchen", settings={"subtasks": ["top_burner"], "ordered": True})
    assert task.spec.settings == {"subtasks": ["top_burner"], "needed": 0, "ordered": True, "noise": 1.0}
    with pytest.raises(ConfigError, match="microwave, microwave"):
        get_task("kitchen", settings={"subtasks": ["microwave", "microwave"]})
    with pytest.raises(ConfigError, match="toaster"):
        get_task("kitchen", settings={"subtasks": ["toaster"]})


def test_friction_and_the_kettles_mass_vary_and_the_rest_is_refused() -> None:
    simulator = Simulator(
        KITCHEN.make_task("kitchen", Variation(friction=(0.5, 0.5), mass=(2.0, 2.0))), profile="turbo"
    )
    nominal = Simulator(KitchenTask(), profile="turbo").model
    np.testing.assert_allclose(simulator.model.geom_friction[:, 0], 0.5 * nominal.geom_friction[:, 0])
    ratio = simulator.model.body_mass / np.maximum(nominal.body_mass, 1e-9)
    kettle = nominal.body(constants.KETTLE_BODY).id
    assert ratio[kettle] == pytest.approx(2.0)
    assert np.delete(ratio, kettle).max() <= 1.0 + 1e-9
    with pytest.raises(ConfigError, match="spawn: all episodes start"):
        get_task("kitchen", Variation(spawn=1.1))

"""The kitchen's demonstrators: kinematics, bounded least squares, subtasks and chains."""

from __future__ import annotations

from collections import Counter

import mujoco
import numpy as np
import pytest

from reskill_core.errors import ConfigError, SimulationError
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.variation import World
from reskill_sim.kitchen.constants import START_QPOS
from reskill_sim.kitchen.demonstrators import KINDS, Demonstrator, make_demonstrator
from reskill_sim.kitchen.demonstrators.arm import GRIP_M, Arm, hand_rotation, rotation_vector
from reskill_sim.kitchen.demonstrators.choreography import choreography
from reskill_sim.kitchen.demonstrators.motion import STEP_RAD, Aim, _bounded_solution, arm_actions, distance
from reskill_sim.kitchen.demonstrators.scripts import FROM_THE_RIGHT, SCRIPTS
from reskill_sim.kitchen.family import KITCHEN
from reskill_sim.kitchen.model import build_model
from reskill_sim.kitchen.profiles import get_profile
from reskill_sim.kitchen.subtasks import SUBTASKS
from reskill_sim.kitchen.task import KITCHEN_OBS, KitchenSettings, KitchenTask

ALL = tuple(SUBTASKS)


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_model(get_profile("exact"), World())


def start_vectors(count: int = 1) -> np.ndarray:
    """(n, 59) observations of the start."""
    vectors = np.zeros((count, KITCHEN_OBS.dim))
    vectors[:, :9] = START_QPOS[:9]
    vectors[:, KITCHEN_OBS.slice("bottom_right_knob_position").start : KITCHEN_OBS.slice("kettle_quaternion").stop] = (
        START_QPOS[9:]
    )
    return vectors


def still_aim(arm: Arm, joints: np.ndarray) -> Aim:
    """An aim at where hands are."""
    state, count = arm.state(joints), len(joints)
    return Aim(
        grip=state.grip,
        held=state.grip,
        rotation=state.rotation,
        turn=np.ones((count, 3)),
        step_m=np.full(count, 0.05),
        posture=joints.copy(),
        force=np.zeros((count, 3)),
        joints=np.full((count, 7), np.nan),
    )


# ---------------------------------------------------------------------- kinematics


def test_the_arm_is_that_of_the_model(model: mujoco.MjModel) -> None:
    arm, data = Arm(model), mujoco.MjData(model)
    joints = np.random.default_rng(0).uniform(arm.low, arm.high, (4, 7))
    state = arm.state(joints)
    site = model.site("end_effector").id
    for row in range(4):
        data.qpos[:] = START_QPOS
        data.qpos[:7] = joints[row]
        data.qpos[7:9] = 0.0
        mujoco.mj_forward(model, data)
        rotation = data.site_xmat[site].reshape(3, 3)
        np.testing.assert_allclose(state.rotation[row], rotation, atol=1e-12)
        np.testing.assert_allclose(state.grip[row], data.site_xpos[site] + GRIP_M * rotation[:, 2], atol=1e-12)
        np.testing.assert_allclose(state.gravity[row], data.qfrc_bias[:7], atol=0.02)
        linear, angular = np.zeros((2, 3, model.nv))
        mujoco.mj_jac(model, data, linear, angular, state.grip[row], model.site_bodyid[site])
        np.testing.assert_allclose(state.jacobian[row], np.vstack([linear, angular])[:, :7], atol=1e-12)


def test_the_hand_points_where_yaw_and_pitch_say() -> None:
    left, up = hand_rotation(np.array([0.3, 0.0]), np.array([0.0, 0.4]))
    np.testing.assert_allclose(left[:, 2], [-np.sin(0.3), np.cos(0.3), 0.0])
    np.testing.assert_allclose(up[:, 2], [0.0, np.cos(0.4), np.sin(0.4)])
    both = hand_rotation(np.array([0.3]), np.array([0.4]))[0]
    np.testing.assert_allclose(both.T @ both, np.eye(3), atol=1e-12)
    assert np.linalg.det(both) == pytest.approx(1.0)


def test_rotation_vectors_are_axis_times_angle() -> None:
    turn = hand_rotation(np.array([0.7]), np.zeros(1)) @ hand_rotation(np.zeros(1), np.zeros(1)).transpose(0, 2, 1)
    np.testing.assert_allclose(rotation_vector(turn)[0], [0.0, 0.0, 0.7], atol=1e-12)


def test_least_squares_within_bounds() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(20, 7, 7))
    matrix, right = root @ root.transpose(0, 2, 1) + np.eye(7), rng.normal(size=(20, 7))
    low, high = np.full((20, 7), -0.1), np.full((20, 7), 0.05)
    found = _bounded_solution(matrix, right, low, high, rounds=7)
    assert ((found >= low) & (found <= high)).all()
    # Where a joint is free, the gradient is zero.
    gradient = np.einsum("nij,nj->ni", matrix, found) - right
    assert np.abs(gradient[(found > low) & (found < high)]).max() < 1e-9
    wide = _bounded_solution(matrix, right, low - 100, high + 100)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", matrix, wide), right, atol=1e-9)


def test_at_rest_only_gravity_is_held(model: mujoco.MjModel) -> None:
    arm = Arm(model)
    joints = np.array([[-0.6, -0.5, 0.7, -2.0, 0.0, 1.7, 0.3]])
    aim = still_aim(arm, joints)
    held = arm.state(joints).gravity / (arm.stiffness * STEP_RAD)
    np.testing.assert_allclose(arm_actions(arm, arm.state(joints), joints, aim), held, atol=1e-9)
    aim.force = np.array([[0.0, 0.0, 10.0]])
    torque = (arm_actions(arm, arm.state(joints), joints, aim) - held) * arm.stiffness * STEP_RAD
    np.testing.assert_allclose(torque[0], 10.0 * arm.state(joints).jacobian[0, 2], atol=1e-9)


def test_a_step_brings_the_hand_nearer_and_turns_it(model: mujoco.MjModel) -> None:
    arm = Arm(model)
    joints = np.array([[-0.6, -0.5, 0.7, -2.0, 0.0, 1.7, 0.3]])
    aim = still_aim(arm, joints)
    aim.grip = aim.grip + np.array([0.02, -0.01, 0.02])
    aim.rotation = (
        hand_rotation(np.array([0.2]), np.array([0.1]))
        @ hand_rotation(np.zeros(1), np.zeros(1))[0].T
        @ arm.state(joints).rotation
    )
    before = distance(arm.state(joints), aim)
    for _ in range(12):
        state = arm.state(joints)
        action = arm_actions(arm, state, joints, aim)
        joints = joints + (action - state.gravity / (arm.stiffness * STEP_RAD)) * STEP_RAD * arm.reached
    after = distance(arm.state(joints), aim)
    assert after[0][0] < 0.2 * before[0][0]
    assert after[1][0] < 0.2 * before[1][0]


def test_all_places_can_be_reached() -> None:
    scripts = choreography()
    goals = scripts._joints[np.isfinite(scripts._joints[:, 0])]
    assert len(goals) == sum(phase.by_joints for script in (*SCRIPTS.values(), FROM_THE_RIGHT) for phase in script)
    assert (goals > scripts.arm.low).all()
    assert (goals < scripts.arm.high).all()


def test_an_open_door_is_passed_on_the_right() -> None:
    scripts, vectors = choreography(), start_vectors(2)
    vectors[1, KITCHEN_OBS.slice("right_hinge_cabinet_position")] = 1.2
    slide = np.full(2, ALL.index("slide_cabinet"))
    np.testing.assert_array_equal(scripts.start(slide, vectors), scripts.first[[slide[0], len(ALL)]])
    kettle = np.full(2, ALL.index("kettle"))
    np.testing.assert_array_equal(scripts.start(kettle, vectors), scripts.first[kettle])


def test_phases_end_by_what_moved_or_when_the_handle_is_lost() -> None:
    scripts, vectors = choreography(), start_vectors(3)
    pull = next(number for number, phase in enumerate(SCRIPTS["microwave"]) if np.isfinite(phase.until))
    phases = np.full(3, scripts.first[ALL.index("microwave")] + pull)
    vectors[2, KITCHEN_OBS.slice("microwave_position")] = -0.7
    state = scripts.arm.state(vectors[:, :7])
    aim = scripts.aim(phases, vectors, state)
    # In the hand, 10 cm beside it, and in the hand with the door open.
    state.grip[:] = aim.held + np.array([[0.0], [0.1], [0.0]]) * [1.0, 0.0, 0.0]
    np.testing.assert_array_equal(scripts.over(phases, vectors, state, aim), [False, True, True])
    # The door is pulled open along its arc: towards the robot.
    assert aim.grip[0, 1] < aim.held[0, 1] - 0.1
    assert aim.force[0, 1] < -10.0

    push = next(number for number, phase in enumerate(SCRIPTS["kettle"]) if np.isfinite(phase.until))
    phases[:] = scripts.first[ALL.index("kettle")] + push
    aim = scripts.aim(phases, vectors, state)
    state.grip[:] = aim.held - np.array([0.0, 0.07, 0.0])
    vectors[2, KITCHEN_OBS.slice("kettle_position").start + 1] = 0.63
    np.testing.assert_array_equal(scripts.over(phases, vectors, state, aim), [False, False, True])


# ---------------------------------------------------------------------- subtasks and chains


def test_all_subtasks_are_completed_quickly() -> None:
    task = KitchenTask(settings=KitchenSettings(subtasks=ALL, needed=1))
    environment = KITCHEN.make_env(task, 1, "turbo")
    for number, name in enumerate(ALL):
        (episode,) = run_episodes(environment, Demonstrator(task, name, (0.05, 0.05)), [number])
        assert episode.success, name
        assert episode.num_steps < 75, name
        assert task.metrics(episode)[name], name


def test_a_chain_is_completed() -> None:
    settings = KitchenSettings(subtasks=("kettle", "light_switch", "microwave"), needed=2, ordered=True)
    task = KitchenTask(settings=settings)
    demonstrator = Demonstrator(task, "chain", (0.1, 0.1))
    (episode,) = run_episodes(KITCHEN.make_env(task, 1, "turbo"), demonstrator, [4])
    assert demonstrator.chain() == ("kettle", "light_switch")
    assert episode.success
    assert episode.reward.sum() == 2.0
    assert episode.num_steps < 130
    # The label is free of noise.
    assert 0.01 < np.abs(episode.executed_action - episode.action)[:, :7].mean() < 0.3
    np.testing.assert_array_equal(episode.executed_action[:, 7:], episode.action[:, 7:])


def test_actions_do_not_depend_on_place_and_batch() -> None:
    settings = {"subtasks": ALL, "needed": 4}
    vectors = np.repeat(start_vectors(4), 12, axis=0).reshape(4, 12, -1) + 1e-3 * np.random.default_rng(2).normal(
        size=(4, 12, KITCHEN_OBS.dim)
    )
    many, one = (make_demonstrator("chain", num_envs=count, settings=settings) for count in (4, 1))
    many.reset([5, 6, 7, 8])
    one.reset([7])
    for step in range(12):
        together = many.act(vectors[:, step]).action
        np.testing.assert_array_equal(one.act(vectors[2:3, step]).action[0], together[2])


def test_chains_are_drawn_from_the_seed() -> None:
    demonstrator = make_demonstrator("mixed", num_envs=300, settings={"subtasks": ALL, "needed": 4})
    demonstrator.reset(range(300))
    chains = [demonstrator.chain(place) for place in range(300)]
    assert all(len(set(chain)) == 4 for chain in chains)
    assert len(set(chains)) > 200
    first = Counter(chain[0] for chain in chains)
    assert set(first) == set(ALL)
    assert max(first.values()) < 2 * min(first.values())
    demonstrator.reset([12], [0])
    assert demonstrator.chain(0) == chains[12]
    assert demonstrator.source() == "chain"


def test_an_ordered_chain_keeps_the_order() -> None:
    wanted = ("light_switch", "microwave", "kettle")
    demonstrator = make_demonstrator(num_envs=3, settings={"subtasks": wanted, "ordered": True})
    demonstrator.reset([0, 1, 2])
    assert {demonstrator.chain(place) for place in range(3)} == {wanted}


def test_what_did_not_succeed_is_tried_again_and_what_is_done_is_not() -> None:
    settings = {"subtasks": ("microwave", "bottom_burner"), "ordered": True}
    demonstrator = make_demonstrator(noise_range=(0.0, 0.0), settings=settings)
    demonstrator.reset([0])
    vectors = start_vectors()
    first = demonstrator.act(vectors).action
    longest = sum(phase.steps for phase in SCRIPTS["microwave"])
    for _ in range(longest):
        again = demonstrator.act(vectors).action
    np.testing.assert_array_equal(again, first)
    vectors[:, KITCHEN_OBS.slice("microwave_position")] = -0.7
    for _ in range(longest):
        other = demonstrator.act(vectors).action
    assert np.abs(other - first).max() > 0.1
    vectors[:, KITCHEN_OBS.slice("bottom_left_knob_position")] = -0.8
    for _ in range(longest):
        at_the_end = demonstrator.act(vectors).action
    # Nothing is left: the arm stays, its fingers open.
    np.testing.assert_array_equal(at_the_end[0, 7:], [1.0, 1.0])
    arm = choreography().arm
    state = arm.state(vectors[:, :7])
    expected = state.gravity / (arm.stiffness * STEP_RAD)
    np.testing.assert_allclose(at_the_end[0, [0, 2, 3, 4, 5, 6]], expected[0, [0, 2, 3, 4, 5, 6]], atol=1e-6)


def test_kinds_and_their_errors() -> None:
    assert KITCHEN.demonstrators("kitchen") == KINDS
    with pytest.raises(ConfigError, match="hinge_cabinet"):
        make_demonstrator("hinge_cabinet")
    with pytest.raises(ConfigError, match="juggling"):
        make_demonstrator("juggling")
    with pytest.raises(SimulationError, match="noise range"):
        Demonstrator(KitchenTask(), noise_range=(0.2, 0.1))


# ---------------------------------------------------------------------- as many as needed


def test_an_episode_ends_with_as_many_subtasks_as_needed() -> None:
    with pytest.raises(ConfigError, match="at most the number"):
        KITCHEN.make_task("kitchen", KitchenTask().variation, {"subtasks": ["kettle"], "needed": 2})
    task = KitchenTask(settings=KitchenSettings(needed=2))
    assert "2 of microwave" in task.spec.description
    env = KITCHEN.make_env(task, 2, "turbo")
    rows = env.state()
    qpos = rows[:, env.layout.qpos]
    qpos[0, [22, 11]] = -0.75, -0.88
    qpos[1, 22] = -0.75
    rows[:, env.layout.qpos] = qpos
    env.set_state(rows)
    result = env.step(np.zeros((2, 9), np.float32))
    np.testing.assert_array_equal(result.reward, [2.0, 1.0])
    np.testing.assert_array_equal(result.success, [True, False])
    np.testing.assert_array_equal(result.terminated, [True, False])

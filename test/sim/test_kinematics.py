"""Kinematics of arms: against their manufacturers' parameters, and as motion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dh_arms import FRANKA, GEN3, SO101, UR5E, Arm
from numpy.typing import NDArray

from reskill_core.errors import ConfigError
from reskill_core.kinematics import KinematicsConfig
from reskill_core.rotations import rotation_vector_between
from reskill_sim.fetch.constants import ARM_JOINTS, MODEL_PREFIX
from reskill_sim.fetch.kinematics import GripperKinematics
from reskill_sim.fetch.model import asset_folder
from reskill_sim.kinematics import ArmModel, DifferentialIk, load_arm

PERIOD_S = 0.04
# Two links of 1 m that turn about the vertical, as a worm of ink: its kinematics are sines and cosines.
PLANAR = """<mujoco><worldbody><body name="base" pos="0.5 0 0" euler="0 0 90">
<body name="upper"><joint name="a" axis="0 0 1" range="-170 170"/><geom type="sphere" size=".1"/>
<body name="lower" pos="1 0 0"><joint name="b" axis="0 0 1" range="-170 170"/><geom type="sphere" size=".1"/>
<site name="tip" pos="1 0 0"/>
<body name="finger" pos="1 0 0"><joint name="f" type="slide" axis="0 1 0"/><geom type="sphere" size=".1"/></body>
</body></body></body></worldbody>
<actuator><motor joint="a"/></actuator><keyframe><key qpos="0 0 0"/></keyframe></mujoco>"""


def flange(arm: Arm, **changes: Any) -> KinematicsConfig:
    """The flange as gripper frame."""
    return KinematicsConfig("topic", end_effector=arm.tip, **changes)


def planar(tmp_path: Path, **changes: object) -> ArmModel:
    path = tmp_path / "planar.xml"
    path.write_text(PLANAR)
    return load_arm(replace(KinematicsConfig(str(path), base="base", end_effector="tip"), **changes))  # type: ignore[arg-type]


def test_a_pose_is_that_of_the_tool_in_the_base(tmp_path: Path) -> None:
    """By hand. The base is turned and moved in the model, which does not matter; fingers are no joints of the arm."""
    arm = planar(tmp_path, tool_position=(0.5, 0.0, 0.2))
    assert arm.joints == ("a", "b")
    position, quat = arm.pose(np.radians([30.0, 60.0]))
    reach = [np.cos(np.pi / 6), np.sin(np.pi / 6) + 1.5, 0.2]
    np.testing.assert_allclose(position, reach, atol=1e-12)
    np.testing.assert_allclose(quat, [np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)], atol=1e-12)


@pytest.mark.parametrize(
    ("arm", "at", "place"),
    [
        # All joints at zero. UR5e: stretched out along -x of the manufacturer's base, which is turned in ROS.
        (UR5E, [0.0] * 6, [0.425 + 0.3922, 0.1333 + 0.0996, 0.1625 - 0.0997]),
        # Gen3: straight up, with the offset of the elbow actuators to the side.
        (GEN3, [0.0] * 7, [0.0, -0.0118 - 0.0128, 0.1564 + 0.1284 + 0.4208 + 0.3143 + 0.1674]),
        (FRANKA, [0.0] * 7, [0.088, 0.0, 0.333 + 0.316 + 0.384 - 0.107]),
    ],
    ids=["ur5e", "gen3", "franka"],
)
def test_arms_reach_where_their_data_sheets_say(arm: Arm, at: list[float], place: list[float]) -> None:
    np.testing.assert_allclose(load_arm(flange(arm), arm.urdf()).pose(np.array(at))[0], place, atol=1e-9)


# Of the SO-101's URDF, in the plane of the arm: the lift axis, from there to the wrist, and on to the gripper frame.
LIFT = np.array([0.0388 + 0.0304, 0.0624 + 0.0542])
TO_WRIST, TO_GRIPPER = np.array([0.028 + 0.1349, 0.1126 + 0.0052]), np.array([0.0611 + 0.0981, -0.0079])


@pytest.mark.parametrize(
    ("joint", "x", "y", "z"),
    [
        ("", *LIFT[:1] + TO_WRIST[:1] + TO_GRIPPER[:1], 0.0, *LIFT[1:] + TO_WRIST[1:] + TO_GRIPPER[1:]),
        # Seen from above, the base counts clockwise; the others count downwards.
        ("shoulder_pan", 0.0388, -(0.0304 + TO_WRIST[0] + TO_GRIPPER[0]), LIFT[1] + TO_WRIST[1] + TO_GRIPPER[1]),
        ("shoulder_lift", LIFT[0] + TO_WRIST[1] + TO_GRIPPER[1], 0.0, LIFT[1] - TO_WRIST[0] - TO_GRIPPER[0]),
        ("wrist_flex", LIFT[0] + TO_WRIST[0] + TO_GRIPPER[1], 0.0, LIFT[1] + TO_WRIST[1] - TO_GRIPPER[0]),
    ],
)
def test_the_so101_reaches_where_its_urdf_says(joint: str, x: float, y: float, z: float) -> None:
    """With one joint turned by a quarter: the dimensions are rounded to tenths of a millimetre."""
    at = [np.pi / 2 if name == joint else 0.0 for name in SO101.joints]
    np.testing.assert_allclose(load_arm(flange(SO101), SO101.urdf()).pose(np.array(at))[0], [x, y, z], atol=3e-4)


def test_an_mjcf_with_meshes_and_other_joints_gives_the_arm_in_it() -> None:
    """The Fetch's own, against the kinematics that the simulator's observations were checked with."""
    config = KinematicsConfig(
        str(asset_folder() / "pick_and_place.xml"), base="robot0:base_link", end_effector="robot0:grip"
    )
    arm = load_arm(replace(config, joints=tuple(MODEL_PREFIX + name for name in ARM_JOINTS)))
    moved = [name.removeprefix(MODEL_PREFIX) for name in arm.joints]
    positions = dict(zip(ARM_JOINTS, np.random.default_rng(0).uniform(0.1, 0.3, len(ARM_JOINTS)), strict=True))
    given = np.array([positions.get(name, 0.0) for name in moved])
    expected = GripperKinematics(ARM_JOINTS).pose(np.array([positions[name] for name in ARM_JOINTS]))[0]
    np.testing.assert_allclose(arm.pose(given)[0], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": "nowhere.urdf"}, "there is no file 'nowhere.urdf'"),
        ({"end_effector": "tip2"}, "'tip2' is not in the model.*did you mean tip"),
        ({"base": "bas"}, "'bas' is not in the model.*did you mean base"),
        ({"joints": ("a", "f")}, "not between base and end effector: f; allowed: a, b"),
        ({"end_effector": "base"}, "no joint moves 'base'"),
        ({"model": "robot_descriptions:nothing_of_that_name"}, "robot_descriptions"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        planar(tmp_path, **changes)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_arm(flange(UR5E), "<robot")


# ---------------------------------------------------------------------- motion


def motion(arm: Arm, velocity: tuple[float, float, float], steps: int, **changes: object) -> list[NDArray[np.float64]]:
    """Joint positions of a perfect arm, from its start on."""
    config = flange(arm, max_speed=(10.0,), **changes)
    model = load_arm(config, arm.urdf())
    ik = DifferentialIk(model, config, PERIOD_S)
    positions = [np.array(arm.start)]
    for _ in range(steps):
        positions.append(ik.step(velocity, positions[-1]).position)
    return positions


@pytest.mark.parametrize("arm", [UR5E, GEN3, FRANKA], ids=lambda arm: arm.name)
def test_the_gripper_moves_as_commanded_and_keeps_its_orientation(arm: Arm) -> None:
    velocity = np.array([0.1, -0.15, -0.05])
    model = load_arm(flange(arm), arm.urdf())
    first, *_, last = (model.pose(q) for q in motion(arm, tuple(velocity), 25))
    np.testing.assert_allclose(last[0] - first[0], velocity * 25 * PERIOD_S, atol=1e-3)
    assert np.linalg.norm(rotation_vector_between(first[1][None], last[1][None])) < 2e-3


def test_an_arm_of_five_joints_points_down_near_by_and_tilts_where_it_has_to() -> None:
    """At 12 cm/s away from the base, with a weight that puts the position first."""
    model = load_arm(flange(SO101), SO101.urdf())
    way = [model.pose(q) for q in motion(SO101, (0.12, 0.0, 0.0), 30, orientation_weight=0.05)]
    start = way[0]
    for steps, low, high in ((15, 0.0, 0.03), (30, 0.15, 0.4)):
        position, quat = way[steps]
        np.testing.assert_allclose(position - start[0], [0.12 * steps * PERIOD_S, 0, 0], atol=2e-3)
        assert low <= np.linalg.norm(rotation_vector_between(start[1][None], quat[None])) < high


def test_velocities_are_in_the_base_frame(tmp_path: Path) -> None:
    """The base of this arm is turned by 90 degrees in its model."""
    arm = planar(tmp_path)
    config = KinematicsConfig(max_speed=(10.0,), orientation_weight=0.0)
    ik = DifferentialIk(arm, config, PERIOD_S)
    here = np.radians([20.0, 80.0])
    there = ik.step((0.2, 0.0, 0.0), here).position
    np.testing.assert_allclose(arm.pose(there)[0] - arm.pose(here)[0], [0.2 * PERIOD_S, 0, 0], atol=1e-4)


def test_where_joints_would_be_too_fast_the_gripper_slows_down_but_keeps_its_direction() -> None:
    config = flange(UR5E, max_speed=(0.2,))
    model = load_arm(config, UR5E.urdf())
    start = np.array(UR5E.start)
    moved = DifferentialIk(model, config, PERIOD_S).step((0.5, 0.5, 0.0), start)
    assert np.abs(moved.velocity).max() <= 0.2 + 1e-6
    assert np.abs(moved.velocity).max() > 0.19
    way = model.pose(moved.position)[0] - model.pose(start)[0]
    np.testing.assert_allclose(way / PERIOD_S, np.array([0.5, 0.5, 0.0]) * moved.slowed, atol=2e-3)
    assert 0.05 < moved.slowed < 0.9


def test_near_a_singularity_joints_stay_slow() -> None:
    """Commanded beyond its reach, the arm comes to rest stretched out, without its joints turning wildly."""
    config = flange(UR5E, max_speed=(1.0,))
    ik = DifferentialIk(load_arm(config, UR5E.urdf()), config, PERIOD_S)
    positions = np.array(UR5E.start)
    for _ in range(150):
        moved = ik.step((0.3, 0.0, 0.0), positions)
        assert np.abs(moved.velocity).max() <= 1.0 + 1e-6
        positions = moved.position
    assert np.isfinite(positions).all()
    assert load_arm(config, UR5E.urdf()).pose(positions)[0][0] > 0.7


def test_joints_stop_before_their_limits() -> None:
    config = flange(FRANKA, max_speed=(2.0,), joint_margin=0.1)
    arm = load_arm(config, FRANKA.urdf())
    arm.narrow([-np.inf] * 7, [np.inf, 0.0, *[np.inf] * 5])
    ik = DifferentialIk(arm, config, PERIOD_S)
    positions = np.array(FRANKA.start)
    highest = -np.inf
    for _ in range(60):
        positions = ik.step((0.2, 0.0, -0.1), positions).position
        highest = max(highest, positions[1])
    assert highest == pytest.approx(-0.1, abs=1e-3)
    with pytest.raises(ConfigError, match="fr3_joint2"):
        arm.narrow([-np.inf, 1.0, *[-np.inf] * 5], [np.inf] * 7)


def test_a_joint_beyond_its_range_can_move_back_and_no_further() -> None:
    """Put there by hand, or overshot: it neither jumps back nor stops the arm."""
    config = flange(FRANKA, max_speed=(1.0,), joint_margin=0.1)
    arm = load_arm(config, FRANKA.urdf())
    beyond = np.array(FRANKA.start)
    beyond[5] = 0.5445 + 0.02
    place = arm.pose(beyond)[0]
    for direction in ((0.0, 0.0, 0.2), (0.0, 0.0, -0.2), (0.2, 0.0, 0.0), (-0.2, 0.0, 0.0)):
        moved = DifferentialIk(arm, config, PERIOD_S).step(direction, beyond)
        assert moved.position[5] >= beyond[5] - 1e-6
        assert moved.position[5] <= beyond[5] + PERIOD_S * 1.0
    assert np.linalg.norm(arm.pose(moved.position)[0] - place) > 1e-3


def test_a_velocity_driver_makes_up_for_nothing() -> None:
    """Commands come from where the arm is measured, in the direction of the action, however far it has been pushed."""
    config = flange(UR5E, max_speed=(10.0,))
    arm = load_arm(config, UR5E.urdf())
    ik = DifferentialIk(arm, config, PERIOD_S, integrates=False)
    start = np.array(UR5E.start)
    ik.step((0.2, 0.0, 0.0), start)
    pushed = start + np.array([0.0, 0.05, -0.05, 0.0, 0.0, 0.0])
    moved = ik.step((0.2, 0.0, 0.0), pushed)
    way = arm.pose(pushed + moved.velocity * PERIOD_S)[0] - arm.pose(pushed)[0]
    np.testing.assert_allclose(way, [0.2 * PERIOD_S, 0, 0], atol=3e-4)


def test_a_motion_starts_from_the_measured_positions_and_never_runs_away_from_them() -> None:
    """An arm that does not move: the target is ahead by the lead at most; after a stop it starts where the arm is."""
    config = flange(UR5E, max_speed=(1.0,), max_lead_s=0.1)
    ik = DifferentialIk(load_arm(config, UR5E.urdf()), config, PERIOD_S)
    stuck = np.array(UR5E.start)
    first = ik.step((0.2, 0.0, 0.0), stuck).position
    assert 0 < np.abs(first - stuck).max() < 0.06
    for _ in range(50):
        ahead = ik.step((0.2, 0.0, 0.0), stuck).position - stuck
    assert np.abs(ahead).max() == pytest.approx(0.1)
    ik.stop()
    elsewhere = stuck + 0.3
    np.testing.assert_allclose(ik.step((0.0, 0.0, 0.0), elsewhere).position, elsewhere, atol=1e-4)


def test_the_reference_does_not_lag_behind_an_arm_that_does() -> None:
    """The gripper of an arm that follows a step late still moves as fast as commanded."""
    config = flange(UR5E, max_speed=(10.0,))
    model = load_arm(config, UR5E.urdf())
    ik = DifferentialIk(model, config, PERIOD_S)
    measured, target = np.array(UR5E.start), np.array(UR5E.start)
    for _ in range(25):
        measured, target = target, ik.step((0.2, 0.0, 0.0), measured).position
    way = model.pose(target)[0] - model.pose(np.array(UR5E.start))[0]
    np.testing.assert_allclose(way, [0.2, 0, 0], atol=2e-3)


def test_endless_joints_may_be_measured_a_turn_away() -> None:
    config = flange(GEN3, max_speed=(2.0,))
    ik = DifferentialIk(load_arm(config, GEN3.urdf()), config, PERIOD_S)
    start = np.array(GEN3.start)
    before = ik.step((0.1, 0.1, 0.0), start).position
    turned = before.copy()
    turned[[0, 4]] += [2 * np.pi, -2 * np.pi]
    after = ik.step((0.1, 0.1, 0.0), turned).position
    assert np.abs(after - before).max() < 0.1


def test_what_the_gripper_leaves_open_tends_to_the_preferred_posture() -> None:
    """Seven joints, six of which the gripper needs."""
    model = load_arm(flange(GEN3), GEN3.urdf())
    bent = np.array(GEN3.start) + np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    still = motion(GEN3, (0.0, 0.0, 0.0), 200, posture=tuple(bent), joints=GEN3.joints)
    distances = [np.linalg.norm(positions - bent) for positions in (still[0], still[-1])]
    assert distances[1] < 0.8 * distances[0]
    np.testing.assert_allclose(model.pose(still[-1])[0], model.pose(still[0])[0], atol=2e-3)


def test_a_joint_that_is_not_commanded_is_where_it_is_measured() -> None:
    config = flange(FRANKA, max_speed=(2.0,), joints=FRANKA.joints[1:])
    arm = load_arm(config, FRANKA.urdf())
    ik = DifferentialIk(arm, config, PERIOD_S)
    measured = np.array(FRANKA.start)
    first = ik.step((0.0, 0.1, 0.0), measured)
    measured[0] += 0.2
    moved = ik.step((0.1, 0.0, 0.0), measured)
    assert len(moved.position) == 6
    place = arm.pose(np.array([measured[0], *moved.position]))[0]
    before = arm.pose(np.array([measured[0], *first.position]))[0]
    np.testing.assert_allclose(place - before, [0.1 * PERIOD_S, 0, 0], atol=5e-4)

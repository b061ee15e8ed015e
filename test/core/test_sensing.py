"""Sensor readings to ticks by hand: a spec of one joint and two frames, injected times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sensing_bench import PERIOD_S, ROBOT, SIMULATOR, TASK, UPRIGHT, Driver, values

from reskill_core.commanded_place import CommandedPlace, moved_joints
from reskill_core.errors import SpecError
from reskill_core.sensing import EpisodeStep, JointSource, MessageError, Sensing
from reskill_core.spec import (
    END_EFFECTOR_VELOCITY,
    ActionComponent,
    ActionSpec,
    ObsTerm,
    TaskSpec,
    named_term,
)


def test_displacements_are_over_one_period_and_zero_at_first() -> None:
    driver = Driver(ROBOT)
    driver.all(0.02, 1.0)
    assert values(driver.tick()) == [0.02, 0, 1.0, 0, 0, 0, 0, 0]
    driver.time_s += PERIOD_S
    driver.all(0.03, 1.5)
    tick = driver.tick()
    assert values(tick) == [0.03, 0.01, 1.5, 0, 0, 0.5, 0, 0]
    assert tick is not None
    assert tick.episode == EpisodeStep(0, -1, 1)


def test_displacements_are_scaled_where_readings_are_not_one_period_apart() -> None:
    driver = Driver(ROBOT)
    driver.all(0.02, 1.0)
    driver.tick()
    driver.time_s += 2 * PERIOD_S
    driver.all(0.04, 2.0)
    assert values(driver.tick()) == [0.04, 0.01, 2.0, 0, 0, 0.5, 0, 0]


def test_after_a_long_gap_displacements_start_at_zero_again() -> None:
    driver = Driver(ROBOT)
    driver.all(0.02, 1.0)
    driver.tick()
    driver.time_s += 1.0
    driver.all(0.04, 2.0)
    assert values(driver.tick()) == [0.04, 0, 2.0, 0, 0, 0, 0, 0]


def test_f1_nothing_is_observed_on_old_readings() -> None:
    driver = Driver(ROBOT)
    driver.all(0.02, 1.0)
    driver.time_s += 0.13
    driver.pose("gripper", 1.0)
    assert driver.tick() is None
    assert driver.outdated() == ["joint finger", "goal"]


def test_frames_that_do_not_move_need_not_be_fresh() -> None:
    driver = Driver(replace(ROBOT, static_frames=("goal",)))
    driver.all(0.02, 1.0)
    driver.time_s += 60.0
    driver.joints(finger=0.02)
    driver.pose("gripper", 1.0)
    assert driver.tick() is not None


def test_f2_a_slow_driver_is_never_observed_twice_at_one_instant() -> None:
    driver = Driver(ROBOT)
    driver.all(0.02, 1.0)
    assert driver.tick() is not None
    driver.time_s += PERIOD_S
    driver.pose("gripper", 1.1)
    assert driver.tick() is None


def test_f4_joints_are_taken_by_name_with_sign_and_offset() -> None:
    driver = Driver(replace(ROBOT, joints={"finger": JointSource("left_finger", -2.0, 0.5)}))
    driver.joints(right_finger=7.0, left_finger=0.1, finger=8.0)
    driver.pose("gripper", 1.0)
    driver.pose("goal", 1.0)
    assert values(driver.tick())[0] == 0.3


def test_f5_a_missing_joint_is_named_until_it_comes() -> None:
    driver = Driver(ROBOT)
    driver.joints(thumb=1.0)
    driver.pose("gripper", 1.0)
    driver.pose("goal", 9.0)
    assert driver.tick() is None
    assert driver.sensing.outdated(driver.time_s, driver.now_ns) == {"joint finger": None}
    driver.joints(finger=0.1)
    assert values(driver.tick())[0] == 0.1


@pytest.mark.parametrize(
    ("age_s", "reason"), [(0.2, "stale"), (-0.2, "future")], ids=["f9_future_stamp", "stale_stamp"]
)
def test_stamps_must_be_near_the_clock(age_s: float, reason: str) -> None:
    driver = Driver(ROBOT)
    with pytest.raises(MessageError) as caught:
        driver.joints(age_s, finger=0.1)
    assert caught.value.reason == reason
    assert driver.outdated() == ["joint finger", "gripper", "goal"]


def test_f10_older_than_the_newest_is_dropped() -> None:
    driver = Driver(ROBOT)
    driver.joints(finger=0.1)
    with pytest.raises(MessageError) as caught:
        driver.joints(0.01, finger=0.2)
    assert caught.value.reason == "reordered"


def test_f8_a_zero_stamp_is_a_fault_unless_allowed() -> None:
    driver = Driver(ROBOT)
    with pytest.raises(MessageError, match="use_sim_time") as caught:
        driver.joints(driver.time_s, finger=0.1)
    assert caught.value.reason == "zero_stamp"
    lenient = Driver(replace(ROBOT, zero_stamp="receive_time"))
    for source in ("gripper", "goal"):
        lenient.pose(source, 1.0)
    lenient.joints(lenient.time_s, finger=0.1)
    tick = lenient.tick()
    assert tick is not None
    assert tick.stamp_ns == lenient.now_ns


def test_f11_forgetting_allows_earlier_stamps() -> None:
    driver = Driver(ROBOT)
    driver.all(0.02, 1.0)
    driver.tick()
    driver.sensing.forget()
    driver.time_s -= 50.0
    driver.all(0.03, 2.0)
    assert values(driver.tick()) == [0.03, 0, 2.0, 0, 0, 0, 0, 0]


def test_synchronised_ticks_wait_for_all_and_for_the_episode() -> None:
    driver = Driver(SIMULATOR)
    driver.all(0.02, 1.0)
    assert driver.sensing.tick_if_complete() is None
    driver.sensing.offer_episode(EpisodeStep(4, 17, 0), driver.now_ns)
    tick = driver.sensing.tick_if_complete()
    assert tick is not None
    assert tick.episode == EpisodeStep(4, 17, 0)
    assert driver.sensing.tick_if_complete() is None, "one tick per stamp"
    assert driver.joints(finger=0.02), "repeated"
    assert not driver.pose("gripper", 1.0), "one source asks for all"
    driver.time_s += PERIOD_S
    assert not driver.joints(finger=0.02), "new"


def test_synchronised_ticks_never_mix_stamps() -> None:
    driver = Driver(replace(SIMULATOR, episodes=False))
    driver.all(0.02, 1.0)
    driver.time_s += PERIOD_S
    driver.joints(finger=0.03)
    driver.pose("gripper", 1.5)
    assert driver.sensing.tick_if_complete() is None
    driver.pose("goal", 9.0)
    assert driver.sensing.tick_if_complete() is not None


def test_an_episode_starts_with_zero_displacement() -> None:
    driver = Driver(SIMULATOR)
    for episode, x in ((EpisodeStep(1, 5, 9), 1.0), (EpisodeStep(2, 6, 0), 4.0)):
        driver.all(0.02, x)
        driver.sensing.offer_episode(episode, driver.now_ns)
        tick = driver.sensing.tick_if_complete()
        driver.time_s += PERIOD_S
    assert values(tick) == [0.02, 0, 4.0, 0, 0, 0, 0, 0]


def test_the_gripper_may_come_from_kinematics() -> None:
    def kinematics(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([joints[0], 2.0, 3.0]), np.array(UPRIGHT)

    sensing = Sensing(TASK, replace(ROBOT, gripper="kinematics"), ("shoulder",), kinematics)
    sensing.offer_pose("goal", ((1.0, 1.0, 1.0), UPRIGHT), 10**9, 1.0, 10**9)
    sensing.offer_joints({"finger": 0.1}, 10**9, 1.0, 10**9)
    assert sensing.outdated(1.0, 10**9) == {"joint shoulder": None}
    sensing.offer_joints({"finger": 0.1, "shoulder": 0.7}, 10**9, 1.0, 10**9)
    assert values(sensing.tick_if_fresh(1.0, 10**9)) == [0.1, 0, 0.7, 2.0, 3.0, 0, 0, 0]


class Arm(Driver):
    """Publishes shoulder, elbow and finger each by itself; the gripper is at (shoulder, elbow, 0)."""

    def __init__(self) -> None:
        super().__init__(ROBOT)
        self.sensing = Sensing(TASK, replace(ROBOT, gripper="kinematics"), ("shoulder", "elbow"), self.kinematics)
        self.pose("goal", 9.0)

    @staticmethod
    def kinematics(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([*joints, 0.0]), np.array(UPRIGHT)


def test_joints_that_come_in_pieces_are_merged_each_with_its_own_age() -> None:
    """The newest of each is observed; one that is too old is named, however young the others are."""
    driver = Arm()
    driver.joints(0.08, finger=0.1)
    assert driver.outdated() == ["joint shoulder", "joint elbow"]
    driver.joints(0.01, shoulder=0.5)
    driver.joints(0.02, elbow=0.6)
    assert values(driver.tick())[:5] == [0.1, 0, 0.5, 0.6, 0]
    driver.time_s += PERIOD_S
    driver.joints(shoulder=0.7, elbow=0.8)
    assert values(driver.tick())[:5] == [0.1, 0, 0.7, 0.8, 0], "0.12 s old is not too old"
    driver.time_s += 0.01
    driver.joints(shoulder=0.9, elbow=0.9)
    assert driver.tick() is None
    assert {
        name: round(age, 9) for name, age in driver.sensing.outdated(driver.time_s, driver.now_ns).items() if age
    } == {"joint finger": 0.13}


def test_the_gripper_by_kinematics_is_as_old_as_its_oldest_joint() -> None:
    """That is the stamp of the observation, which every joint of the arm must renew; fingers need not be new."""
    driver = Arm()
    driver.joints(0.05, elbow=0.6)
    driver.joints(0.02, shoulder=0.5, finger=0.1)
    tick = driver.tick()
    assert tick is not None
    assert tick.stamp_ns == round((driver.time_s - 0.05) * 1e9)
    driver.time_s += PERIOD_S
    driver.joints(shoulder=0.6, finger=0.2)
    assert driver.tick() is None, "the elbow was observed already"
    driver.joints(0.01, elbow=0.7)
    tick = driver.tick()
    assert tick is not None
    assert tick.stamp_ns == round((driver.time_s - 0.01) * 1e9)
    assert values(tick)[2:4] == [0.6, 0.7]


def test_a_piece_of_joints_refused_leaves_the_others_alone() -> None:
    driver = Arm()
    driver.joints(shoulder=0.5, elbow=0.6, finger=0.1)
    driver.joints(0.05, toe=1.0)
    with pytest.raises(MessageError, match="joint elbow: older") as caught:
        driver.joints(0.01, elbow=0.9, toe=1.0)
    assert caught.value.reason == "reordered"
    assert values(driver.tick())[:4] == [0.1, 0, 0.5, 0.6]


def test_synchronised_ticks_take_pieces_of_one_stamp() -> None:
    joints = replace(TASK.obs, joints=("finger", "thumb"))
    driver = Driver(SIMULATOR)
    driver.sensing = Sensing(replace(TASK, obs=joints), replace(SIMULATOR, episodes=False))
    driver.pose("gripper", 1.0)
    driver.pose("goal", 9.0)
    driver.joints(finger=0.1)
    driver.joints(0.04, thumb=0.2)
    assert driver.sensing.tick_if_complete() is None
    assert driver.sensing.unmatched() == ["joint thumb"]
    driver.joints(thumb=0.2)
    assert driver.sensing.tick_if_complete() is not None


def test_f14_sources_of_the_same_joint_are_told_from_pieces_and_from_restarts() -> None:
    driver = Arm()

    def rivals() -> dict[frozenset[object], list[str]]:
        driver.time_s += 0.01
        return driver.sensing.rivals(driver.time_s)

    for _ in range(3):
        driver.joints(publisher="arm", shoulder=0.5, elbow=0.6)
        driver.joints(publisher="gripper", finger=0.1)
    assert rivals() == {}
    driver.joints(publisher="restarted gripper", finger=0.1)
    assert rivals() == {}
    driver.joints(publisher="another arm", elbow=0.9, head=0.0)
    assert rivals() == {}, "it may be a restarted one"
    driver.joints(publisher="arm", shoulder=0.5, elbow=0.6)
    assert rivals() == {frozenset({"arm", "another arm"}): ["joint elbow"]}
    driver.time_s += 60.0
    driver.joints(publisher="arm", shoulder=0.5, elbow=0.6)
    assert rivals() == {}, "it is gone"


def test_what_does_not_move_survives_a_jump_of_the_clock() -> None:
    """The goal was published once, for good, before the clock went back and even before it ran."""
    driver = Driver(replace(ROBOT, static_frames=("goal",)))
    driver.sensing.offer_pose("goal", ((9.0, 0.0, 0.0), UPRIGHT), driver.now_ns, 0.0, 0)
    with pytest.raises(MessageError, match="future"):
        driver.sensing.offer_pose("gripper", ((9.0, 0.0, 0.0), UPRIGHT), driver.now_ns, 0.0, 0)
    driver.sensing.forget()
    driver.time_s -= 50.0
    assert driver.outdated() == ["joint finger", "gripper"]
    driver.joints(finger=0.02)
    driver.pose("gripper", 1.0)
    assert driver.tick() is not None
    driver.pose("goal", 8.0)


def test_poses_are_moved_from_the_base_frame_to_the_world() -> None:
    driver = Driver(replace(ROBOT, base_position_w=(1.0, 2.0, 3.0)))
    driver.all(0.02, 0.5)
    assert values(driver.tick())[2:5] == [1.5, 2.0, 3.0]


def test_feedback_reads_what_each_action_component_moves() -> None:
    up, ahead = (ActionComponent(axis[-1], axis, "m/s", 1.0) for axis in END_EFFECTOR_VELOCITY[::-2])
    jaw = ActionComponent("jaw", "gripper_velocity", "m/s", 1.0)
    task = replace(TASK, action=ActionSpec((up, jaw, ahead)))
    observation = np.array([0.02, 9, 1.0, 2.0, 3.0, 9, 9, 9])
    assert CommandedPlace(task).read(observation) == (3.0, 0.02, 1.0)
    joint = ActionComponent("finger", "joint_velocity", "m/s", 1.0)
    renamed = ActionSpec((replace(up, name="up"), jaw, joint))
    assert CommandedPlace(replace(TASK, action=renamed)).read(observation) == (3.0, 0.02, 0.02)
    position = replace(joint, quantity="joint_position", unit="m")
    given = replace(position, name="lid")
    mixed = ActionSpec((ActionComponent("gear", "raw", "1", 1.0), given, position))

    def holding(other: ObsTerm) -> TaskSpec:
        return replace(TASK, action=mixed, obs=replace(TASK.obs, terms=(other, *TASK.obs.terms)))

    lidded = holding(named_term("lid", 1, "m"))
    assert CommandedPlace(lidded).read(np.array([0.75, *observation])) == (0.0, 0.75, 0.02)
    assert moved_joints(lidded) == ((), ("lid",), ("finger",))
    for other in (named_term("lid", 2, "m"), named_term("lid", 1, "m/s"), named_term("cover", 1, "m")):
        with pytest.raises(SpecError, match="lid"):
            CommandedPlace(holding(other))
    with pytest.raises(SpecError, match="elbow"):
        CommandedPlace(replace(TASK, action=ActionSpec((replace(joint, name="elbow"),))))


def test_all_sources_are_waited_for_before_anything_has_come() -> None:
    driver = Driver(SIMULATOR)
    assert driver.sensing.unmatched() == ["joint finger", "gripper", "goal", "episode"]
    driver.pose("goal", 1.0)
    assert driver.sensing.unmatched() == ["joint finger", "gripper", "episode"]
    driver.joints(finger=0.02)
    driver.pose("gripper", 1.0)
    assert driver.sensing.unmatched() == ["episode"]
    driver.sensing.offer_episode(EpisodeStep(1, 0, 0), driver.now_ns)
    assert driver.sensing.unmatched() == []

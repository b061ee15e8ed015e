"""Kinematics of an arm: configuration, and forward kinematics as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from reskill_core.frames import position_parameter, rotation_fault, rotation_parameter
from reskill_core.parameters import parameter

# In place of a model: its URDF is received on the topic `robot_description`.
MODEL_FROM_TOPIC = "topic"


@dataclass(frozen=True)
class Kinematics:
    """Forward kinematics of an arm.

    Attributes:
        joints: names of the required joints.
        pose: function from joint positions [m or rad] to position (3,) [m] and quaternion (4,), scalar first, of the
            end effector in the robot's base.
    """

    joints: tuple[str, ...]
    pose: Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class KinematicsConfig:
    """Kinematic model of the arm, and limits of its inverse kinematics.

    Joints have the names of the model; where the driver calls them otherwise, ``sensing.joints`` says how.
    """

    model: str = parameter(
        "",
        "`topic`: the URDF on robot_description; path of a URDF or MJCF file; robot_descriptions:NAME, a model of that "
        "package; empty: the simulated robot of the task",
    )
    base: str = parameter("", "link of the model that is the driver's base frame; empty: the model's root")
    end_effector: str = parameter("", "link or site of the model that carries the gripper")
    tool_position: tuple[float, float, float] = position_parameter(
        "position of the gripper frame, between the fingers, in the end effector", limit=2.0
    )
    tool_quat_wxyz: tuple[float, float, float, float] = rotation_parameter(
        "orientation of the gripper frame in the end effector"
    )
    joints: tuple[str, ...] = parameter(
        (), "commanded joints, from the base on; empty: all from the base to the end effector"
    )
    posture: tuple[float, ...] = parameter(
        (),
        "preferred position of each commanded joint, far from collisions, where the end effector leaves a choice; "
        "empty: where motion starts [m or rad]",
        low=-100.0,
        high=100.0,
    )
    max_speed: tuple[float, ...] = parameter(
        (1.0,),
        "largest speed of each commanded joint; one value, or one per joint [m/s or rad/s]",
        low=1e-3,
        high=100.0,
    )
    joint_margin: float = parameter(0.05, "distance to keep from the joints' limits [m or rad]", low=0.0, high=3.0)
    max_lead_s: float = parameter(
        0.05,
        "how far a commanded joint position may be ahead of the measured one, as time at the largest speed [s]; more "
        "than a servo lags behind lets commands go on after they have ended",
        low=0.001,
        high=10.0,
    )
    orientation_weight: float = parameter(
        0.3,
        "weight of an orientation error of 1 rad beside a position error of 1 m; small for arms with fewer than six "
        "joints [m/rad]",
        low=0.0,
        high=100.0,
    )

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        faults = []
        if fault := rotation_fault(self.tool_quat_wxyz):
            faults.append(f"tool_quat_wxyz: {fault}")
        if self.model and not self.end_effector:
            faults.append("end_effector: the name of a link or site of the model is needed")
        for name in ("posture", "max_speed"):
            given = len(getattr(self, name))
            allowed = {len(self.joints), 1} if name == "max_speed" else {len(self.joints), 0}
            if self.joints and given not in allowed:
                faults.append(f"{name}: has {given} values for {len(self.joints)} joints")
        return faults

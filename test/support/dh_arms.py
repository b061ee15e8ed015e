"""Robot arms by their manufacturers' Denavit-Hartenberg parameters, as URDF."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

PI = math.pi


@dataclass(frozen=True)
class Link:
    """A joint and the link that it moves.

    Attributes:
        joint: name.
        a: Denavit-Hartenberg parameter [m].
        alpha: parameter [rad].
        d: parameter [m].
        mass: mass of the link [kg].
        effort: largest torque [N m].
        speed: largest speed [rad/s].
        low: lower limit [rad]; with the upper one, None if the joint turns without end.
        high: upper limit [rad].
        theta: offset of the joint's angle [rad].
    """

    joint: str
    a: float
    alpha: float
    d: float
    mass: float
    effort: float
    speed: float
    low: float | None = -2 * PI
    high: float | None = 2 * PI
    theta: float = 0.0


@dataclass(frozen=True)
class Arm:
    """An arm.

    Attributes:
        name: name.
        links: its links, from the base on.
        modified: whether the parameters are Craig's modified ones: a and alpha before the joint, theta and d after it.
        base: transform before the first joint: a [m], alpha [rad], d [m], theta [rad].
        flange: distance of the flange from the last frame, along its z [m].
        tip: name of the link at the flange.
        tool: distance of the gripper frame, between the fingers, from the flange, along its z [m].
        palm_mass: mass of the gripper without its fingers [kg].
        start: position of each joint at the start, with the gripper pointing down in front of the arm [rad].
    """

    name: str
    links: tuple[Link, ...]
    start: tuple[float, ...]
    modified: bool = False
    base: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    flange: float = 0.0
    tip: str = "tool0"
    tool: float = 0.14
    palm_mass: float = 0.5

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(link.joint for link in self.links)

    def urdf(self) -> str:
        """URDF: links base_link, NAME_link for each joint, and the one at the flange."""
        robot = ElementTree.Element("robot", name=self.name)
        _link(robot, "base_link", None, np.eye(4))
        parent, pending = "base_link", _screw(*self.base)
        for link in self.links:
            if self.modified:
                pending = pending @ _screw(link.a, link.alpha, 0.0, 0.0)
            origin = pending @ _screw(0.0, 0.0, 0.0, link.theta)
            child = f"{link.joint}_link"
            joint = _joint(robot, link.joint, "continuous" if link.low is None else "revolute", parent, child, origin)
            ElementTree.SubElement(joint, "axis", xyz="0 0 1")
            limit = {"effort": str(link.effort), "velocity": str(link.speed)}
            if link.low is not None and link.high is not None:
                limit |= {"lower": str(link.low), "upper": str(link.high)}
            ElementTree.SubElement(joint, "limit", limit)
            pending = _screw(0.0, 0.0, link.d, 0.0) if self.modified else _screw(link.a, link.alpha, link.d, 0.0)
            _link(robot, child, link.mass, pending)
            parent = child
        _joint(robot, "flange", "fixed", parent, self.tip, pending @ _screw(0.0, 0.0, self.flange, 0.0))
        _link(robot, self.tip, None, np.eye(4))
        return ElementTree.tostring(robot, encoding="unicode")


def _screw(a: float, alpha: float, d: float, theta: float) -> NDArray[np.float64]:
    """Rz(theta) Tz(d) Tx(a) Rx(alpha)."""
    ct, st, ca, sa = math.cos(theta), math.sin(theta), math.cos(alpha), math.sin(alpha)
    return np.array([[ct, -st * ca, st * sa, a * ct], [st, ct * ca, -ct * sa, a * st], [0, sa, ca, d], [0, 0, 0, 1]])


def _joint(
    robot: ElementTree.Element, name: str, kind: str, parent: str, child: str, origin: NDArray[np.float64]
) -> ElementTree.Element:
    joint = ElementTree.SubElement(robot, "joint", name=name, type=kind)
    ElementTree.SubElement(joint, "parent", link=parent)
    ElementTree.SubElement(joint, "child", link=child)
    pitch = math.atan2(-origin[2, 0], math.hypot(origin[0, 0], origin[1, 0]))
    roll, yaw = math.atan2(origin[2, 1], origin[2, 2]), math.atan2(origin[1, 0], origin[0, 0])
    numbers = {"xyz": origin[:3, 3], "rpy": np.array([roll, pitch, yaw])}
    ElementTree.SubElement(joint, "origin", {key: " ".join(f"{x:.12g}" for x in row) for key, row in numbers.items()})
    return joint


def _link(robot: ElementTree.Element, name: str, mass: float | None, end: NDArray[np.float64]) -> None:
    """A link with the mass of a rod from its joint to the next one."""
    link = ElementTree.SubElement(robot, "link", name=name)
    if mass is None:
        return
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "mass", value=str(mass))
    middle = " ".join(f"{x:.12g}" for x in end[:3, 3] / 2)
    ElementTree.SubElement(inertial, "origin", xyz=middle, rpy="0 0 0")
    # As of a ball as wide as the rod is long: the difference does not matter to a controller.
    moment = str(mass * (0.1 * float(end[:3, 3] @ end[:3, 3]) + 0.4 * 0.05**2))
    ElementTree.SubElement(inertial, "inertia", ixx=moment, iyy=moment, izz=moment, ixy="0", ixz="0", iyz="0")


# Universal Robots, "DH parameters for calculations of kinematics and dynamics".
UR5E = Arm(
    "ur5e",
    (
        Link("shoulder_pan_joint", 0.0, PI / 2, 0.1625, 3.761, 150.0, PI),
        Link("shoulder_lift_joint", -0.425, 0.0, 0.0, 8.058, 150.0, PI),
        Link("elbow_joint", -0.3922, 0.0, 0.0, 2.846, 150.0, PI, -PI, PI),
        Link("wrist_1_joint", 0.0, PI / 2, 0.1333, 1.37, 28.0, PI),
        Link("wrist_2_joint", 0.0, -PI / 2, 0.0997, 1.3, 28.0, PI),
        Link("wrist_3_joint", 0.0, 0.0, 0.0996, 0.365, 28.0, PI),
    ),
    (0.0, -1.9, 2.0, -1.67, -PI / 2, 0.0),
    # In ROS, base_link is turned by half a turn against the manufacturer's base.
    base=(0.0, 0.0, 0.0, PI),
)
# Kinova, Gen3 user guide, 7 degrees of freedom, spherical wrist.
GEN3 = Arm(
    "gen3",
    (
        Link("joint_1", 0.0, PI / 2, -(0.1564 + 0.1284), 1.377, 39.0, 1.39, None, None),
        Link("joint_2", 0.0, PI / 2, -(0.0054 + 0.0064), 1.163, 39.0, 1.39, -2.41, 2.41, PI),
        Link("joint_3", 0.0, PI / 2, -(0.2104 + 0.2104), 1.163, 39.0, 1.39, None, None, PI),
        Link("joint_4", 0.0, PI / 2, -(0.0064 + 0.0064), 0.930, 39.0, 1.39, -2.66, 2.66, PI),
        Link("joint_5", 0.0, PI / 2, -(0.2084 + 0.1059), 0.678, 9.0, 1.22, None, None, PI),
        Link("joint_6", 0.0, PI / 2, 0.0, 0.678, 9.0, 1.22, -2.23, 2.23, PI),
        Link("joint_7", 0.0, PI, -(0.1059 + 0.0615), 0.501, 9.0, 1.22, None, None, PI),
    ),
    (0.0, 0.26, PI, -2.27, 0.0, 0.96, PI / 2),
    base=(0.0, PI, 0.0, 0.0),
    tip="end_effector_link",
)
# Franka Robotics, "Robot and interface specifications".
FRANKA = Arm(
    "fr3",
    (
        Link("fr3_joint1", 0.0, 0.0, 0.333, 4.97, 87.0, 2.62, -2.7437, 2.7437),
        Link("fr3_joint2", 0.0, -PI / 2, 0.0, 0.65, 87.0, 2.62, -1.7837, 1.7837),
        Link("fr3_joint3", 0.0, PI / 2, 0.316, 3.23, 87.0, 2.62, -2.9007, 2.9007),
        Link("fr3_joint4", 0.0825, PI / 2, 0.0, 3.59, 87.0, 2.62, -3.0421, -0.1518),
        Link("fr3_joint5", -0.0825, -PI / 2, 0.384, 1.23, 12.0, 5.26, -2.8065, 2.8065),
        Link("fr3_joint6", 0.0, PI / 2, 0.0, 1.67, 12.0, 4.18, 0.5445, 4.5169),
        Link("fr3_joint7", 0.088, PI / 2, 0.0, 0.74, 12.0, 5.26, -3.0159, 3.0159),
    ),
    (0.0, -PI / 4, 0.0, -3 * PI / 4, 0.0, PI / 2, PI / 4),
    modified=True,
    flange=0.107,
)
# The Robot Studio, SO-101: dimensions, ranges and masses of its URDF (new calibration), whose gripper frame is the
# flange here; stall torque of its servos, STS3215 at 12 V.
SO101 = Arm(
    "so101",
    (
        Link("shoulder_pan", 0.0304, PI / 2, -0.1166, 0.1, 2.94, 4.7, -1.91986, 1.91986),
        Link("shoulder_lift", 0.116, 0.0, -0.0183, 0.103, 2.94, 4.7, -1.74533, 1.74533, -1.327),
        Link("elbow_flex", 0.135, 0.0, 0.0, 0.104, 2.94, 4.7, -1.69, 1.69, 1.28848),
        Link("wrist_flex", 0.0, PI / 2, 0.0181, 0.079, 2.94, 4.7, -1.65806, 1.65806, -1.53227),
        Link("wrist_roll", 0.0079, PI, -0.15923, 0.099, 2.94, 4.7, -2.74385, 2.84121, 3.09291),
    ),
    (0.0, -0.3, 0.4, PI / 2 - 0.1, 0.0),
    base=(0.0388, PI, 0.0, 0.0),
    tip="gripper_frame_link",
    tool=0.0,
    palm_mass=0.02,
)

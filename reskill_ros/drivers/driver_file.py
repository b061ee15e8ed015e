"""Driver files: one YAML file per robot with its sensor topics, command interface and limits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reskill_core.config import config_from_dict, read_yaml
from reskill_core.errors import ConfigError, alternatives
from reskill_core.gate import GateConfig
from reskill_core.kinematics import KinematicsConfig
from reskill_core.parameters import parameter
from reskill_core.resources import config_folder
from reskill_core.sensing import SensingConfig
from reskill_core.spec import GRIPPER_FRAME
from reskill_ros.drivers.adapters import ADAPTERS, adapter_options
from reskill_ros.drivers.driver_topics import TopicConfig
from reskill_ros.drivers.poses.config import TF, TOPIC, PoseConfig


@dataclass(frozen=True)
class CommandConfig:
    """Command interface of the driver."""

    adapter: str = parameter("servo_twist", "kind of command interface; see reskill_ros/drivers/adapters")
    options: dict[str, Any] = field(default_factory=dict, metadata={"description": "options of the adapter"})

    def violations(self) -> list[str]:
        """List an unknown adapter or invalid options."""
        try:
            adapter_options(self.adapter, self.options)
        except ConfigError as error:
            return [f"options: {error}" if self.options else f"adapter: {error}"]
        return []


@dataclass(frozen=True)
class DriverConfig:
    """Configuration of one robot."""

    description: str = parameter("", "description in one sentence")
    base_frame: str = parameter("", "required frame of poses, checked in each message; empty accepts any")
    transform_poses: bool = parameter(
        False, "transform poses in other frames to `base_frame` by tf, at their stamps, instead of refusing them"
    )
    reliable_sensors: bool = parameter(
        False, "subscribe to sensors reliably; requires reliable publishers, like the simulator's"
    )
    topics: TopicConfig = field(default_factory=TopicConfig)
    poses: dict[str, PoseConfig] = field(
        default_factory=dict,
        metadata={
            "description": "by frame of the observation (`gripper`, `goal`, the name of an object), the source of its "
            "pose, see [Poses](#poses); of frames that are not listed, the topic in `topics`"
        },
    )
    sensing: SensingConfig = field(default_factory=SensingConfig)
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)
    command: CommandConfig = field(default_factory=CommandConfig)
    gate: GateConfig = field(default_factory=GateConfig)

    def violations(self) -> list[str]:
        """List a command frame that differs from the base frame, and poses that cannot come as described."""
        frame_id = self.command.options.get("frame_id", "")
        faults = self._pose_violations()
        if self.base_frame and frame_id not in ("", self.base_frame):
            faults.append(f"command.options.frame_id: commands are in base_frame {self.base_frame!r}, got {frame_id!r}")
        return faults

    def _pose_violations(self) -> list[str]:
        from_tf = [f"poses.{frame}" for frame, source in self.poses.items() if source.kind == TF]
        faults = []
        if not self.base_frame:
            users = from_tf + ["transform_poses"] * self.transform_poses
            faults += [f"{user}: tf transforms to base_frame, which must be named" for user in users]
        if self.sensing.trigger == "synchronised":
            faults += [f"{user}: transforms have stamps of their own; set sensing.trigger: timer" for user in from_tf]
        if GRIPPER_FRAME in self.poses and self.sensing.gripper == "kinematics":
            faults.append(f"poses.{GRIPPER_FRAME}: sensing.gripper is kinematics; remove one of them")
        return faults

    def pose(self, frame: str) -> PoseConfig:
        """Return the source of the pose of a frame, with its topic."""
        source = self.poses.get(frame, PoseConfig())
        return source if source.topic or source.kind != TOPIC else replace(source, topic=self.topics.pose(frame))

    def unknown_joints(self, known: Collection[str]) -> list[str]:
        """List joints in this file that the robot does not have.

        Args:
            known: joint names of the task's robot, as in observations.
        """
        mapped = {*known, *self.kinematics.joints}
        # Without a list of joints they are those of the model, which is not loaded here.
        is_listed = bool(self.kinematics.joints) or not self.kinematics.model
        faults = [
            f"sensing.joints.{name}: unknown joint; {alternatives(name, mapped)}"
            for name in self.sensing.joints
            if is_listed and name not in mapped
        ] + [
            f"sensing.joint_velocities.{term}: unknown joint; {alternatives(name, known)}"
            for term, names in self.sensing.joint_velocities.items()
            for name in names
            if name not in known
        ]
        drivers = [self.sensing.joint(name).name for name in known]
        try:
            options = adapter_options(self.command.adapter, self.command.options)
        except ConfigError:
            return faults
        return faults + [
            f"command.options: the driver has no joint {name!r}; {alternatives(name, drivers)} (sensing.joints says "
            "what the driver calls them)"
            for name in ADAPTERS.get(self.command.adapter).commanded_joints(options)
            if name not in drivers
        ]

    def require_joints(self, known: Collection[str]) -> None:
        """Check that the robot has all joints of this file; see :meth:`unknown_joints`.

        Raises:
            ConfigError: lists the unknown joints.
        """
        faults = self.unknown_joints(known)
        if faults:
            raise ConfigError("the driver file does not fit the robot:\n" + "\n".join(f"  - {f}" for f in faults))


def load_driver(name_or_path: str, joints: Collection[str] = ()) -> DriverConfig:
    """Read a driver file.

    Args:
        name_or_path: name of a file in ``config/drivers``, without its suffix, or a path.
        joints: joint names of the robot, to check those of the file; empty leaves the check to
            :meth:`DriverConfig.require_joints`.

    Raises:
        ConfigError: the file is missing (the message lists the known names) or invalid.
    """
    folder = config_folder() / "drivers"
    path = Path(name_or_path)
    if path.suffix != ".yaml":
        path = folder / f"{name_or_path}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        raise ConfigError(
            f"no driver {name_or_path!r}; {alternatives(name_or_path, names)}; or give the path of a .yaml"
        )

    def rules(driver: DriverConfig) -> list[str]:
        return driver.unknown_joints(joints) if joints else []

    return config_from_dict(DriverConfig, read_yaml(path), str(path), rules)

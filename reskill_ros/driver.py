"""Drivers: one YAML file per robot says what it publishes, what it takes, and the limits it is held to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reskill_core.config import load_config
from reskill_core.errors import ConfigError
from reskill_core.gate import GateConfig
from reskill_core.parameters import parameter
from reskill_core.resources import config_folder
from reskill_core.sensing import SensingConfig
from reskill_ros.adapters import adapter_options


@dataclass(frozen=True)
class TopicConfig:
    """The driver's topics that observations are made of; ``{name}`` stands for the object."""

    joint_states: str = parameter("joint_states", "sensor_msgs/JointState")
    ee_pose: str = parameter("ee_pose", "geometry_msgs/PoseStamped of the gripper frame")
    objects: str = parameter("objects/{name}/pose", "geometry_msgs/PoseStamped of each object")
    goal_pose: str = parameter("goal_pose", "geometry_msgs/PoseStamped of the goal")
    episode: str = parameter("episode", "reskill_ros/EpisodeState, if the driver has episodes")


@dataclass(frozen=True)
class CommandConfig:
    """How the driver is commanded."""

    adapter: str = parameter("servo_twist", "kind of command interface; see reskill_ros/adapters")
    options: dict[str, Any] = field(default_factory=dict, metadata={"description": "options of the adapter"})

    def violations(self) -> list[str]:
        """An unknown adapter, or options it does not have."""
        try:
            adapter_options(self.adapter, self.options)
        except ConfigError as error:
            return [f"options: {error}" if self.options else f"adapter: {error}"]
        return []


@dataclass(frozen=True)
class DriverConfig:
    """Everything that differs from robot to robot."""

    description: str = parameter("", "one sentence for people")
    base_frame: str = parameter("", "frame that poses must be expressed in, checked in each message; empty accepts any")
    reliable_sensors: bool = parameter(
        False, "subscribe to sensors reliably; needs publishers that are reliable, as the simulator's are"
    )
    topics: TopicConfig = field(default_factory=TopicConfig)
    sensing: SensingConfig = field(default_factory=SensingConfig)
    command: CommandConfig = field(default_factory=CommandConfig)
    gate: GateConfig = field(default_factory=GateConfig)


def load_driver(name_or_path: str) -> DriverConfig:
    """Read a driver file.

    Args:
        name_or_path: the name of a file in ``config/drivers``, without its ending, or a path.

    Raises:
        ConfigError: there is none, with the names there are, or it is invalid.
    """
    folder = config_folder() / "drivers"
    path = Path(name_or_path)
    if path.suffix != ".yaml":
        path = folder / f"{name_or_path}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        raise ConfigError(f"no driver {name_or_path!r}; known: {', '.join(names)}; or give the path of a .yaml file")
    return load_config(DriverConfig, path)

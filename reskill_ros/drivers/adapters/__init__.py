"""Registry of driver adapters. Add a file to this folder and a line here, or an entry point in another package."""

from __future__ import annotations

from typing import Any

from reskill_core.config import config_from_dict
from reskill_core.plugins import Registry
from reskill_ros.drivers.adapters.base import Adapter, Channel

ADAPTERS = Registry(
    "reskill.adapters",
    "adapter",
    {
        "servo_twist": "reskill_ros.drivers.adapters.servo_twist:ServoTwistAdapter",
        "twist": "reskill_ros.drivers.adapters.servo_twist:TwistAdapter",
        "joint_trajectory": "reskill_ros.drivers.adapters.joint_trajectory:JointTrajectoryAdapter",
        "joint_forward": "reskill_ros.drivers.adapters.joint_forward:JointForwardAdapter",
        "cartesian_forward": "reskill_ros.drivers.adapters.cartesian_forward:CartesianForwardAdapter",
        "by_quantity": "reskill_ros.drivers.adapters.by_quantity:ByQuantityAdapter",
    },
)


def adapter_options(name: str, options: dict[str, Any]) -> Any:
    """Convert the options of an adapter to its options dataclass.

    Raises:
        ConfigError: the adapter is unknown or an option is invalid.
    """
    return config_from_dict(ADAPTERS.get(name).Options, options, source=f"options of adapter {name}")


def make_adapter(name: str, channel: Channel, options: dict[str, Any]) -> Adapter:
    """Create an adapter by name; see :func:`adapter_options`."""
    adapter: Adapter = ADAPTERS.get(name)(channel, adapter_options(name, options))
    return adapter


__all__ = ["ADAPTERS", "Adapter", "Channel", "adapter_options", "make_adapter"]

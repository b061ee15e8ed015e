"""Driver adapters by name. A new one is one file in this folder and one line here."""

from __future__ import annotations

from typing import Any

from reskill_core.config import config_from_dict
from reskill_core.errors import require_choice
from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.drivers.adapters.forward import ForwardAdapter
from reskill_ros.drivers.adapters.servo_twist import ServoTwistAdapter

ADAPTERS: dict[str, type[Adapter]] = {
    "servo_twist": ServoTwistAdapter,
    "forward": ForwardAdapter,
}


def adapter_options(name: str, options: dict[str, Any]) -> Any:
    """The options of an adapter as its own configuration.

    Raises:
        ConfigError: there is no such adapter, or an option is invalid.
    """
    require_choice("adapter", name, tuple(ADAPTERS))
    return config_from_dict(ADAPTERS[name].Options, options, source=f"options of adapter {name}")


def make_adapter(name: str, channel: Channel, options: dict[str, Any]) -> Adapter:
    """Build an adapter by name; see :func:`adapter_options`."""
    return ADAPTERS[name](channel, adapter_options(name, options))


__all__ = ["ADAPTERS", "Adapter", "Channel", "adapter_options", "make_adapter"]

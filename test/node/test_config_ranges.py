"""Every number in every configuration of the project has a range, and what is outside is refused."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Any, get_type_hints

import pytest

import reskill_core
import reskill_ros
import reskill_sim
from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.errors import ConfigError
from reskill_core.parameters import holds_numbers, range_violations, require_ranges

_NAMES = ("Config", "Parameters", "Options", "Arguments", "Schedule", "Variation", "JointSource")
_REQUIRED = {
    **{name: name for name in ("task", "skills", "out", "data", "name", "agent")},
    **{"agents": ("a",), "variants": {"v": {}}, "policies": ("zero",), "variation": {"action_delay": [0, 1]}},
}


def configurations() -> Iterator[type]:
    found: dict[str, type] = {}
    for package in (reskill_core, reskill_sim, reskill_ros):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__") or module.name == "reskill_ros.graphs.launch_description":
                continue
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and is_dataclass(value) and value.__name__.endswith(_NAMES):
                    found[f"{value.__module__}.{value.__qualname__}"] = value
    yield from found.values()


CONFIGURATIONS = list(configurations())
NUMBERS = [
    (schema, item.name)
    for schema in CONFIGURATIONS
    for item in fields(schema)
    if holds_numbers(get_type_hints(schema)[item.name])
]


def example(schema: Any) -> Any:
    """An instance with all defaults."""
    return schema(**{item.name: _REQUIRED[item.name] for item in fields(schema) if is_required(item)})


def is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def test_the_walk_finds_the_configurations() -> None:
    names = {schema.__name__ for schema in CONFIGURATIONS}
    expected = {"AgentTrainingConfig", "SkillTrainingConfig", "PpoConfig", "CollectConfig", "StudyConfig", "Variation"}
    expected |= {"GateConfig", "SensingConfig", "GripperOptions", "SimParameters", "PolicyArguments", "DriverConfig"}
    assert expected <= names
    assert len(NUMBERS) > 100


@pytest.mark.parametrize("schema", CONFIGURATIONS, ids=lambda schema: schema.__name__)
def test_every_number_has_a_range_that_its_default_is_in(schema: type) -> None:
    require_ranges(schema)
    assert range_violations(example(schema)) == []


@pytest.mark.parametrize(("schema", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", value))
def test_numbers_out_of_range_are_refused(schema: type, name: str) -> None:
    (item,) = (item for item in fields(schema) if item.name == name)
    low, high = item.metadata["low"], item.metadata["high"]
    config = example(schema)
    default = getattr(config, name)
    for wrong in (low - 1, high + 1, -(10**400), 10**400, math.inf, -math.inf, math.nan):
        value: Any = (wrong,) * max(len(default), 1) if isinstance(default, tuple) else wrong
        faults = range_violations(replace(config, **{name: value}))
        assert any(fault.startswith(f"{name}:") for fault in faults), wrong
        with pytest.raises(ConfigError, match=name):
            config_from_dict(schema, {**config_to_dict(config), name: value})

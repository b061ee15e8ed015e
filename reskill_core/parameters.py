"""Documented fields of a configuration: a description, a range or choices, and whether it may change while running.

One declaration serves the configuration file, the ROS parameters with their descriptions, and the documentation.
"""

from __future__ import annotations

import math
from dataclasses import Field, field, fields
from typing import Any


def parameter(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    """A dataclass field with its documentation and limits.

    Args:
        default: value without configuration.
        description: one sentence for people, with the unit.
        low: smallest valid number; of a tuple, of each entry.
        high: largest valid number; of a tuple, of each entry.
        choices: the valid strings; of a tuple, of each entry.
        read_only: the value is fixed once a node has started.
    """
    return field(
        default=default,
        metadata={
            "description": description,
            "low": low,
            "high": high,
            "choices": choices,
            "read_only": read_only,
        },
    )


def range_violations(config: Any) -> list[str]:
    """Every field of a dataclass instance that is outside its range or choices, or not a finite number."""
    return [
        f"{item.name}: {fault}, got {value!r}"
        for item in fields(config)
        for value in _entries(getattr(config, item.name))
        if (fault := _fault(item, value))
    ]


def _entries(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _fault(item: Field[Any], value: Any) -> str:
    choices = item.metadata.get("choices", ())
    if choices and value not in choices:
        return f"must be one of {', '.join(choices)}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    if not math.isfinite(value):
        return "must be finite"
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if low is not None and value < low:
        return f"must be at least {low:g}"
    if high is not None and value > high:
        return f"must be at most {high:g}"
    return ""

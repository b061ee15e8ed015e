"""Documented fields of a configuration: description, range or choices, and whether they may change at run time.

One declaration is used for configuration files, ROS parameters with their descriptions, and the documentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from reskill_core.text import shortened

# Simulators store seeds in float64 arrays, which hold integers up to this one exactly.
MAX_SEED = 2**53
_HINTS: dict[type[Any], dict[str, Any]] = {}


def parameter(
    default: Any = MISSING,
    description: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    entries: int = 1000,
    read_only: bool = False,
) -> Any:
    """Declare a dataclass field with documentation and limits; every numeric field needs ``low`` and ``high``.

    Args:
        default: default value; without one the field is required.
        description: one sentence with the unit, if the docstring of the class does not describe the field.
        low: smallest valid number; for a tuple, of each entry.
        high: largest valid number; for a tuple, of each entry.
        choices: the valid strings; for a tuple, of each entry.
        entries: maximum length of a tuple.
        read_only: the value is fixed once a node has started.
    """
    return field(
        default=default,
        metadata={
            "description": description,
            "low": low,
            "high": high,
            "choices": choices,
            "entries": entries,
            "read_only": read_only,
        },
    )


def range_violations(config: Any) -> list[str]:
    """List the fields of a dataclass instance that are outside their range or choices, or not finite."""
    return [
        f"{item.name}: {fault}, got {shortened(value)}"
        for item in fields(config)
        for value in _entries(item, getattr(config, item.name))
        if (fault := _fault(item, value))
    ]


def hints_of(schema: type[Any]) -> dict[str, Any]:
    """Return the types of a dataclass's fields; cached, because resolving them is slow."""
    if schema not in _HINTS:
        _HINTS[schema] = get_type_hints(schema)
    return _HINTS[schema]


def holds_numbers(hint: Any) -> bool:
    """Whether a field of that type holds numbers: integers or floats, or tuples, mappings or unions of them."""
    if get_origin(hint) is Literal:
        return False
    return hint in (int, float) or any(map(holds_numbers, get_args(hint)))


def sections_of(hint: Any) -> Iterator[type]:
    """Find the dataclasses in a field's type: the type itself, or those in its tuples and mappings."""
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for argument in get_args(hint):
        yield from sections_of(argument)


def require_ranges(schema: type) -> None:
    """Check that all numeric fields of a configuration class have bounds.

    Raises:
        TypeError: a numeric field of this class or of one of its sections has no bounds.
    """
    hints = hints_of(schema)
    for item in fields(schema):
        if holds_numbers(hints[item.name]) and None in (item.metadata.get("low"), item.metadata.get("high")):
            raise TypeError(f"{schema.__name__}.{item.name} holds numbers: it needs parameter(low=…, high=…)")
        for section in sections_of(hints[item.name]):
            require_ranges(section)


def written(bound: float) -> str:
    """Format a bound; integers in full."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _entries(item: Field[Any], value: Any) -> tuple[Any, ...]:
    """Values to check one by one; a tuple that is too long is checked as a whole."""
    return value if isinstance(value, tuple) and len(value) <= _most(item) else (value,)


def _most(item: Field[Any]) -> int:
    return int(item.metadata.get("entries", 1000))


def _fault(item: Field[Any], value: Any) -> str:
    choices = item.metadata.get("choices", ())
    if isinstance(value, tuple) and len(value) > _most(item):
        return f"must have at most {_most(item)} entries"
    if choices and value not in choices:
        return f"must be one of {', '.join(choices)}"
    if isinstance(value, str) and "\0" in value:
        return "must not hold the character NUL"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be finite"
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if low is not None and value < low:
        return f"must be at least {written(low)}"
    if high is not None and value > high:
        return f"must be at most {written(high)}"
    return ""

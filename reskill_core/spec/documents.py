"""Documents of specifications: nested dictionaries and lists, ready for JSON, and their comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, SpecError
from reskill_core.text import shortened

T = TypeVar("T")


def with_keys(document: Any, *keys: str) -> Mapping[str, Any]:
    """Check that a document has these keys, and return it.

    Raises:
        SpecError: it is not a mapping, or a key is missing.
    """
    if not isinstance(document, Mapping) or not document.keys() >= set(keys):
        raise SpecError(f"a specification needs {', '.join(keys)}, found {shortened(document)}")
    return document


def parsed(cls: type[T], document: Mapping[str, Any]) -> T:
    """Parse a specification from its document.

    Raises:
        SpecError: lists every key that is unknown and every value that has the wrong type or is out of range.
    """
    try:
        return config_from_dict(cls, document, source="the specification")
    except ConfigError as error:
        raise SpecError(str(error)) from error


def plain(value: Any) -> Any:
    """Replace tuples by lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def differences(path: str, mine: Any, theirs: Any) -> list[str]:
    """List all differences between two documents, as ``path: mine != theirs``."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted(mine.keys() | theirs.keys()):
            child = f"{path}.{key}" if path else key
            found += differences(child, mine.get(key, "(absent)"), theirs.get(key, "(absent)"))
        return found
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        return [d for i, pair in enumerate(zip(mine, theirs, strict=True)) for d in differences(f"{path}[{i}]", *pair)]
    if isinstance(mine, float) and isinstance(theirs, float) and math.isclose(mine, theirs, rel_tol=1e-12):
        return []
    return [] if mine == theirs else [f"{path}: {mine!r} != {theirs!r}"]

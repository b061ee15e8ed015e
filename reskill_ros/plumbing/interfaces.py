"""Message types by name: classes and definitions as text."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from reskill_core.errors import GraphError

_SEPARATOR = "=" * 80
_FIELD = re.compile(r"^\s*(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+")
# Types are imported by untrusted names, so the form of names is strict.
_TYPE_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_]*)/msg/([A-Za-z][A-Za-z0-9_]*)")
_PRIMITIVE = re.compile(r"bool|byte|char|w?string|float(32|64)|u?int(8|16|32|64)")


def split_type_name(type_name: str) -> tuple[str, str]:
    """Split a type name: ``("std_msgs", "Header")`` for ``std_msgs/msg/Header``.

    Raises:
        GraphError: the name does not have that form.
    """
    match = _TYPE_NAME.fullmatch(type_name)
    if match is None:
        raise GraphError(f"message type {type_name!r} is not of the form package/msg/Name")
    return match[1], match[2]


@cache
def message_class(type_name: str) -> type[Any]:
    """Import the Python class of a message type, such as ``std_msgs/msg/Header``.

    Raises:
        GraphError: its package or the type itself is not installed.
    """
    package, name = split_type_name(type_name)
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise GraphError(f"message type {type_name} is not installed here; install the package {package}") from error


@cache
def message_definition(type_name: str) -> str:
    """Read the definition of a message type and of all types it contains, in the form embedded in bags.

    Raises:
        GraphError: a definition is not installed.
    """
    texts: dict[str, str] = {}
    pending = [type_name]
    while pending:
        current = pending.pop(0)
        if current not in texts:
            texts[current] = _definition_text(current)
            pending += _field_types(current, texts[current])
    root = texts.pop(type_name)
    return "\n".join([root, *(f"{_SEPARATOR}\nMSG: {_short(name)}\n{text}" for name, text in texts.items())])


def same_definition(type_name: str, text: str) -> bool:
    """Whether a definition, with those of all types it contains, is equivalent to the installed one.

    Comments, layout and the order of types are ignored.
    """
    return _fields_by_type(text) == _fields_by_type(message_definition(type_name))


def _fields_by_type(text: str) -> dict[str, list[str]]:
    """Significant lines of a definition by type; those of the root have an empty name."""
    sections: dict[str, list[str]] = {"": []}
    current = sections[""]
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["MSG:"]:
            current = sections.setdefault(words[-1], [])
        elif words and set(line.strip()) != {"="}:
            current.append(" ".join(words))
    return sections


def _definition_text(type_name: str) -> str:
    package, name = split_type_name(type_name)
    # Without the ament index, which contains a pip-installed ROS 2 only if it is the underlay of a build.
    module = Path(str(importlib.import_module(message_class(type_name).__module__).__file__))
    for folder in module.parents:
        file = folder / "share" / package / "msg" / f"{name}.msg"
        if file.is_file():
            return file.read_text()
    raise GraphError(f"the definition of {type_name} is not installed: no share/{package}/msg/{name}.msg near {module}")


def _field_types(type_name: str, text: str) -> list[str]:
    """Full names of the message types of a definition's fields."""
    package = split_type_name(type_name)[0]
    found = []
    for line in text.splitlines():
        field = _FIELD.match(line)
        if field and not _PRIMITIVE.fullmatch(field["type"]):
            parts = field["type"].split("/")
            owner = package if len(parts) == 1 else parts[0]
            found.append(f"{owner}/msg/{parts[-1]}")
    return found


def _short(type_name: str) -> str:
    return "/".join(split_type_name(type_name))

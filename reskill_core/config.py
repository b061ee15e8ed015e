"""Configuration: a frozen dataclass is the schema, a YAML file and ``a.b=value`` overrides fill it in.

Unknown keys and wrong types are refused, all of them at once, with the full path of each and the closest valid key.
A dataclass may define ``violations(self) -> list[str]`` for rules that span fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from reskill_core.errors import ConfigError

T = TypeVar("T")


def load_config(cls: type[T], path: Path | str | None = None, overrides: Sequence[str] = ()) -> T:
    """Build a configuration from its defaults, then a YAML file, then dotted overrides.

    Args:
        cls: the configuration's dataclass.
        path: a YAML file, or None for defaults.
        overrides: ``key.subkey=value`` strings; values are parsed as YAML.

    Raises:
        ConfigError: the file is missing or not YAML, or the result is invalid; lists every fault.
    """
    document = read_yaml(Path(path)) if path is not None else {}
    for override in overrides:
        _apply_override(document, override)
    return config_from_dict(cls, document, source=str(path) if path is not None else "overrides")


def config_from_dict(cls: type[T], document: Mapping[str, Any], source: str = "configuration") -> T:
    """Build a configuration from nested dictionaries.

    Raises:
        ConfigError: lists every unknown key, wrong type and violated rule, with the full path of each.
    """
    faults = _unknown_keys(cls, document, "")
    if not faults:
        try:
            config = TypeAdapter(cls).validate_python(_filled(document, _defaults(cls)))
        except ValidationError as error:
            faults = [
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}, got {item['input']!r}"
                for item in error.errors()
            ]
        else:
            faults = _violations(config, "")
            if not faults:
                return config
    raise ConfigError(f"{source} is not a valid {cls.__name__}:\n" + "\n".join(f"  - {fault}" for fault in faults))


def config_to_dict(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries, lists and scalars, ready for YAML and JSON."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def save_config(config: Any, path: Path) -> None:
    """Write a configuration as YAML that :func:`load_config` reads back to an equal object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False))


def read_yaml(path: Path) -> dict[str, Any]:
    """The key: value pairs of a YAML file.

    Raises:
        ConfigError: it is missing or holds something else.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold key: value pairs, found {type(document).__name__}")
    return document


def _apply_override(document: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r} is not of the form key.subkey=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"value of override {override!r} is not valid YAML: {error}") from error
    *parents, last = key.split(".")
    for parent in parents:
        child = document.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value, not a section")
        document = child
    document[last] = value


def _unknown_keys(cls: Any, document: Mapping[str, Any], path: str) -> list[str]:
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls) if field.init]
    faults = []
    for key, value in document.items():
        where = f"{path}{key}"
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {path}{close[0]!s}?" if close else f"known: {', '.join(known)}"
            faults.append(f"{where}: unknown key; {hint}")
        elif is_dataclass(hints[key]) and isinstance(value, Mapping):
            faults += _unknown_keys(hints[key], value, f"{where}.")
    return faults


def _defaults(cls: Any) -> dict[str, Any]:
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(cls)
    }


def _filled(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A document whose sections are completed from their defaults, which may differ from those of their class."""
    filled = dict(document)
    for name, default in defaults.items():
        section = filled.get(name)
        if is_dataclass(default) and isinstance(section, Mapping):
            inner = {field.name: getattr(default, field.name) for field in fields(default)}
            filled[name] = inner | _filled(section, inner)
    return filled


def _violations(config: Any, path: str) -> list[str]:
    own = [f"{path}{fault}" for fault in config.violations()] if hasattr(config, "violations") else []
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            own += _violations(value, f"{path}{field.name}.")
    return own


__all__ = ["config_from_dict", "config_to_dict", "load_config", "read_yaml", "save_config"]

"""Configuration: a frozen dataclass is the schema; a YAML file and ``a.b=value`` overrides give the values.

Unknown keys, wrong types and values out of range are refused in one error, with the full path of each and the
closest valid key. Every numeric field declares its range (:func:`reskill_core.parameters.parameter`). A dataclass may
define ``violations(self) -> list[str]`` for rules that involve several fields. If its schema depends on the values, it
defines a class method ``schema_of(document)`` that returns the class to use: itself or a subclass. This holds for the
whole document and for sections of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from reskill_core.errors import ConfigError
from reskill_core.files import atomic_write_bytes, read_text
from reskill_core.parameters import hints_of, holds_numbers, range_violations, require_ranges, sections_of
from reskill_core.text import shortened
from reskill_core.yaml_text import dump_yaml, parse_yaml

T = TypeVar("T")
# Path of a value in a document, and a fault of that value.
Keys = tuple[Any, ...]
Fault = tuple[Keys, str]

_MAX_BYTES = 2**20
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def load_config(cls: type[T], path: Path | str | None = None, overrides: Sequence[str] = ()) -> T:
    """Build a configuration from its defaults, a YAML file and dotted overrides, in this order.

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


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Parse ``key.subkey=value`` strings, with values in YAML, to nested dictionaries.

    Raises:
        ConfigError: a string has another form, or its value is not YAML.
    """
    document: dict[str, Any] = {}
    for override in overrides:
        _apply_override(document, override)
    return document


def merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a nested document with some values changed."""
    result = dict(document)
    for name, value in changes.items():
        inner = result.get(name)
        result[name] = (
            merged(inner if isinstance(inner, Mapping) else {}, value) if isinstance(value, Mapping) else value
        )
    return result


def config_from_dict(
    cls: type[T],
    document: Mapping[str, Any],
    source: str = "configuration",
    rules: Callable[[T], list[str]] = lambda config: [],
) -> T:
    """Build a configuration from nested dictionaries.

    Args:
        cls: the configuration's dataclass.
        document: its values.
        source: origin of the values, for messages.
        rules: further checks, which return violations.

    Raises:
        ConfigError: lists every unknown key, wrong type and violated rule, with the full path of each.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(f"{source} must hold key: value pairs, found {shortened(document)}")
    cls = _schema_of(cls, document)
    faults = _document_faults(cls, document, ())
    config, mistyped = _validated(cls, _without(document, faults))
    if config is None:
        # Without the values of a wrong type the other faults can be found.
        faults += mistyped
        config, _ = _validated(cls, _without(document, faults))
    texts = [f"{'.'.join(map(str, path))}: {text}" for path, text in faults]
    if config is not None:
        texts += (*_violations(config, ""), *rules(config))
        if not texts:
            return config
    raise ConfigError(f"{source} is not a valid {cls.__name__}:\n" + "\n".join(f"  - {fault}" for fault in texts))


def config_to_dict(config: Any) -> dict[str, Any]:
    """Convert a configuration to nested dictionaries, lists and scalars, ready for YAML and JSON."""
    return _adapter(type(config)).dump_python(config, mode="json", serialize_as_any=True)


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    """Adapter of a class; cached, because building one takes far longer than using it."""
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def save_config(config: Any, path: Path) -> None:
    """Write a configuration as YAML; :func:`load_config` reads back an equal object."""
    atomic_write_bytes(path, dump_yaml(config_to_dict(config)).encode())


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the key: value pairs of a YAML file; see :mod:`reskill_core.yaml_text`.

    Raises:
        ConfigError: it is missing, not text, or holds something else.
    """
    document = parse_yaml(read_text(path, ConfigError, _MAX_BYTES), str(path), ConfigError)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold key: value pairs, found {type(document).__name__}")
    return document


def _apply_override(document: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r} is not of the form key.subkey=value")
    value = parse_yaml(text, f"the value of {override!r}", ConfigError)
    *parents, last = key.split(".")
    for parent in parents:
        child = document.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value, not a section")
        document = child
    document[last] = value


def _document_faults(cls: Any, document: Mapping[str, Any], path: Keys) -> list[Fault]:
    """Unknown keys, and booleans in numeric fields, which would otherwise count as 0 and 1."""
    hints = hints_of(cls)
    known = [field.name for field in fields(cls) if field.init]
    faults: list[Fault] = []
    for key, value in document.items():
        where = (*path, key)
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {'.'.join(map(str, (*path, *close)))}?" if close else f"known: {', '.join(known)}"
            faults.append((where, f"unknown key; {hint}"))
        elif is_dataclass(hints[key]) and isinstance(value, Mapping):
            try:
                faults += _document_faults(_schema_of(hints[key], value), value, where)
            except ConfigError as error:  # of the choice of a schema
                faults.append((where, str(error)))
        elif sections := list(sections_of(hints[key])):
            entries = value.items() if isinstance(value, Mapping) else enumerate(_listed(value))
            for name, inner in entries:
                if isinstance(inner, Mapping):
                    faults += _document_faults(sections[0], inner, (*where, name))
        elif holds_numbers(hints[key]):
            numbers = _listed(value)
            faults += [(where, f"must be a number, got {number}") for number in numbers if isinstance(number, bool)]
    return faults


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _validated(cls: type[T], document: Mapping[str, Any]) -> tuple[T | None, list[Fault]]:
    """The configuration, or the faults of values with a wrong type."""
    try:
        filled = _filled(cls, document, _defaults(cls), ())
    except _MistypedError as error:
        return None, error.faults
    try:
        return _adapter(cls).validate_python(filled), []
    except ValidationError as error:
        return None, _type_faults(error, ())


class _MistypedError(Exception):
    """A section has values of wrong types."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


def _type_faults(error: ValidationError, path: Keys) -> list[Fault]:
    return [((*path, *item["loc"]), f"{item['msg']}, got {shortened(item['input'])}") for item in error.errors()]


def _without(document: Mapping[str, Any], faults: Sequence[Fault]) -> dict[str, Any]:
    """A document without its faulty values, each removed at the deepest possible key."""
    kept = {}
    for key, value in document.items():
        inner = [(path[1:], text) for path, text in faults if path[:1] == (key,)]
        if not inner:
            kept[key] = value
        elif isinstance(value, Mapping) and all(path for path, _ in inner):
            kept[key] = _without(value, inner)
    return kept


def _defaults(cls: Any) -> dict[str, Any]:
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(cls)
    }


def _filled(cls: Any, document: Mapping[str, Any], defaults: Mapping[str, Any], path: Keys) -> dict[str, Any]:
    """A document whose sections are completed from the field's default, which may differ from the class's defaults.

    Sections whose schema depends on their values become instances of that schema.

    Raises:
        _MistypedError: such a section has values of wrong types.
    """
    filled, hints = dict(document), hints_of(cls)
    for name, default in defaults.items():
        section = filled.get(name)
        if not is_dataclass(default) or not isinstance(section, Mapping):
            continue
        chosen = _schema_of(hints[name], section) if is_dataclass(hints[name]) else type(default)
        inner = {}
        if isinstance(default, chosen):
            inner = {field.name: getattr(default, field.name) for field in fields(default)}
        filled[name] = inner | _filled(chosen, section, inner or _defaults(chosen), (*path, name))
        if hasattr(chosen, "schema_of"):
            try:
                filled[name] = _adapter(chosen).validate_python(filled[name])
            except ValidationError as error:
                raise _MistypedError(_type_faults(error, (*path, name))) from error
    return filled


def _schema_of(cls: Any, document: Mapping[str, Any]) -> Any:
    """The class that a document is to be filled in.

    Raises:
        ConfigError: it names a kind that there is none of.
    """
    chosen = cls.schema_of(document) if hasattr(cls, "schema_of") else cls
    require_ranges(chosen)
    return chosen


def _violations(config: Any, path: str) -> list[str]:
    rules = config.violations() if hasattr(config, "violations") else []
    own = [f"{path}{fault}" for fault in (*range_violations(config), *rules)]
    for field in fields(config):
        for name, section in _sections(getattr(config, field.name), f"{path}{field.name}"):
            own += _violations(section, f"{name}.")
    return own


def _sections(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The configurations in a field's value, with their paths."""
    if is_dataclass(value):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _sections(inner, f"{path}.{key}")
    elif isinstance(value, tuple):
        for place, inner in enumerate(value):
            yield from _sections(inner, f"{path}.{place}")


__all__ = [
    "config_from_dict",
    "config_to_dict",
    "load_config",
    "merged",
    "parse_overrides",
    "read_yaml",
    "save_config",
]

"""YAML parsing with the scalar rules of YAML 1.2, used for every YAML text.

PyYAML follows YAML 1.1, in which ``010`` is 8, ``1:30`` is 90, ``no`` is false, ``2026-01-31`` is a date and ``1e-3``
is text. Here ``010`` is 10, ``1e-3`` is a number, and the others are text, which numeric fields refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from reskill_core.errors import ReskillError

# Tags, the patterns of their plain scalars, and the characters that these begin with.
_PLAIN: tuple[tuple[str, str, list[str]], ...] = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)
_TAG = "tag:yaml.org,2002:"
# More characters than any float needs.
_MAX_NUMBER_LENGTH = 400
# Values of a document with its aliases expanded; a few lines can expand to billions.
_MAX_NODES = 100_000


class _Loader(yaml.SafeLoader):
    """Loader of a document; all its errors are of :class:`yaml.MarkedYAMLError`."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _written_out(node, {})
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != f"{_TAG}merge":
                key, line = self.construct_object(key_node), key_node.start_mark.line + 1
                if key in lines:
                    raise _fault(key_node, f"key {key!r} stands here again, after line {lines[key]}")
                lines[key] = line
        return node

    def construct_plain(self, node: Any) -> Any:
        """Construct a null, a boolean or a number."""
        kind, text = node.tag.removeprefix(_TAG), str(self.construct_scalar(node))
        if not re.fullmatch(_PATTERNS[kind], text) or len(text) > _MAX_NUMBER_LENGTH:
            raise _fault(node, f"{text[:40]!r} is no {kind}")
        if kind in ("null", "bool"):
            return {"t": True, "f": False}.get(text[:1].lower())
        if kind == "int":
            return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
        value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if math.isinf(value) and "inf" not in text.lower():
            raise _fault(node, f"{text[:40]} is too large for a number")
        return value


_PATTERNS = {name: pattern for name, pattern, _ in _PLAIN}
_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    **dict.fromkeys((f"{_TAG}{name}" for name in ("null", "bool", "int", "float")), _Loader.construct_plain),
    # Unless it is a key, << is plain text.
    **dict.fromkeys((f"{_TAG}{name}" for name in ("str", "merge")), _Loader.construct_yaml_str),
    f"{_TAG}seq": _Loader.construct_yaml_seq,
    f"{_TAG}map": _Loader.construct_yaml_map,
    None: _Loader.construct_undefined,
}


class _Dumper(yaml.SafeDumper):
    """Dumper whose output our loader and YAML 1.1 loaders read alike; text is quoted where either would misread it."""


for _name, _pattern, _first in _PLAIN:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern})$"), _first)


def parse_yaml(text: str, source: str, error: type[ReskillError]) -> Any:
    """Parse a YAML text; None if it is empty.

    Args:
        text: one document.
        source: its name in messages.
        error: type of the exception to raise.

    Raises:
        error: it is not YAML, has a duplicate key, a number that is too large, an unknown tag, or is nested too deeply;
            the message names the line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        place = f", line {mark.line + 1}" if mark and "\n" in text.strip() else ""
        reason = ", ".join(filter(None, (cause.context, cause.problem)))
        raise error(f"{source}{place} is not valid YAML: {reason}") from cause
    except yaml.YAMLError as cause:
        raise error(f"{source} is not valid YAML: {str(cause).splitlines()[0]}") from cause
    except RecursionError as cause:
        raise error(f"{source} is not valid YAML: it is nested too deeply") from cause


def dump_yaml(document: Any) -> str:
    """Write a document of plain values as YAML; :func:`parse_yaml` reads back the same."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False)


def _written_out(node: Any, sizes: dict[int, int]) -> int:
    """Number of nodes in this subtree, with aliases expanded."""
    known = sizes.get(id(node))
    if known == 0:
        raise _fault(node, "it contains itself")
    if known is None:
        sizes[id(node)] = 0
        sizes[id(node)] = known = 1 + sum(_written_out(child, sizes) for child in _children(node))
        if known > _MAX_NODES:
            raise _fault(node, f"with its aliases written out it has more than {_MAX_NODES} values")
    return known


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _fault(node: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

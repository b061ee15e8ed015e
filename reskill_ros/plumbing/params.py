"""ROS parameters declared by a frozen dataclass, and validated at start-up and on every update by the same rules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, GraphError

T = TypeVar("T")

# Parameters that every node has without declaring them here.
_BUILT_IN = ("use_sim_time", "qos_overrides", "start_type_description_service")
# Bounds for unlimited ranges in descriptors, which have no notation for them.
_OPEN_FLOAT, _OPEN_INTEGER = 1e308, 2**63 - 1


class Parameters(Generic[T]):
    """ROS parameters of a node as one dataclass instance that is always valid.

    Fields become parameters of the same name, nested dataclasses become dotted names. An invalid value raises at
    start-up; at run time it is rejected with the reason, and the old value is kept.
    """

    def __init__(
        self, node: Node, defaults: T, prefix: str = "", rules: Callable[[T], list[str]] = lambda values: []
    ) -> None:
        """Declare the parameters.

        Args:
            node: the node.
            defaults: an instance with the defaults; its class is the schema.
            prefix: prefix of each name, separated by a dot.
            rules: further checks, which return violations.

        Raises:
            GraphError: an override has a wrong type or an invalid value; lists all of them.
        """
        self._node = node
        self._schema = type(defaults)
        self._rules = rules
        self._prefix = f"{prefix}." if prefix else ""
        leaves = dict(_leaves(defaults, self._prefix))
        values = {name: value for name, (_, value) in leaves.items()}
        overrides = {name: value for name, value in _overrides(node).items() if name in values}
        try:
            self._values = self._build({**values, **overrides})
        except ConfigError as error:
            raise GraphError(str(error)) from error
        for name, (item, value) in leaves.items():
            node.declare_parameter(name, _plain(value), _descriptor(item, value))
        self._names = tuple(leaves)
        self._outdated = False
        node.add_on_set_parameters_callback(self._on_set)

    @property
    def values(self) -> T:
        """The current values; the same object until one of them changes."""
        if self._outdated:
            self._values = self._build({name: self._node.get_parameter(name).value for name in self._names})
            self._outdated = False
        return self._values

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        mine = {change.name: change.value for change in changes if change.name in self._names}
        if mine:
            current = {name: self._node.get_parameter(name).value for name in self._names}
            try:
                self._build({**current, **mine})
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
            # Another callback may still refuse the change, so the new values are read when they are next needed.
            self._outdated = True
        return SetParametersResult(successful=True)

    def _build(self, values: Mapping[str, Any]) -> T:
        document: dict[str, Any] = {}
        for name, value in values.items():
            *parents, last = name.removeprefix(self._prefix).split(".")
            section = document
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
        return config_from_dict(self._schema, document, f"parameters of {self._node.get_name()}", self._rules)


def report_unknown_parameters(node: Node) -> list[str]:
    """Warn about parameters given to a node, by file or command line, that it does not have.

    Returns:
        Their names.
    """
    declared = list(node.get_parameters_by_prefix(""))
    unknown = [name for name in _overrides(node) if name not in declared and name.split(".")[0] not in _BUILT_IN]
    for name in unknown:
        close = difflib.get_close_matches(name, declared, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has: {', '.join(sorted(declared))}"
        node.get_logger().warning(f"unknown parameter {name!r} is ignored; {hint}")
    return unknown


def _overrides(node: Node) -> dict[str, Any]:
    # rclpy offers no public view of the overrides of parameters that are not declared.
    return {name: parameter.value for name, parameter in node._parameter_overrides.items()}


def _leaves(config: Any, prefix: str) -> Iterator[tuple[str, tuple[Field[Any], Any]]]:
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", (item, value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _descriptor(item: Field[Any], value: Any) -> ParameterDescriptor:
    choices = item.metadata.get("choices", ())
    descriptor = ParameterDescriptor(
        description=item.metadata.get("description", ""),
        read_only=item.metadata.get("read_only", False),
        additional_constraints=f"one of {', '.join(choices)}" if choices else "",
        # The schema checks types, and takes 5 for 5.0, which rclpy's own check would not.
        dynamic_typing=True,
    )
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if (low is not None or high is not None) and not isinstance(value, (bool, tuple)):
        if isinstance(value, int):
            descriptor.integer_range = [
                IntegerRange(
                    from_value=-_OPEN_INTEGER if low is None else int(low),
                    to_value=_OPEN_INTEGER if high is None else int(high),
                )
            ]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(
                    from_value=-_OPEN_FLOAT if low is None else float(low),
                    to_value=_OPEN_FLOAT if high is None else float(high),
                )
            ]
    return descriptor

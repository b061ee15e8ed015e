"""One process of a graph: the line that it takes in the node table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ParameterValue = bool | int | float | str | list[str]


@dataclass(frozen=True)
class NodeEntry:
    """One process of a graph.

    Attributes:
        name: name of the node.
        module: Python module with its ``main``.
        parameters: ROS parameters that differ from the node's defaults.
        remappings: pairs (from, to) of topic or service names.
        primary: the graph ends, in order and with success, when this node has finished.
        required: the graph ends when this node fails; otherwise the others go on, and the failure still shows in
            the exit code.
        lifecycle: it is a managed node.
    """

    name: str
    module: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    primary: bool = False
    required: bool = True
    lifecycle: bool = False

    @property
    def executable(self) -> str:
        """The installed executable that ``ros2 run`` and launch files know it by."""
        return self.module.rpartition(".")[2]

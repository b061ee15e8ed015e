"""Entry of the node table for one process of a graph."""

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
        primary: the graph ends orderly and successfully when this node has finished.
        required: the graph ends when this node fails; otherwise the others continue, and only the exit code shows
            the failure.
        lifecycle: whether it is a managed node.
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
        """Name of the installed executable for ``ros2 run`` and launch files."""
        return self.module.rpartition(".")[2]

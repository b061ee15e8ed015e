"""Entries of the node table, and the processes that they run in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ParameterValue = bool | int | float | str | list[str]


@dataclass(frozen=True)
class NodeEntry:
    """One node of a graph.

    Attributes:
        name: name of the node.
        module: Python module with its ``main``.
        parameters: ROS parameters that differ from the node's defaults.
        remappings: pairs (from, to) of topic or service names.
        primary: the graph ends orderly and successfully when this node has finished.
        required: the graph ends when this node fails; otherwise the others continue, and only the exit code shows
            the failure.
        lifecycle: whether it is a managed node.
        shares_process: whether it runs in one process with the other nodes that do, that of
            :mod:`reskill_ros.nodes.composed_node`.
    """

    name: str
    module: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    primary: bool = False
    required: bool = True
    lifecycle: bool = False
    shares_process: bool = False


@dataclass(frozen=True)
class ProcessEntry:
    """One process of a graph, with one node or several."""

    nodes: tuple[NodeEntry, ...]

    @property
    def module(self) -> str:
        """Python module with its ``main``."""
        return self.nodes[0].module if self.is_single else "reskill_ros.nodes.composed_node"

    @property
    def executable(self) -> str:
        """Name of the installed executable for ``ros2 run`` and launch files."""
        return self.module.rpartition(".")[2]

    @property
    def is_single(self) -> bool:
        """Whether it has one node."""
        return len(self.nodes) == 1

    @property
    def name(self) -> str:
        """Names of its nodes."""
        return "+".join(node.name for node in self.nodes)

    @property
    def primary(self) -> bool:
        """Whether the graph ends orderly when it has finished."""
        return any(node.primary for node in self.nodes)

    @property
    def required(self) -> bool:
        """Whether the graph ends when it fails."""
        return any(node.required for node in self.nodes)


def processes_of(entries: Sequence[NodeEntry]) -> list[ProcessEntry]:
    """Return the processes of a graph's nodes, in the order of their first nodes."""
    shared = tuple(entry for entry in entries if entry.shares_process)
    return [
        ProcessEntry(shared if entry.shares_process else (entry,))
        for entry in entries
        if not entry.shares_process or entry is shared[0]
    ]

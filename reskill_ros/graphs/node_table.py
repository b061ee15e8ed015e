"""Node table: nodes and parameters of the graphs ``collect``, ``policy``, ``replay`` and ``playback``.

``launch/*.launch.py`` and ``reskill-up`` both start the nodes of :func:`build_graph` from the same arguments, so that
they remain consistent::

    for argument in argument_table("collect"):  # name, default, description, choices: declare them
        ...
    arguments = parse_arguments("collect", {"task": "hook", "episodes": "5"})
    for process in processes_of(build_graph(arguments)):
        ...  # process.executable or process.module, .name, .primary, .required
        for entry in process.nodes:
            ...  # entry.name, .parameters, .remappings
    # and of the arguments themselves: .namespace, .params_file (after the parameters, so that it wins), .log_level
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, GraphError, require_choice
from reskill_core.yaml_text import parse_yaml
from reskill_ros.graphs.collect_graph import CollectArguments
from reskill_ros.graphs.graph_arguments import GraphArguments
from reskill_ros.graphs.node_entry import NodeEntry
from reskill_ros.graphs.playback_graph import PlaybackArguments
from reskill_ros.graphs.policy_graph import PolicyArguments
from reskill_ros.graphs.replay_graph import ReplayArguments

GRAPHS: dict[str, type[GraphArguments]] = {
    "collect": CollectArguments,
    "policy": PolicyArguments,
    "replay": ReplayArguments,
    "playback": PlaybackArguments,
}


@dataclass(frozen=True)
class Argument:
    """One argument of a graph, written as ``name:=value``."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


def argument_table(graph: str) -> list[Argument]:
    """Return the arguments of a graph; common ones come last.

    Raises:
        ConfigError: the graph is unknown.
    """
    require_choice("graph", graph, tuple(GRAPHS))
    common = [item.name for item in fields(GraphArguments)]
    ordered = sorted(fields(GRAPHS[graph]), key=lambda item: item.name in common)
    return [
        Argument(item.name, _text(item.default), item.metadata["description"], item.metadata["choices"])
        for item in ordered
    ]


def parse_arguments(graph: str, values: Mapping[str, str]) -> GraphArguments:
    """Parse the arguments of a graph.

    Args:
        graph: a name in :data:`GRAPHS`.
        values: text by name; missing arguments have their defaults.

    Raises:
        ConfigError: the graph is unknown.
        GraphError: lists all unknown names and invalid values.
    """
    require_choice("graph", graph, tuple(GRAPHS))
    hints = get_type_hints(GRAPHS[graph])
    document: dict[str, Any] = {}
    try:
        for name, text in values.items():
            # Strings are not parsed as YAML.
            is_text = hints.get(name, str) is str
            document[name] = text if is_text else parse_yaml(text, f"{name}:={text}", ConfigError)
        return config_from_dict(GRAPHS[graph], document, source=f"arguments of {graph}")
    except ConfigError as error:
        raise GraphError(f"{error}\n`reskill-up {graph} --help` describes the arguments") from error


def build_graph(arguments: GraphArguments) -> list[NodeEntry]:
    """Return the nodes of a graph in the order in which they are started."""
    use_sim_time = {"auto": arguments.publishes_clock, "true": True, "false": False}[arguments.use_sim_time]
    entries = []
    for entry in arguments.nodes():
        # The publisher of the clock must not use it.
        owns_clock = entry.name in ("sim_node", "replay_node")
        common: dict[str, Any] = {} if owns_clock else {"use_sim_time": use_sim_time}
        if entry.lifecycle:
            # A graph must fail immediately if a node cannot start.
            common |= {"autostart": arguments.autostart, "must_start": True}
        # All other names are relative to the namespace; separate clocks keep two robots independent.
        clock = (("/clock", "clock"),) if arguments.namespace else ()
        parameters = {**common, **entry.parameters}
        entries.append(replace(entry, parameters=parameters, remappings=(*entry.remappings, *clock)))
    return entries


def _text(value: Any) -> str:
    """Format a value as on the command line and in launch files."""
    return str(value).lower() if isinstance(value, bool) else str(value)

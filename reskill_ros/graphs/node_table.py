"""The node table: which nodes, with which parameters, make up the graphs ``collect``, ``policy`` and ``replay``.

``launch/*.launch.py`` and ``reskill-up`` both start what :func:`build_graph` returns, from the same arguments, so
that they cannot drift apart::

    for argument in argument_table("collect"):  # name, default, description, choices: declare them
        ...
    arguments = parse_arguments("collect", {"task": "hook", "episodes": "5"})
    for entry in build_graph(arguments):
        ...  # entry.executable or entry.module, .name, .parameters, .remappings, .primary, .required
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
from reskill_ros.graphs.policy_graph import PolicyArguments
from reskill_ros.graphs.replay_graph import ReplayArguments

GRAPHS: dict[str, type[GraphArguments]] = {
    "collect": CollectArguments,
    "policy": PolicyArguments,
    "replay": ReplayArguments,
}


@dataclass(frozen=True)
class Argument:
    """One argument of a graph, as people write it: ``name:=value``."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


def argument_table(graph: str) -> list[Argument]:
    """The arguments of a graph, those of its own first.

    Raises:
        ConfigError: there is no such graph.
    """
    require_choice("graph", graph, tuple(GRAPHS))
    common = [item.name for item in fields(GraphArguments)]
    ordered = sorted(fields(GRAPHS[graph]), key=lambda item: item.name in common)
    return [
        Argument(item.name, _text(item.default), item.metadata["description"], item.metadata["choices"])
        for item in ordered
    ]


def parse_arguments(graph: str, values: Mapping[str, str]) -> GraphArguments:
    """Arguments of a graph from text.

    Args:
        graph: ``collect``, ``policy`` or ``replay``.
        values: text by name; the others keep their defaults.

    Raises:
        ConfigError: there is no such graph.
        GraphError: lists every unknown name and every invalid value.
    """
    require_choice("graph", graph, tuple(GRAPHS))
    hints = get_type_hints(GRAPHS[graph])
    document: dict[str, Any] = {}
    try:
        for name, text in values.items():
            # What is a string stays as it was written, whatever YAML would read into it.
            is_text = hints.get(name, str) is str
            document[name] = text if is_text else parse_yaml(text, f"{name}:={text}", ConfigError)
        return config_from_dict(GRAPHS[graph], document, source=f"arguments of {graph}")
    except ConfigError as error:
        raise GraphError(f"{error}\n`reskill-up {graph} --help` describes the arguments") from error


def build_graph(arguments: GraphArguments) -> list[NodeEntry]:
    """The nodes that make up a graph, in the order in which they are started."""
    use_sim_time = {"auto": arguments.publishes_clock, "true": True, "false": False}[arguments.use_sim_time]
    entries = []
    for entry in arguments.nodes():
        # Whoever publishes the clock must not live by it.
        owns_clock = entry.executable in ("sim_node", "replay_node")
        common: dict[str, Any] = {} if owns_clock else {"use_sim_time": use_sim_time}
        if entry.lifecycle:
            # Somebody who starts a whole graph wants to know at once that it cannot work.
            common |= {"autostart": arguments.autostart, "must_start": True}
        # Everything else is relative to the namespace; with a clock of its own, two robots do not disturb each other.
        clock = (("/clock", "clock"),) if arguments.namespace else ()
        parameters = {**common, **entry.parameters}
        entries.append(replace(entry, parameters=parameters, remappings=(*entry.remappings, *clock)))
    return entries


def _text(value: Any) -> str:
    """As it is written on a command line and in a launch file."""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Launch description of a graph of the node table; the only module that needs the launch packages."""

from __future__ import annotations

import os
import signal
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from reskill_core.errors import GraphError
from reskill_core.process import LAUNCHER, UNKNOWN_EXIT_CODE
from reskill_ros.graphs.graph_arguments import GraphArguments
from reskill_ros.graphs.node_entry import NodeEntry, ProcessEntry, processes_of
from reskill_ros.graphs.node_table import argument_table, build_graph, parse_arguments
from reskill_ros.graphs.process_launcher import node_arguments


def launch_description(graph: str) -> LaunchDescription:
    """Create the launch description of a graph with its arguments and nodes.

    The launch ends when a primary node has finished or a required one has stopped, and fails if any node failed, as
    with ``reskill-up``.

    Args:
        graph: ``collect``, ``policy`` or ``replay``.

    Raises:
        ConfigError: the graph is unknown.
    """
    table = argument_table(graph)
    declarations = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in table
    ]

    def nodes(context: LaunchContext) -> list[Action]:
        values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in table}
        return _graph_actions(parse_arguments(graph, values))

    # At batch size 1, two math threads need several times the processor time of one.
    one_thread = SetEnvironmentVariable("OMP_NUM_THREADS", "1")
    return LaunchDescription([*declarations, one_thread, OpaqueFunction(function=nodes)])


def _graph_actions(arguments: GraphArguments) -> list[Action]:
    failures: list[str] = []
    return [_node(entry, arguments, failures) for entry in processes_of(build_graph(arguments))]


def _node(entry: ProcessEntry, arguments: GraphArguments, failures: list[str]) -> Node:
    """Create the launch action of a process; `failures` collects the failures of all processes of the graph."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[Action]:
        ending = context.is_shutdown
        # A node interrupted before its signal handler is installed, for example during imports, dies of the signal.
        interrupted = ending and event.returncode in (-signal.SIGINT, -signal.SIGTERM, UNKNOWN_EXIT_CODE)
        if event.returncode != 0 and not interrupted:
            failures.append(f"{entry.name} failed with exit code {event.returncode}")
        elif entry.required and not entry.primary and not ending:
            failures.append(f"{entry.name} ended although it should keep running")
        if failures and (ending or entry.primary or entry.required):
            # An error ends the launch and sets a non-zero exit status.
            message = "; ".join(failures)
            failures.clear()
            raise GraphError(message)
        return [Shutdown(reason=f"{entry.name} has finished")] if entry.primary and not ending else []

    return Node(
        package="reskill_ros",
        executable=entry.executable,
        namespace=arguments.namespace,
        **(_single(entry.nodes[0], arguments) if entry.is_single else _composed(entry, arguments)),
        # Nodes, unlike other child processes, also end if this process is killed.
        additional_env={LAUNCHER: str(os.getpid())},
        ros_arguments=["--log-level", arguments.log_level],
        output="screen",
        emulate_tty=True,
        on_exit=on_exit,
    )


def _single(node: NodeEntry, arguments: GraphArguments) -> dict[str, Any]:
    parameters: list[Any] = [{name: _typed(value) for name, value in node.parameters.items()}]
    if arguments.params_file:
        parameters.append(arguments.params_file)
    return {"name": node.name, "parameters": parameters, "remappings": list(node.remappings)}


def _composed(entry: ProcessEntry, arguments: GraphArguments) -> dict[str, Any]:
    return {"arguments": [word for node in entry.nodes for word in (node.name, *node_arguments(node, arguments))]}


def _typed(value: Any) -> Any:
    """Mark a string parameter as text, so that launch does not parse it as a number or date."""
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value

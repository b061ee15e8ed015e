"""``reskill-up``: start a graph of the node table as processes, like ``ros2 launch`` but without it."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.graphs.process_launcher")

import argparse
import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Sequence

from reskill_core.command_line import IntermixedParser, run_command
from reskill_core.errors import ReskillError
from reskill_ros.graphs.graph_arguments import GraphArguments
from reskill_ros.graphs.node_entry import NodeEntry, ProcessEntry, processes_of
from reskill_ros.graphs.node_table import GRAPHS, argument_table, build_graph, parse_arguments
from reskill_ros.graphs.supervisor import Process, supervise

_EXAMPLES = {
    "collect": "reskill-up collect task:=block episodes:=5 dataset:=runs/block",
    "policy": "reskill-up policy task:=block skills:=runs/skills episodes:=10 bag:=runs/bag",
    "replay": "reskill-up replay bag:=runs/bag skills:=runs/skills report:=runs/replay.json",
    "playback": "reskill-up playback dataset:=runs/block episode:=3 driver:=ur5e",
}
_HELP = {
    "collect": "record demonstrations over ROS",
    "policy": "let a skill policy drive the simulator or a robot",
    "replay": "feed recorded observations to a policy and compare its actions with the recorded ones",
    "playback": "execute a recorded episode again, on the simulator or a robot",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_command(lambda: _up(args))


def _up(args: Sequence[str] | None) -> int:
    options = _parser().parse_args(args)
    arguments = parse_arguments(options.graph, _pairs(options.arguments))
    processes = [process_of(entry, arguments) for entry in processes_of(build_graph(arguments))]
    if options.dry_run:
        print("\n".join(shlex.join(process.command) for process in processes))
        return 0
    missing = [module for module in ("rclpy", "reskill_ros.msg") if importlib.util.find_spec(module) is None]
    if missing:
        raise ReskillError(f"{', '.join(missing)} cannot be found; build and source install/setup.bash")
    # Needs ROS, whose presence has been checked above.
    from reskill_ros.plumbing.security import require_security

    require_security()
    return supervise(processes, _environment(), sys.stdout).exit_code


def process_of(entry: ProcessEntry, arguments: GraphArguments) -> Process:
    """Create a process of the nodes of the table."""
    common = ["--log-level", arguments.log_level]
    if arguments.namespace:
        common += ["-r", f"__ns:=/{arguments.namespace.strip('/')}"]
    command = [sys.executable, "-m", entry.module]
    if entry.is_single:
        node = entry.nodes[0]
        command += ["--ros-args", "-r", f"__node:={node.name}", *common, *node_arguments(node, arguments)]
    else:
        for node in entry.nodes:
            command += [node.name, *node_arguments(node, arguments)]
        command += ["--ros-args", *common]
    return Process(entry.name, command, primary=entry.primary, required=entry.required)


def node_arguments(node: NodeEntry, arguments: GraphArguments) -> list[str]:
    """Return the ROS arguments of one node: parameters, the parameter file, which wins, and remappings."""
    # JSON is valid YAML that preserves the type of each value.
    words = [f"{name}:={json.dumps(value, ensure_ascii=False)}" for name, value in node.parameters.items()]
    options = [option for word in words for option in ("-p", word)]
    if arguments.params_file:
        options += ["--params-file", arguments.params_file]
    for source, target in node.remappings:
        options += ["-r", f"{source}:={target}"]
    return options


def _environment() -> dict[str, str]:
    environment = {
        # The supervisor prefixes each line with the node's name.
        "RCUTILS_CONSOLE_OUTPUT_FORMAT": "[{severity}] {message}",
        # At batch size 1, two math threads need several times the processor time of one.
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return {**environment, **os.environ}


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition(":=")
        if not separator:
            raise ReskillError(f"argument {text!r} is not of the form name:=value")
        pairs[name] = value
    return pairs


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    examples = "\n".join(f"  {example}" for example in _EXAMPLES.values())
    parser = argparse.ArgumentParser(
        prog="reskill-up",
        description="Start a graph of ROS nodes as processes; Ctrl-C ends them all.",
        epilog=f"examples:\n{examples}\n\n`reskill-up <graph> --help` describes a graph's arguments.",
        formatter_class=raw,
    )
    graphs = parser.add_subparsers(dest="graph", required=True, metavar="graph", parser_class=IntermixedParser)
    for graph in GRAPHS:
        sub = graphs.add_parser(
            graph,
            help=_HELP[graph],
            description=_HELP[graph][0].upper() + _HELP[graph][1:] + ".",
            epilog=f"arguments:\n{_described(graph)}\n\nexample:\n  {_EXAMPLES[graph]}",
            formatter_class=raw,
        )
        sub.add_argument("arguments", nargs="*", metavar="name:=value", help="see below")
        sub.add_argument("--dry-run", action="store_true", help="print the commands instead of running them")
    return parser


def _described(graph: str) -> str:
    lines = []
    for argument in argument_table(graph):
        choices = f" [{', '.join(argument.choices)}]" if argument.choices else ""
        lines.append(f"  {argument.name}:={argument.default}{choices}\n      {argument.description}")
    return "\n".join(lines)

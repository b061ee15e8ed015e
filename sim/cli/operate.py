"""``reskill operate``: keys for the operator of a robot."""

from __future__ import annotations

import argparse

from reskill_core.errors import ReskillError
from reskill_sim.cli.arguments import Subparsers, add_verb


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "operate",
        run,
        "operate a robot by keys: arm, stop, emergency stop; start, end and repeat recorded episodes; the robot is "
        "stopped when this ends",
        "reskill operate",
        "reskill operate --namespace left --heartbeat",
    )
    parser.add_argument("--namespace", default="", help="namespace of the robot")
    parser.add_argument(
        "--heartbeat",
        action="store_true",
        help="publish estop ten times a second, so that with gate.estop_timeout_s the robot stops if this program is "
        "killed or the connection to it is lost",
    )


def run(options: argparse.Namespace) -> int:
    """Read keys until the end."""
    try:
        from reskill_ros.tools.operator_console import operate
    except ModuleNotFoundError as error:
        raise ReskillError(f"reskill operate needs ROS 2 and the messages of this package: {error}") from error
    return operate(options.namespace, options.heartbeat)

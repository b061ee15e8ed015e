"""``reskill doctor``: examination of machine, ROS graph and robot."""

from __future__ import annotations

import argparse

from reskill_core.errors import ReskillError
from reskill_sim.cli.arguments import Subparsers, add_verb, number


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "doctor",
        run,
        "examine the machine, the ROS graph, a driver file and what its robot publishes, without moving it; exit "
        "code 1 if there are errors",
        "reskill doctor",
        "reskill doctor --driver ur5e --skills agents/clean_up",
        "reskill doctor --driver my_robot.yaml --task block --namespace left --duration 10",
    )
    parser.add_argument("--driver", default="", help="driver file, by name or path; without one no robot is examined")
    parser.add_argument("--skills", default="", help="checkpoint whose task is to be run")
    parser.add_argument("--task", default="block", help="task to be run, without --skills (default: block)")
    parser.add_argument("--namespace", default="", help="namespace of the robot")
    parser.add_argument(
        "--duration", type=number(float, 0.1, 3600.0), default=3.0, help="time to listen to the robot [s] (default: 3)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the page; returns 1 if there are errors."""
    try:
        from reskill_ros.tools.doctor import Level, Patient, examine, page
    except ModuleNotFoundError as error:
        raise ReskillError(f"reskill doctor needs ROS 2 and the messages of this package: {error}") from error
    findings = examine(Patient(options.driver, options.skills, options.task, options.namespace, options.duration))
    print(page(findings))
    return int(any(finding.level is Level.ERROR for finding in findings))

"""``reskill``: from demonstrations to a running policy, one subcommand per step."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which are slow
    from reskill_core.process import start

    start("reskill_sim.cli.main")

import argparse
from collections.abc import Sequence

from reskill_core.command_line import IntermixedParser, run_command
from reskill_sim.cli import (
    bench,
    collect,
    data,
    doctor,
    evaluate,
    export,
    list_names,
    operate,
    render,
    report,
    study,
    train_agent,
    train_estimator,
    train_skills,
)

VERBS = (
    list_names,
    collect,
    data,
    train_skills,
    train_agent,
    train_estimator,
    study,
    evaluate,
    report,
    export,
    render,
    bench,
    doctor,
    operate,
)


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    root = argparse.ArgumentParser(
        prog="reskill",
        description="Skills for a robot arm: collect demonstrations, train skills and agents, evaluate and run them.",
        epilog="Each verb has --help with examples. For ROS, see reskill-up --help.",
    )
    subparsers = root.add_subparsers(required=True, metavar="VERB", parser_class=IntermixedParser)
    for verb in VERBS:
        verb.add_parser(subparsers)
    return root


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""

    def work() -> int:
        options = parser().parse_args(args)
        return int(options.handler(options))

    return run_command(work, "interrupted; finished work is kept, the same command resumes it")

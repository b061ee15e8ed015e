"""``reskill train-estimator``: training of a state estimator, with which an agent bears latency and noise."""

from __future__ import annotations

import argparse

from reskill_sim.cli.arguments import Subparsers, add_config_arguments, add_verb, read_config
from reskill_sim.cli.train_agent import print_result


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "train-estimator",
        run,
        "train a state estimator for an agent, which does not change: from late and noisy observations it estimates "
        "those that the next action will meet; the same command resumes the training",
        "reskill train-estimator estimators/clean_up.yaml",
        "reskill train-estimator estimators/clean_up.yaml agent=runs/agents/mine out=runs/estimators/mine seed=1",
    )
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Train and print the results."""
    from reskill_core.estimation.config import EstimatorTrainingConfig
    from reskill_sim.experiments.estimator_training import train_estimator

    result = train_estimator(read_config(EstimatorTrainingConfig, options), show_progress=not options.quiet)
    print_result(result, f"reskill evaluate {result.run} --policy agent --sweep")
    return 0

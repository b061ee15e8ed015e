"""``reskill train-agent``: training of an agent on a task, on top of skills."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reskill_sim.cli.arguments import Subparsers, add_config_arguments, add_verb, read_config

if TYPE_CHECKING:
    from reskill_core.training.evaluated_run import EvaluatedResult


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "train-agent",
        run,
        "train an agent on a task with rewards, on top of a skill module: it chooses skills and corrects their "
        "actions; the same command resumes the training",
        "reskill train-agent agents/clean_up.yaml",
        "reskill train-agent agents/slippery_push.yaml steps=4000000 seed=1 out=runs/agents/push_1",
        "reskill train-agent agents/clean_up.yaml agent.residual=false out=runs/agents/clean_up_prior_only",
        "reskill train-agent agents/clean_up_varied.yaml estimator=runs/estimators/clean_up seed=1",
    )
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Train and print the results."""
    from reskill_core.rl.config import AgentTrainingConfig
    from reskill_sim.experiments.agent_training import train_agent

    result = train_agent(read_config(AgentTrainingConfig, options), show_progress=not options.quiet)
    print_result(result, f"reskill evaluate {result.run} --policy agent")
    return 0


def print_result(result: EvaluatedResult, command: str) -> None:
    """Print the result of a run, and the command that evaluates its best checkpoint in other episodes."""
    print(f"trained {result.steps} steps; best checkpoint, step {result.best_step}: {result.checkpoint}")
    print("\n".join(f"  {name:10}{value:8.3f}" for name, value in result.evaluation.items()))
    print(f"  in the episodes that selected it; for an unbiased estimate: {command}")

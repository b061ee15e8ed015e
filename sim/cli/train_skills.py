"""``reskill train-skills``: training of a skill module on demonstrations."""

from __future__ import annotations

import argparse

from reskill_sim.cli.arguments import Subparsers, add_config_arguments, add_verb, read_config


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "train-skills",
        run,
        "train a skill module (encoder, decoder, prior) on demonstrations; the same command resumes the training",
        "reskill train-skills skills/block.yaml",
        "reskill train-skills skills/block.yaml data=runs/data/mine out=runs/skills/mine beta=1e-2",
        "reskill train-skills skills/block.yaml model.prior.kind=gaussian out=runs/skills/block_gaussian",
    )
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Train and print the results."""
    from reskill_core.training.config import SkillTrainingConfig
    from reskill_core.training.skill_trainer import train_skills

    config = read_config(SkillTrainingConfig, options)
    result = train_skills(config, show_progress=not options.quiet)
    print(f"trained {result.steps} steps; best checkpoint, step {result.best_step}: {result.checkpoint}")
    print("\n".join(f"  {name:27}{value:10.4f}" for name, value in result.validation.items()))
    return 0

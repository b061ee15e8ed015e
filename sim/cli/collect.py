"""``reskill collect``: collection of scripted demonstrations."""

from __future__ import annotations

import argparse

from reskill_sim.cli.arguments import Subparsers, add_config_arguments, add_verb, read_config


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "collect",
        run,
        "collect demonstrations by scripted controllers in simulation; the same command resumes the collection",
        "reskill collect collect/block.yaml",
        "reskill collect collect/hook.yaml episodes=500 out=runs/data/hook workers=1",
    )
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Collect and print a summary."""
    from reskill_sim.experiments.collect import CollectConfig, collect, summary_lines

    config = read_config(CollectConfig, options)
    report = collect(config, show_progress=not options.quiet)
    print("\n".join(summary_lines(config, report)))
    return 0

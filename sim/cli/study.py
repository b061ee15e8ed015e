"""``reskill study``: training and evaluation of variants of the agent, on several tasks with several seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

from reskill_sim.cli.arguments import Subparsers, add_config_arguments, add_verb, read_config


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "study",
        run,
        "train and evaluate variants of the agent, such as ablations and baselines, on several tasks with several "
        "seeds; the same command resumes the study",
        "reskill study studies/baselines.yaml",
        "reskill study studies/baselines.yaml seeds=[0,1,2] common.steps=1500000 workers=8",
    )
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Train, evaluate, and print the results."""
    from reskill_core.report import RESULTS_FILE
    from reskill_sim.experiments.study import StudyConfig, run_study

    config = read_config(StudyConfig, options)
    runs = run_study(config, show_progress=not options.quiet)
    out = Path(config.out)
    print((out / RESULTS_FILE).read_text())
    references = f" --references {out}/*/references" if config.references else ""
    print(f"{len(runs)} runs in {out}; to compare them: reskill report {out}/*/*/seed_*{references} --out report.html")
    return 0

"""``reskill evaluate``: is a skill module any good?"""

from __future__ import annotations

import argparse

from reskill_core.cli.arguments import Subparsers, add_verb


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        subparsers,
        "evaluate",
        run,
        "measure what a skill module can do in simulation: reconstruct held-out demonstrations, reach the task's goal "
        "by sampling its prior; beside N(0, I) skills and random actions",
        "reskill evaluate runs/skills/block --data runs/data/block",
        "reskill evaluate runs/skills/block --episodes 200 --out runs/evaluation/block",
    )
    parser.add_argument("skills", help="run folder or checkpoint of a skill module")
    parser.add_argument("--data", default="", help="data set it was trained on; without it no reconstruction")
    parser.add_argument("--episodes", type=int, default=250, help="episodes of each diagnostic (default: 250)")
    parser.add_argument(
        "--out", default="", help="folder for the results (default: evaluation/ beside the checkpoints)"
    )
    parser.add_argument("--profile", default="exact", help="simulator profile (default: exact)")
    parser.add_argument("--threads", type=int, default=2, help="simulating threads (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from reskill_core.config import config_from_dict
    from reskill_sim.evaluation import SkillEvaluationConfig, evaluate_skills

    values = {name: getattr(options, name) for name in ("skills", "data", "episodes", "profile", "threads")}
    out = options.out or f"{options.skills.rstrip('/')}/evaluation"
    config = config_from_dict(SkillEvaluationConfig, {**values, "out": out}, source="the command line")
    evaluation = evaluate_skills(config, show_progress=not options.quiet)
    print("\n".join(evaluation.table()))
    print(f"results in {out}: evaluation.json, episodes.jsonl, paths.png")
    return 0

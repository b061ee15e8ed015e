"""``reskill report``: comparison of agent training runs on one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from reskill_core.errors import ConfigError
from reskill_core.files import require_writable_file
from reskill_sim.cli.arguments import Subparsers, add_verb


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "report",
        run,
        "compare agents' training runs on one self-contained HTML page: a table, learning curves, chosen skills, "
        "videos and provenance; runs of the same task and variant= with different seeds share a row",
        "reskill evaluate runs/agents/clean_up --policy agent --episodes 200 --out runs/agents/clean_up/evaluation",
        "reskill report runs/agents/clean_up",
        "reskill evaluate runs/skills/block --policy zero fast-script prior --task clean_up --out runs/references",
        "reskill report runs/agents/clean_up* --references runs/references --out report.html",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders of reskill train-agent and train-estimator"
    )
    parser.add_argument(
        "--references",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="results of reskill evaluate --policy …, for comparison",
    )
    parser.add_argument("--no-videos", action="store_true", help="leave out the videos, most of the page's size")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/report.html"), help="the page (default: runs/report.html)"
    )


def run(options: argparse.Namespace) -> int:
    """Read the runs, run the agents for figures and videos, and write the page."""
    from reskill_core.progress import progress_bar
    from reskill_core.report import compare, read_outcomes, read_run, write_page
    from reskill_sim.experiments.report import showcase

    require_writable_file(options.out, ConfigError)
    references = [outcome for folder in options.references for outcome in read_outcomes(folder)]
    comparisons = compare([read_run(folder) for folder in options.runs], references)
    shown = {
        comparison.task: showcase(comparison.variants[0].best, with_videos=not options.no_videos)
        for comparison in progress_bar(comparisons, desc="agents", unit="task")
    }
    write_page(options.out, comparisons, shown)
    print("".join(f"{warning}\n" for comparison in comparisons for warning in comparison.warnings), end="")
    print(f"{options.out}: {len(options.runs)} runs, {', '.join(shown)}, {options.out.stat().st_size / 1e6:.1f} MB")
    return 0

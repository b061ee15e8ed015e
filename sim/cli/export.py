"""``reskill export``: export of a run's best checkpoint and results."""

from __future__ import annotations

import argparse

from reskill_sim.cli.arguments import Subparsers, add_verb


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "export",
        run,
        "export the best checkpoint of a run, without its training state, with its configuration, evaluation and "
        "learning curves, to a new folder",
        "reskill export runs/agents/clean_up clean_up",
        "reskill export agents/clean_up clean_up --onnx",
    )
    parser.add_argument("run", help="run folder of a skill module or an agent")
    parser.add_argument("out", help="the new folder")
    parser.add_argument(
        "--onnx", action="store_true", help="also write the networks as ONNX files, for acting in other languages"
    )


def run(options: argparse.Namespace) -> int:
    """Export and print the files."""
    from reskill_core.checkpoint import load_checkpoint
    from reskill_core.runtime.loading import POLICY_KINDS
    from reskill_core.training.export import export_run, learnt_in

    files = export_run(options.run, options.out, options.onnx)
    print("\n".join(f"{path.stat().st_size / 1024:8.0f} KB  {path}" for path in files))
    print(f"learnt in: {learnt_in(load_checkpoint(options.out, *POLICY_KINDS))}")
    return 0

"""``reskill data``: inspection, listing, validation, splitting, merging and importing of data sets."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reskill_core.command_line import IntermixedParser
from reskill_core.errors import ConfigError
from reskill_core.parameters import MAX_SEED
from reskill_core.text import printable
from reskill_sim.cli.arguments import Subparsers, add_settings_argument, add_verb, number, read_settings

if TYPE_CHECKING:
    from reskill_core.data.operations import Progress, Validation

_IMPORTED_PER_SHARD = 100

Lines = Callable[[dict[str, Any]], list[str]]


def add_parser(subparsers: Subparsers) -> None:
    """Add ``data`` and its subcommands."""
    parser = subparsers.add_parser("data", help="inspect, list, validate, split, merge and import data sets")
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=IntermixedParser)

    info = add_verb(verbs, "info", run_info, "show a summary of a data set", "reskill data info data/block")
    info.add_argument("folder", type=Path, help="the data set")
    _add_on_bad_shard(info, default="skip")

    listing = add_verb(
        verbs,
        "list",
        run_list,
        "list the episodes of a data set, each with its index and label",
        "reskill data list data/block",
    )
    listing.add_argument("folder", type=Path, help="the data set")
    _add_on_bad_shard(listing, default="skip")

    check = add_verb(
        verbs,
        "validate",
        run_validate,
        "check a data set; exit code 1 if anything is wrong",
        "reskill data validate data/block",
        "reskill data validate data/block --repair --json",
    )
    check.add_argument("folder", type=Path, help="the data set")
    check.add_argument(
        "--repair",
        action="store_true",
        help="first remove unfinished files and update the index, as the next writer would",
    )

    split = add_verb(
        verbs,
        "split",
        run_split,
        "divide the episodes at random into named splits, stored in splits.json next to the shards",
        "reskill data split data/block",
        "reskill data split data/block train=0.8 validation=0.1 test=0.1 --seed 3",
    )
    split.add_argument("folder", type=Path, help="the data set")
    split.add_argument(
        "parts",
        nargs="*",
        default=["train=0.9", "validation=0.1"],
        metavar="NAME=SHARE",
        help="share of each split; they add up to 1 (default: train=0.9 validation=0.1)",
    )
    split.add_argument("--seed", type=number(int, 0, MAX_SEED), default=0, help="random seed (default: 0)")

    join = add_verb(
        verbs,
        "merge",
        run_merge,
        "merge data sets of the same kind into a new one with large shards",
        "reskill data merge data/monday data/tuesday --out data/week",
        "reskill data merge data/damaged --on-bad-shard skip --out data/sound",
    )
    join.add_argument(
        "sources", nargs="+", type=Path, metavar="SOURCE", help="the data sets to merge; they are not changed"
    )
    join.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the new data set")
    join.add_argument(
        "--episodes-per-shard",
        type=number(int, 1, 10**6),
        default=1000,
        metavar="N",
        help="size of the new shards (default: 1000)",
    )
    join.add_argument("--skip-duplicates", action="store_true", help="of bit-equal episodes keep only the first")
    _add_on_bad_shard(join, default="refuse")
    convert = add_verb(
        verbs,
        "import",
        run_import,
        "convert a file of another program to a new data set",
        "reskill data import kitchen_mixed.hdf5 --task kitchen --out data/kitchen_d4rl",
        "reskill data import ~/.minari/datasets/D4RL/kitchen/mixed-v2 --task kitchen --out data/kitchen_minari",
    )
    convert.add_argument("source", type=Path, metavar="FILE", help="the file, or the folder of a Minari data set")
    convert.add_argument("--task", required=True, help="the task it demonstrates; its family knows the formats")
    convert.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the new data set")
    add_settings_argument(convert, "those of the task")
    for verb in (info, listing, check, split, join, convert):
        verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run_info(arguments: argparse.Namespace) -> int:
    """Print a summary."""
    from reskill_core.data import summarise

    _report(arguments, summarise(arguments.folder, arguments.on_bad_shard), _info_lines)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Print all episodes."""
    from reskill_core.data import list_episodes

    _report(arguments, list_episodes(arguments.folder, arguments.on_bad_shard), _list_lines)
    return 0


def run_validate(arguments: argparse.Namespace) -> int:
    """Print all problems; returns 1 if there are any."""
    from reskill_core.data.operations import repair, validate

    removed = repair(arguments.folder) if arguments.repair else ()
    with _progress("shards") as progress:
        result = validate(arguments.folder, progress)
    result.notes += [f"removed {name}, left unfinished" for name in removed]
    _report(arguments, asdict(result), lambda _: _validation_lines(arguments.folder, result))
    return 1 if result.problems else 0


def run_split(arguments: argparse.Namespace) -> int:
    """Split and print the sizes of the splits."""
    from reskill_core.data import DemoDataset, write_splits
    from reskill_core.data.splits import SPLITS

    fractions = _parse_shares(arguments.parts)
    dataset = DemoDataset.open(arguments.folder)
    parts = write_splits(dataset, fractions, arguments.seed)
    document = {
        "file": str(arguments.folder / SPLITS),
        "episodes": {name: len(ids) for name, ids in parts.items()},
        "worlds": {
            world.describe(): {name: int((dataset.world_number[ids] == number).sum()) for name, ids in parts.items()}
            for number, world in enumerate(dataset.worlds)
        },
    }
    _report(arguments, document, _split_lines)
    return 0


def run_merge(arguments: argparse.Namespace) -> int:
    """Merge and print a summary of the result."""
    from reskill_core.data import merge, summarise

    with _progress("episodes") as progress:
        target = merge(
            arguments.sources,
            arguments.out,
            arguments.episodes_per_shard,
            arguments.on_bad_shard,
            arguments.skip_duplicates,
            progress,
        )
    _report(arguments, summarise(target), _info_lines)
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """Convert a file and print how, and a summary of the result."""
    from reskill_core.data import DatasetSpec, DatasetWriter, summarise
    from reskill_sim.families import get_task

    task = get_task(arguments.task, settings=read_settings(arguments))
    found = task.family.import_data(task, arguments.source)
    spec = DatasetSpec(task.spec, found.profile)
    with DatasetWriter(arguments.out, spec, resume=False, provenance=found.provenance) as writer:
        while episodes := list(islice(found.episodes, _IMPORTED_PER_SHARD)):
            writer.add_shard(episodes)
    summary = {**summarise(arguments.out), "notes": list(found.notes)}
    _report(arguments, summary, lambda _: [*_info_lines(summary), "", *(f"note: {note}" for note in found.notes)])
    return 0


def _add_on_bad_shard(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--on-bad-shard",
        choices=("refuse", "skip"),
        default=default,
        help=f"how to treat damaged or missing shards and invalid episodes (default: {default})",
    )


def _parse_shares(parts: list[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in parts:
        name, _, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            raise ConfigError(f"{part!r} is not a part of a split; write NAME=SHARE, such as train=0.9") from None
        if not name or name in shares:
            raise ConfigError(f"the parts of a split need different names, got {' '.join(parts)}")
        shares[name] = value
    return shares


@contextmanager
def _progress(unit: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal's standard error; yields a function of done and total."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", disable=None, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _report(
    arguments: argparse.Namespace, document: dict[str, Any], lines: Callable[[dict[str, Any]], list[str]]
) -> None:
    print(json.dumps(document, indent=2) if arguments.json else "\n".join(lines(document)))


def _info_lines(summary: dict[str, Any]) -> list[str]:
    length, noise = summary["episode_length"], summary["noise_scale"]
    commits = sorted({str(origin.get("git_commit")) for origin in summary["provenance"]})
    rows = {
        "data set": summary["folder"],
        "task": f"{summary['task']} (profile {summary['profile']}, {summary['control_rate_hz']:g} Hz)",
        "observation": f"{summary['observation_dim']}: "
        + ", ".join(f"{name} {size}" for name, size in summary["observation_terms"].items()),
        "images": ", ".join(map(_image, summary["images"].items())) or "none",
        "action": summary["action_dim"],
        "simulator state": summary["sim_state_dim"] or "none",
        "shards": f"{summary['num_shards']} ({summary['size_bytes'] / 1e6:.1f} MB)",
        "episodes": summary["num_episodes"],
        "steps": f"{summary['num_steps']} ({length['min']} to {length['max']} per episode, mean {length['mean']:.1f})",
        "noise scale": f"{noise['min']:.3g} to {noise['max']:.3g}",
        "success": f"{summary['success_rate']:.1%}",
        "world": "; ".join(f"{world['num_episodes']} in {world['text']}" for world in summary["worlds"]),
        "content hash": summary["content_hash"],
        "code": ", ".join(commits) or "-",
        "merged from": ", ".join(origin["name"] for origin in summary["merged_from"]) or "-",
    }
    lines = [f"{key:<16} {value}" for key, value in rows.items()]
    lines += _part_lines("source", summary["sources"])
    if summary["labels"]:
        lines += _part_lines("label", {_shown(label): part for label, part in summary["labels"].items()})
    return lines + _left_out_lines(summary)


def _part_lines(kind: str, parts: dict[str, dict[str, Any]]) -> list[str]:
    """Table of the parts of a data set, under an empty line."""
    width = max(24, *map(len, parts))
    lines = ["", f"{kind:<{width}} {'episodes':>8} {'success':>8} {'mean steps':>10}"]
    for name, part in parts.items():
        lines.append(
            f"{name:<{width}} {part['num_episodes']:>8} {part['success_rate']:>8.1%} {part['mean_length']:>10.1f}"
        )
    return lines


def _list_lines(document: dict[str, Any]) -> list[str]:
    width = max(8, *(len(row["source"]) for row in document["episodes"]))
    lines = [f"{'episode':>7} {'steps':>6} {'result':<7} {'seed':>10} {'source':<{width}} label"]
    for row in document["episodes"]:
        result = "success" if row["success"] else "failure"
        seed = row["seed"] if row["seed"] >= 0 else "-"
        lines.append(
            f"{row['episode']:>7} {row['steps']:>6} {result} {seed:>10} {row['source']:<{width}} {_shown(row['label'])}"
        )
    return lines + _left_out_lines(document)


def _shown(label: str) -> str:
    return printable(label) or "-"


def _left_out_lines(document: dict[str, Any]) -> list[str]:
    return [f"left out: {reason}" for reason in document["skipped"]]


def _image(item: tuple[str, dict[str, Any]]) -> str:
    name, image = item
    return f"{name} {'x'.join(map(str, image['shape']))}, {image['stack']} stacked, {image['size_bytes'] / 1e6:.1f} MB"


def _validation_lines(folder: Path, result: Validation) -> list[str]:
    verdict = f"{len(result.problems)} problems" if result.problems else "valid"
    lines = [f"{folder}: {verdict}; {result.num_episodes} episodes, {result.num_steps} steps"]
    lines += [f"problem: {problem}" for problem in result.problems]
    return lines + [f"note: {note}" for note in result.notes]


def _split_lines(document: dict[str, Any]) -> list[str]:
    sizes = [f"{name:<16} {size:>8} episodes" for name, size in document["episodes"].items()]
    worlds = [
        f"in {world}: {', '.join(f'{count} of {name}' for name, count in counts.items())}"
        for world, counts in document["worlds"].items()
    ]
    return [*sizes, *worlds, f"written to {document['file']}"]

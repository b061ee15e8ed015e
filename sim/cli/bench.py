"""``reskill bench``: benchmarks of throughput and latency, as tables and JSON."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reskill_core.errors import ReskillError
from reskill_core.files import atomic_write_json, require_writable_file
from reskill_core.provenance import provenance
from reskill_sim.cli.arguments import Subparsers, add_verb, number

Rows = list[dict[str, Any]]
_EPISODES = 400


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "bench",
        run,
        "measure throughput and latency; compare only figures of the same run, machines differ and are shared",
        "reskill bench sim",
        "reskill bench fidelity --episodes 1280",
        "reskill bench sim --task kitchen",
        "reskill bench data --data runs/data/block",
        "reskill bench ros --duration 60",
    )
    parser.add_argument("part", choices=tuple(_PARTS), help="what to measure")
    parser.add_argument(
        "--task",
        default="",
        help="a task of the family to measure, for sim and fidelity (default: the Fetch for sim, all)",
    )
    parser.add_argument("--data", default="", help=f"data set (default: {_EPISODES} new block demonstrations)")
    parser.add_argument("--skills", default="", help="skill module (default: an untrained one of the default size)")
    parser.add_argument(
        "--duration",
        type=number(float, 0.1, 86400.0),
        default=10.0,
        help="duration of each measurement [s] (default: 10)",
    )
    parser.add_argument(
        "--episodes", type=number(int, 1, 10**6), default=320, help="per demonstrator, for fidelity (default: 320)"
    )
    parser.add_argument(
        "--steps",
        type=number(int, 100, 10**12),
        default=1_000_000,
        help="total control steps, for endurance (default: 1000000)",
    )
    parser.add_argument("--profile", default="fast", help="simulator profile, for endurance (default: fast)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder for the JSON (default: runs/bench)"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print tables and write the JSON."""
    path = options.out / f"{options.part}.json"
    require_writable_file(path, ReskillError)
    found = _PARTS[options.part](options)
    for title, rows in found.items():
        print(f"{title}\n{table(rows)}\n")
    atomic_write_json(path, {"cores": os.cpu_count(), "provenance": provenance(), "results": found})
    print(f"written to {path}")
    return 0


def table(rows: Rows) -> str:
    """Format rows with the same keys as aligned columns."""
    header = list(rows[0])
    cells = [header, *([_text(row[key]) for key in header] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    return "\n".join(
        "  " + "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells
    )


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sim(options: argparse.Namespace) -> dict[str, Rows]:
    from reskill_sim.experiments.bench import bench_load, measure_collecting, measure_stepping, measure_threads

    load = bench_load(options.task)
    return {
        f"control steps per CPU-second, {load.demonstrator} in task {load.task}, in turns with the stock environment": (
            measure_stepping(load=load)
        ),
        "control steps per second, one thread and one per core in turns, the fastest round of each": measure_threads(
            load=load
        ),
        f"collecting {load.task} demonstrations, workers' start included": [measure_collecting(load=load)],
    }


def _fidelity(options: argparse.Namespace) -> dict[str, Rows]:
    from reskill_sim.families import families, family_of

    found = {}
    for family in (family_of(options.task),) if options.task else families():
        if rows := [dict(row) for row in family.measure_fidelity(options.episodes)]:
            found[f"profiles of family {family.name} beside the exact one, by what demonstrators do"] = rows
    return found


def _endurance(options: argparse.Namespace) -> dict[str, Rows]:
    from reskill_sim.experiments.bench import measure_endurance

    title = f"random actions in varied worlds, profile {options.profile}"
    return {title: measure_endurance(options.steps, options.profile)}


def _agent(options: argparse.Namespace) -> dict[str, Rows]:
    from reskill_core.bench import ppo, sac
    from reskill_sim.experiments.agent_training import measure_training

    return {
        "updates of PPO in an iteration, beside the same in torch": [asdict(row) for row in ppo.measure_updates()],
        "updates of SAC, beside the published networks and loss": [asdict(row) for row in sac.measure_updates()],
        "training an agent, learning included": measure_training(),
    }


def _with_data(options: argparse.Namespace, measure: Callable[[Path], dict[str, Rows]]) -> dict[str, Rows]:
    if options.data:
        return measure(Path(options.data))
    from reskill_sim.experiments.collect import CollectConfig, collect

    with tempfile.TemporaryDirectory() as folder:
        collect(CollectConfig(episodes=_EPISODES, out=folder))
        return measure(Path(folder))


def _data(options: argparse.Namespace) -> dict[str, Rows]:
    from reskill_core.bench.data import measure_images, measure_open, measure_windows
    from reskill_core.data import DemoDataset

    def measure(folder: Path) -> dict[str, Rows]:
        opened_s = measure_open(folder)
        dataset = DemoDataset.open(folder)
        size = {"episodes": dataset.num_episodes, "steps": dataset.num_steps, "open_s": opened_s}
        rates = [
            {"batch": batch, **asdict(measure_windows(dataset, batch_size=batch, duration_s=1.0))}
            for batch in (128, 256, 1024)
        ]
        images = [asdict(measure_images(pixels)) for pixels in (32, 128)]
        return {"opening": [size], "training windows of 10 steps": rates, "images in colour": images}

    return _with_data(options, measure)


def _skills(options: argparse.Namespace) -> dict[str, Rows]:
    from reskill_core.bench.skills import measure_training

    return _with_data(
        options, lambda folder: {"training a skill module": [asdict(row) for row in measure_training(folder)]}
    )


def _policy(options: argparse.Namespace) -> dict[str, Rows]:
    from reskill_core.bench.policy import measure_ticks

    return {"skill-policy tick, one environment, one thread": [asdict(row) for row in measure_ticks(options.skills)]}


def _ros(options: argparse.Namespace) -> dict[str, Rows]:
    try:
        from reskill_ros.tools.bench import measure, measure_floor
    except ImportError as error:
        raise ReskillError(f"measuring over ROS needs a built and sourced workspace: {error}") from error
    rates_hz, duration_s = (25.0, 100.0, 500.0), options.duration
    found: dict[str, Rows] = {}
    for title, processes, composed in (
        ("observation and policy in one process (composed:=true), command node apart", "two", True),
        ("observation, policy and command node as three processes", "three", False),
    ):
        found[f"sensors to driver command over ROS: {title}"] = [
            asdict(measure(rate_hz, duration_s, options.skills or None, composed=composed)) for rate_hz in rates_hz
        ]
        found[f"lower bound here: as many messages, but {processes} processes that only forward bytes"] = [
            asdict(measure_floor(rate_hz, duration_s, composed=composed)) for rate_hz in rates_hz
        ]
    return found


_PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Rows]]] = {
    "sim": _sim,
    "fidelity": _fidelity,
    "endurance": _endurance,
    "agent": _agent,
    "data": _data,
    "skills": _skills,
    "policy": _policy,
    "ros": _ros,
}

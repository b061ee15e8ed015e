"""Plots of evaluations of skills and policies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from reskill_core.files import replacing
from reskill_core.intervals import Estimate
from reskill_core.results import CombinationFigures, SweepFigures, SweepPoint
from reskill_core.seeding import EVALUATION_SEED
from reskill_core.spec import vector_of
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import NOMINAL

_TITLES = {
    "prior": "skills sampled from the prior",
    "standard_normal": "skills sampled from N(0, I)",
    "uniform": "uniform random actions",
}

# Measures of robustness.
_MEASURES = ("success", "episode_return")

# Views of positions in a plane and in space: axes across and up, and their labels.
_VIEWS: dict[int, dict[tuple[int, int], tuple[str, str]]] = {
    2: {(0, 1): ("x [m]", "y [m]")},
    3: {
        (1, 0): ("y, sideways [m]", "x, away from the robot [m]"),
        (1, 2): ("y, sideways [m]", "z, up [m]"),
    },
}


def plot_paths(path: Path, task: Task, paths: Mapping[str, NDArray[np.float64]]) -> None:
    """Plot paths of many samples from one start state, coloured by time: in a plane, or from above and from the side.

    Args:
        path: the PNG.
        task: the task they were sampled in.
        paths: (samples, T + 1, D) positions in a plane or in space [m] by source, such as the gripper's.
    """
    start = vector_of(task.make_env().reset([EVALUATION_SEED]))[0]
    marks = {name: start[column] for name, column in task.positions.items()}
    views = _VIEWS[next(iter(paths.values())).shape[-1]]
    figure = Figure(figsize=(5 * len(paths), 4 * len(views) if len(views) > 1 else 5), layout="constrained")
    grid = figure.subplots(len(views), len(paths), sharex="row", sharey="row", squeeze=False)
    for column, (source, samples) in enumerate(paths.items()):
        for row, ((across, up), labels) in enumerate(views.items()):
            axes = grid[row, column]
            if {across, up} == {0, 1}:
                corners = [(box[[across, up]], *box[[2 + across, 2 + up]]) for box in task.obstacles(EVALUATION_SEED)]
                boxes = [Rectangle(tuple(corner), width, height) for corner, width, height in corners]
                axes.add_collection(PatchCollection(boxes, facecolor="0.75", edgecolor="none"))
            for sample in samples:
                points = sample[:, [across, up]]
                segments = np.stack([points[:-1], points[1:]], axis=1)
                lines = LineCollection(list(segments), cmap="viridis", alpha=0.5, linewidths=1)
                lines.set_array(np.arange(len(segments)))
                axes.add_collection(lines)
            for name, position in marks.items():
                axes.plot(position[across], position[up], "o", markersize=9, label=name, markeredgecolor="white")
            axes.autoscale_view()
            axes.set_aspect("equal", adjustable="box")
            axes.set(xlabel=labels[0], ylabel=labels[1])
            axes.grid(alpha=0.3)
        grid[0, column].set_title(_TITLES.get(source, source))
    grid[0, 0].legend(loc="best")
    with replacing(path) as part:
        figure.savefig(part, dpi=110)


def plot_rollouts(
    path: Path,
    measures: Mapping[str, Mapping[str, Estimate]],
    best_of_samples: Mapping[str, Estimate],
    titles: Mapping[str, str],
) -> None:
    """Plot the measures of rollouts as bars with their 95 % intervals, a panel per measure and a bar per source.

    Args:
        path: the PNG.
        measures: estimates by source and measure.
        best_of_samples: error of the best sampled skill by source, for a panel of its own; may be empty.
        titles: titles of measures, by name; by default their names.
    """
    names = list(next(iter(measures.values())))
    panels = {titles.get(name, name): {source: found[name] for source, found in measures.items()} for name in names}
    if best_of_samples:
        panels["squared error, best sample"] = dict(best_of_samples)
    columns = min(len(panels), 6)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.6 * columns, 3.2 * rows))
    # A constrained layout of so many panels takes seconds.
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.13 / rows + 0.02, top=0.93, wspace=0.3, hspace=0.4)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, bars) in zip(grid, panels.items(), strict=False):
        for place, (source, estimate) in enumerate(bars.items()):
            low, high = (estimate.mean if end is None else end for end in (estimate.low, estimate.high))
            errors = [[max(estimate.mean - low, 0.0)], [max(high - estimate.mean, 0.0)]]
            axes.bar(place, estimate.mean, yerr=errors, color=f"C{list(measures).index(source)}", capsize=4)
        axes.set_title(title)
        axes.set_xticks(range(len(bars)), [source.replace("_", "\n") for source in bars])
        axes.grid(axis="y", alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    with replacing(path) as part:
        figure.savefig(part, dpi=100)


def plot_robustness(
    path: Path, title: str, sweeps: Sequence[SweepFigures], combinations: Sequence[CombinationFigures]
) -> None:
    """Plot success and return of a policy over sweeps and in combinations of changes, with 95 % intervals.

    Each sweep has a column, in which a dotted line marks the nominal value; all combinations share one.
    """
    columns = len(sweeps) + bool(combinations)
    figure = Figure(figsize=(max(1.5 + 2.5 * columns, 6), 5), layout="constrained")
    grid = figure.subplots(2, columns, sharex="col", sharey="row", squeeze=False)
    for column, sweep in zip(grid.T, sweeps, strict=False):
        values = [point.value for point in sweep.points]
        for axes, measure in zip(column, _MEASURES, strict=True):
            low, middle, high = _bounds(sweep.points, measure)
            axes.fill_between(values, low, high, alpha=0.25, linewidth=0)
            axes.plot(values, middle, ".-")
            axes.axvline(getattr(NOMINAL, sweep.name)[0], color="grey", linestyle=":")
        column[0].set_title(sweep.name.replace("_", " "))
        column[1].set_xlabel(sweep.unit)
        column[1].set_xticks(values, [f"{value:g}" for value in values])
    if combinations:
        places = range(len(combinations))
        for axes, measure in zip(grid[:, -1], _MEASURES, strict=True):
            low, middle, high = _bounds(combinations, measure)
            axes.errorbar(places, middle, (middle - low, high - middle), fmt=".", capsize=4)
        grid[0, -1].set_title("combinations")
        grid[1, -1].set_xticks(places, [each.name.replace("+", "\n") for each in combinations], rotation=90, fontsize=7)
    for axes in grid.ravel():
        axes.grid(alpha=0.3)
    grid[0, 0].set(ylabel="success", ylim=(-0.05, 1.05))
    grid[1, 0].set(ylabel="return")
    figure.suptitle(f"{title}, 95 % intervals")
    with replacing(path) as part:
        figure.savefig(part, dpi=110)


def _bounds(figures: Sequence[SweepPoint] | Sequence[CombinationFigures], measure: str) -> NDArray[np.float64]:
    """(3, number of figures) low ends of the intervals, means, and high ends."""
    estimates = [getattr(each, measure) for each in figures]
    return np.array([(estimate.low, estimate.mean, estimate.high) for estimate in estimates], dtype=float).T

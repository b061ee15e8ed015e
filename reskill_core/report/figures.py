"""Figures of a report, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array
from reskill_core.intervals import Estimate
from reskill_core.report.runs import Comparison, Variant, seed_band

_AXES = (("steps", "environment steps, all environments together"), ("minutes", "time trained [min]"))
_DASHES = ((0, (6, 2)), (0, (3, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (6, 2, 1, 2, 1, 2)))
_PANELS_PER_ROW = 4


@dataclass(frozen=True)
class SkillChoices:
    """Skills that an agent chose, and samples of the skill prior at the same observations.

    Attributes:
        chosen: (S, Z) latents of the agent.
        sampled: (S, Z) one latent sampled from the skill prior for each.
        number: (S,) index of the skill within its episode, from 0.
        episodes: number of episodes.
    """

    chosen: NDArray[np.float32]
    sampled: NDArray[np.float32]
    number: NDArray[np.int64]
    episodes: int


def plot_learning(comparison: Comparison) -> str:
    """Plot the evaluated return over steps and over time: mean and range of the seeds, references dashed."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(_AXES), sharey=True)
    for axes, (quantity, label) in zip(panels, _AXES, strict=True):
        for number, variant in enumerate(comparison.variants):
            curves = [(getattr(run.curve, quantity), run.curve.returns) for run in variant.runs]
            x, mean, low, high = seed_band(curves)
            axes.plot(x, mean, ".-", color=_colour(number), label=variant.name)
            axes.fill_between(x, low, high, color=_colour(number), alpha=0.2, linewidth=0)
        for number, reference in enumerate(comparison.references):
            dashes = _DASHES[number % len(_DASHES)]
            axes.axhline(reference.episode_return.mean, color="0.45", ls=dashes, lw=1.2, label=reference.policy)
        axes.set(xlabel=label)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    panels[0].xaxis.set_major_formatter(EngFormatter())
    panels[0].set_ylabel("evaluated return")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return _svg(figure)


def plot_robustness(variants: Sequence[Variant]) -> str | None:
    """Plot success and return over each varied parameter; None if no run has a robustness sweep."""
    lines = [
        (number, variant.name, sweep)
        for number, variant in enumerate(variants)
        for run in variant.runs
        if run.robustness
        for sweep in run.robustness.sweeps
    ]
    units = {sweep.name: sweep.unit for *_, sweep in lines}
    if not units:
        return None
    blocks, columns = -(-len(units) // _PANELS_PER_ROW), min(len(units), _PANELS_PER_ROW)
    figure = Figure(figsize=(11, 4.2 * blocks), layout="constrained")
    grid = figure.subplots(2 * blocks, columns, sharey="row", squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for at, (name, unit) in enumerate(units.items()):
        block, column = divmod(at, _PANELS_PER_ROW)
        success, returned = grid[2 * block : 2 * block + 2, column]
        for number, label, sweep in lines:
            if sweep.name == name:
                values = [point.value for point in sweep.points]
                _band(success, values, [point.success for point in sweep.points], number, label)
                _band(returned, values, [point.episode_return for point in sweep.points], number, label)
        for axes in (success, returned):
            axes.set_visible(True)
            axes.grid(alpha=0.3)
        success.set(title=name.replace("_", " "), ylim=(-0.03, 1.03))
        returned.set_xlabel(f"[{unit}]")
        if column == 0:
            success.set_ylabel("success")
            returned.set_ylabel("return")
    legends = [axes.get_legend_handles_labels() for axes in grid.flat]
    one_each = {label: handle for legend in legends for handle, label in zip(*legend, strict=True)}
    figure.legend(one_each.values(), one_each.keys(), loc="outside right upper", frameon=False)
    return _svg(figure)


def plot_choices(choices: SkillChoices) -> str:
    """Plot samples of the prior and choices of the agent in their first two principal components, by skill number."""
    count, numbers = len(choices.chosen), int(choices.number.max()) + 1
    points, share = principal_plane(np.concatenate([choices.sampled, choices.chosen]))
    colours, steps = matplotlib.colormaps["viridis"].resampled(numbers), Normalize(0.5, numbers + 0.5)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    titles = ("skill prior, one sample for each choice", f"agent, {count} choices in {choices.episodes} episodes")
    for axes, title, own in zip(panels, titles, (points[:count], points[count:]), strict=True):
        axes.plot(*points[:count].T, ".", color="0.85", markersize=4, zorder=1)
        dots = axes.scatter(*own.T, c=choices.number + 1, s=14, cmap=colours, norm=steps, linewidths=0, zorder=2)
        axes.set(title=title, xlabel=f"first principal component, {share[0]:.0%} of the variance", aspect="equal")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"second, {share[1]:.0%}")
    figure.colorbar(dots, ax=panels, label="skill of the episode", ticks=MaxNLocator(integer=True))
    return _svg(figure)


def principal_plane(latents: NDArray[np.float32]) -> tuple[Float64Array, Float64Array]:
    """Project latents onto their first two principal components.

    Args:
        latents: (S, Z).

    Returns:
        (S, 2) projected points, and (2,) the share of the variance along each axis; if Z is 1, the second of
        both is 0.
    """
    centred = latents.astype(float) - latents.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    kept = min(2, len(axes))
    points, share = np.zeros((len(latents), 2)), np.zeros(2)
    points[:, :kept] = centred @ axes[:kept].T
    share[:kept] = sizes[:kept] ** 2 / max(float(np.sum(sizes**2)), np.finfo(float).tiny)
    return points, share


def _band(axes: Axes, values: Sequence[float], intervals: Sequence[Estimate], number: int, label: str) -> None:
    axes.plot(values, [interval.mean for interval in intervals], ".-", color=_colour(number), label=label)
    low, high = np.array([(interval.low, interval.high) for interval in intervals], dtype=float).T
    axes.fill_between(values, low, high, color=_colour(number), alpha=0.2, linewidth=0)


def _colour(number: int) -> tuple[float, float, float, float]:
    """The ten usual colours, then the same in light."""
    return matplotlib.colormaps["tab20"](2 * number % 20 + number // 10 % 2)


def _svg(figure: Figure) -> str:
    # Reproducible text: deterministic identifiers, no date.
    with matplotlib.rc_context({"svg.hashsalt": "reskill"}):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()

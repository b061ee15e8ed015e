"""Plots of training runs, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from reskill_core.arrays import Float32Array
from reskill_core.files import replacing
from reskill_core.training.metrics import STEP

_LOSS_PANELS = (
    ("reconstruction", "½ Σ squared action error", ("train/reconstruction", "validation/reconstruction"), "log"),
    ("KL to N(0, I)", "nats", ("train/kl", "validation/kl"), "linear"),
    (
        "negative log likelihood of posterior samples",
        "nats",
        ("train/prior_nll", "validation/prior_nll", "validation/normal_nll"),
        "linear",
    ),
)


def plot_losses(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Plot the loss terms of training and validation over steps."""
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    for axes, (title, unit, tags, scale) in zip(figure.subplots(1, len(_LOSS_PANELS)), _LOSS_PANELS, strict=True):
        for tag in tags:
            points = [row for row in rows if tag in row]
            steps, values = [row[STEP] for row in points], [row[tag] for row in points]
            axes.plot(steps, values, marker="." if len(points) < 50 else None, label=tag)
        axes.set(title=title, xlabel="step", ylabel=unit, yscale=scale)
        axes.legend()
        axes.grid(alpha=0.3)
    _save(figure, path)


def plot_actions(path: Path, names: Sequence[str], demonstrated: Float32Array, reconstructed: Float32Array) -> None:
    """Plot reconstructed and demonstrated actions.

    Args:
        path: the PNG.
        names: names of the A action components.
        demonstrated: (B, H, A) labels of a few windows.
        reconstructed: (B, H, A) actions decoded at the same observations from the posterior mean.
    """
    windows, horizon, _ = demonstrated.shape
    figure = Figure(figsize=(2.4 * windows, 2 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    # Windows side by side, with a gap between them.
    steps = np.arange(windows)[:, None] * (horizon + 2) + np.arange(horizon)
    for component, (axes, name) in enumerate(zip(grid, names, strict=True)):
        for window in range(windows):
            label = ("demonstrated", "reconstructed") if window == 0 else (None, None)
            axes.plot(steps[window], demonstrated[window, :, component], "k.-", label=label[0])
            axes.plot(steps[window], reconstructed[window, :, component], "C1.-", label=label[1])
        axes.set(ylabel=name, ylim=(-1.1, 1.1))
        axes.grid(alpha=0.3)
    grid[0].set_title("actions in windows of held-out demonstrations")
    grid[0].legend(fontsize="small")
    centres = steps.mean(axis=1)
    grid[-1].set_xticks(centres, [f"window {window + 1}: {horizon} steps" for window in range(windows)])
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as part:
        figure.savefig(part, dpi=100)


def plot_returns(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Plot return and success of an agent over environment steps, in training with exploration and in evaluations."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("return", "success"), strict=True):
        for tag in (f"train/{name}", f"evaluation/{name}"):
            points = [row for row in rows if tag in row]
            axes.plot([row[STEP] for row in points], [row[tag] for row in points], marker=".", label=tag)
        axes.set(title=name, xlabel="environment steps")
        axes.legend()
        axes.grid(alpha=0.3)
    _save(figure, path)

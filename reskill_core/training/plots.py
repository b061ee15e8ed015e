"""Plots of a skill training run as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reskill_core.training.metrics import STEP

FloatArray = NDArray[np.float32]

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
    """Loss terms against steps, training beside validation."""
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


def plot_actions(path: Path, names: Sequence[str], demonstrated: FloatArray, reconstructed: FloatArray) -> None:
    """Reconstructed against demonstrated actions.

    Args:
        path: the PNG.
        names: A action components.
        demonstrated: (B, H, A) labels of a few windows.
        reconstructed: (B, H, A) decoded at the same observations from the posterior mean.
    """
    windows = len(demonstrated)
    figure = Figure(figsize=(3 * windows, 2 * len(names)), layout="constrained")
    grid: NDArray[np.object_] = figure.subplots(len(names), windows, sharex=True, sharey=True, squeeze=False)
    for row, name in enumerate(names):
        for column in range(windows):
            axes: Axes = grid[row, column]
            axes.plot(demonstrated[column, :, row], "k.-", label="demonstrated")
            axes.plot(reconstructed[column, :, row], "C1.-", label="reconstructed")
            axes.set_ylim(-1.1, 1.1)
            axes.grid(alpha=0.3)
        grid[row, 0].set_ylabel(name)
    for column in range(windows):
        grid[-1, column].set_xlabel("control step")
        grid[0, column].set_title(f"validation window {column + 1}")
    grid[0, 0].legend(fontsize="small")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)

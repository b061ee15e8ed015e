"""Pictures of what skills do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reskill_sim.evaluation.rollouts import EVALUATION_SEED
from reskill_sim.simulator import Simulator
from reskill_sim.tasks.base import Task

_TITLES = {
    "prior": "skills sampled from the prior",
    "standard_normal": "skills sampled from N(0, I)",
    "uniform": "uniform random actions",
}


def plot_paths(path: Path, task: Task, paths: Mapping[str, NDArray[np.float64]]) -> None:
    """Gripper paths of many samples from one start, from above and from the side, coloured by time.

    Args:
        path: the PNG.
        task: the task they were sampled in.
        paths: (samples, T + 1, 3) gripper positions [m] by source.
    """
    simulator = Simulator(task)
    simulator.reset([EVALUATION_SEED])
    marks = dict(zip(task.spec.obs.frames, simulator.frame.frame_pos_w[0], strict=True))
    figure = Figure(figsize=(5 * len(paths), 8), layout="constrained")
    grid = figure.subplots(2, len(paths), sharex="row", sharey="row", squeeze=False)
    for column, (source, samples) in enumerate(paths.items()):
        for row, (across, up) in enumerate(((1, 0), (1, 2))):
            axes = grid[row, column]
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
            axes.set(xlabel="y, sideways [m]", ylabel="x, away from the robot [m]" if row == 0 else "z, up [m]")
            axes.grid(alpha=0.3)
        grid[0, column].set_title(_TITLES.get(source, source))
    grid[0, 0].legend(loc="best")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)

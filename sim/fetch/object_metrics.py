"""Metrics of an episode by what it did to the manipulated object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_core.spec import TaskSpec

MOVED_M = 0.02
LIFTED_M = 0.02
NEAR_GOAL_M = 0.05
# What the metrics are called in tables.
TITLES = {"moved": "moved >2cm", "lifted": "lifted >2cm", "reached": "<5cm of goal"}


def object_metrics(spec: TaskSpec, episode: Episode) -> dict[str, float]:
    """Metrics of an episode.

    Returns:
        ``moved``: the object was moved by more than 2 cm; ``lifted``: it was lifted by more than 2 cm; ``reached``: it
        came within 5 cm of the goal at some time; ``final_distance_m``: its distance to the goal at the end [m];
        ``travel_m``: from where it ends to where it started [m].
    """
    path = object_positions(spec, episode)
    distance = np.linalg.norm(path - episode.final_observation[spec.obs.slice("goal_position")], axis=1)
    return {
        "moved": bool(np.linalg.norm(path - path[0], axis=1).max() > MOVED_M),
        "lifted": bool((path[:, 2] - path[0, 2]).max() > LIFTED_M),
        "reached": bool(distance.min() < NEAR_GOAL_M),
        "final_distance_m": float(distance[-1]),
        "travel_m": float(np.linalg.norm(path[-1] - path[0])),
    }


def object_positions(spec: TaskSpec, episode: Episode) -> NDArray[np.float32]:
    """(T + 1, 3) positions of the manipulated object over an episode [m]."""
    column = spec.obs.slice(f"{spec.obs.objects[0]}_position")
    return np.concatenate([episode.observation[:, column], episode.final_observation[None, column]])

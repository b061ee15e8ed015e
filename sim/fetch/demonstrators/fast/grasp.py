"""Grasping in motion, for fast scripts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_sim.fetch.demonstrators.motions import CLOSE, OPEN, command


@dataclass(frozen=True)
class Grasp:
    """Grasp that descends from the side, closes the fingers in motion and drags the object before they are shut.

    The fingers open along y: with an offset along y one of them would hit the object from above, with an offset along x
    both pass beside it. So the height is proportional to the distance along y, and to that along x only if another
    object is in the way.

    Attributes:
        gain: action per metre of distance; 31 is the inverse of the gripper's displacement per step at full action.
        lag: share of the last step's displacement that follows in the next step without any action.
        hover_m: maximum height over the object during the approach [m].
        funnel: height per distance along x and y, up to ``hover_m``.
        depth_m: height over the object's centre at which it is held [m].
        close_within_m: distance along x, y and z within which the fingers close [m].
        inside_m: distance along x, y and z within which the object is between the fingers [m].
        shut_m: finger position below which they catch the object, so that it can be dragged along y [m].
        holding_m: range of finger positions at which they hold it; below, they have missed it [m].
    """

    gain: float = 31.0
    lag: float = 0.09
    hover_m: float = 0.055
    funnel: tuple[float, float] = (0.0, 0.9)
    depth_m: float = 0.0
    close_within_m: tuple[float, float, float] = (0.03, 0.03, 0.055)
    inside_m: tuple[float, float, float] = (0.04, 0.03, 0.029)
    shut_m: float = 0.055
    holding_m: tuple[float, float] = (0.018, 0.03)

    def holds(self, relative: Float64Array, fingers: Float64Array) -> BoolArray:
        """(N,) whether objects at ``relative`` (N, 3) [m] are between closed fingers (N,) [m]."""
        shut = (fingers > self.holding_m[0]) & (fingers < self.holding_m[1])
        return shut & (np.abs(relative) < self.inside_m).all(axis=1)

    def action(
        self, relative: Float64Array, moved: Float64Array, fingers: Float64Array, drag: Float64Array
    ) -> Float64Array:
        """(N, 4) actions that grasp the objects.

        Args:
            relative: (N, 3) position of the object relative to the gripper [m].
            moved: (N, 3) displacement of the gripper over the last control step [m].
            fingers: (N,) mean finger position [m].
            drag: (N,) action along y once the fingers catch the object.
        """
        error = relative - self.lag * moved
        closes = (np.abs(error) < self.close_within_m).all(axis=1)
        error[:, 2] += self.depth_m + np.minimum((np.abs(error[:, :2]) * self.funnel).max(axis=1), self.hover_m)
        catches = (np.abs(relative) < self.inside_m).all(axis=1) & (fingers < self.shut_m)
        velocity = self.gain * error
        velocity[:, 1] = np.where(catches, drag, velocity[:, 1])
        return command(velocity, np.where(closes | catches, CLOSE, OPEN))

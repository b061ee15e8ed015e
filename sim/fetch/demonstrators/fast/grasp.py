"""Take hold of an object without ever standing still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_sim.fetch.demonstrators.motions import CLOSE, OPEN, BoolArray, FloatArray, command


@dataclass(frozen=True)
class Grasp:
    """Come down on an object from the side, close the fingers on the way and drag it along before they are shut.

    The fingers open along y: at a distance along y one of them would come down on the object, at a distance along x
    both pass beside it. So the height that they keep shrinks with the distance along y, and along x only has to
    where something else stands in the way.

    Attributes:
        gain: action per metre of distance; 31 is the inverse of how far the gripper gets in a step at full action.
        lag: share of the last step's displacement that is still to come without any action.
        hover_m: height over the object at which the gripper comes from far away [m].
        funnel: height per distance along x and y, up to that.
        depth_m: height over the middle of the object at which it is held [m].
        close_within_m: distance along x, y and z from which on the fingers close [m].
        inside_m: distance along x, y and z within which the object is between the fingers [m].
        shut_m: finger position below which they catch the object, so that it can be dragged along y [m].
        holding_m: between these finger positions they hold it; closed further, they have missed it [m].
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

    def holds(self, relative: FloatArray, fingers: FloatArray) -> BoolArray:
        """(N,) whether objects at ``relative`` (N, 3) [m] are between closed fingers (N,) [m]."""
        shut = (fingers > self.holding_m[0]) & (fingers < self.holding_m[1])
        return shut & (np.abs(relative) < self.inside_m).all(axis=1)

    def action(self, relative: FloatArray, moved: FloatArray, fingers: FloatArray, drag: FloatArray) -> FloatArray:
        """(N, 4) actions towards holding the objects.

        Args:
            relative: (N, 3) the object, seen from the gripper [m].
            moved: (N, 3) displacement of the gripper over the last control step [m].
            fingers: (N,) mean finger position [m].
            drag: (N,) action along y as soon as the fingers catch the object.
        """
        error = relative - self.lag * moved
        closes = (np.abs(error) < self.close_within_m).all(axis=1)
        error[:, 2] += self.depth_m + np.minimum((np.abs(error[:, :2]) * self.funnel).max(axis=1), self.hover_m)
        catches = (np.abs(relative) < self.inside_m).all(axis=1) & (fingers < self.shut_m)
        velocity = self.gain * error
        velocity[:, 1] = np.where(catches, drag, velocity[:, 1])
        return command(velocity, np.where(closes | catches, CLOSE, OPEN))

"""Take hold of an object without ever standing still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_sim.demonstrators.motions import CLOSE, BoolArray, FloatArray, command


@dataclass(frozen=True)
class Grasp:
    """Come down on an object from the side, close the fingers on the way and drag it along before they are shut.

    The fingers open along y: it is along y that they must not come down on the object, so that the height they keep
    shrinks with the distance along y alone. "From" a point is the gripper's own place, "relative" the point seen from
    there.

    Attributes:
        gain: action per metre of distance; 31 is the inverse of how far the gripper gets in a step at full action.
        lag: share of the last step's displacement that is still to come without any action.
        hover_m: height over the object at which the gripper comes from far away [m].
        funnel: height per distance along y, up to that.
        depth_m: height over the middle of the object at which it is held [m].
        open_m: finger position that the open fingers keep; less than fully open closes sooner [m].
        close_within_m: distance along x, y and z from which on the fingers close [m].
        inside_m: distance along x, y and z within which the object is between the fingers [m].
        shut_m: finger position below which they catch the object, so that it can be dragged along y [m].
        holding_m: finger position below which they hold it [m].
    """

    gain: float = 31.0
    lag: float = 0.09
    hover_m: float = 0.055
    funnel: float = 0.9
    depth_m: float = 0.0
    open_m: float = 0.045
    close_within_m: tuple[float, float, float] = (0.03, 0.03, 0.055)
    inside_m: tuple[float, float, float] = (0.04, 0.03, 0.029)
    shut_m: float = 0.055
    holding_m: float = 0.03

    def holds(self, relative: FloatArray, fingers: FloatArray) -> BoolArray:
        """(N,) whether objects at ``relative`` (N, 3) [m] are between closed fingers (N,) [m]."""
        return (np.abs(relative) < self.inside_m).all(axis=1) & (fingers < self.holding_m)

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
        error[:, 2] += self.depth_m + np.minimum(self.funnel * np.abs(error[:, 1]), self.hover_m)
        catches = (np.abs(relative) < self.inside_m).all(axis=1) & (fingers < self.shut_m)
        velocity = self.gain * error
        velocity[:, 1] = np.where(catches, drag, velocity[:, 1])
        return command(velocity, np.where(closes | catches, CLOSE, self.open_m - fingers))

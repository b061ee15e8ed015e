"""Where the kitchen's handles are, in batches, from the coordinates of what they move."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array, IntArray
from reskill_sim.kitchen.constants import FURNITURE
from reskill_sim.kitchen.subtasks import SUBTASKS
from reskill_sim.kitchen.task import KITCHEN_OBS

# By subtask: the observed coordinate that it moves, the direction of that, and the site in the model by which it is
# moved. The kettle is pushed along y.
_HANDLES = {
    "microwave": ("microwave", -1.0, "microhandle_site"),
    "kettle": ("kettle", 1.0, ""),
    "bottom_burner": ("bottom_left_knob", -1.0, "knob2_site"),
    "top_burner": ("top_left_knob", -1.0, "knob4_site"),
    "light_switch": ("light_switch", -1.0, "light_site"),
    "slide_cabinet": ("slide_cabinet", 1.0, "slide_site"),
    "hinge_cabinet": ("right_hinge_cabinet", 1.0, "hinge_site2"),
}
# Knobs are pushed at the left of their upper end, from their centre [m].
_KNOB_END = np.array([-0.014, 0.0, 0.035])
_KETTLE = list(SUBTASKS).index("kettle")


@dataclass(frozen=True)
class Furniture:
    """Handles of all subtasks, in the order of ``SUBTASKS``.

    Attributes:
        columns: (7,) column of the moved coordinate in the observation.
        sign: (7,) direction in which the subtask moves it.
        turns: (7,) whether it is an angle.
        anchor: (7, 3) point on the axis of movement [m].
        axis: (7, 3) axis of movement.
        start: (7, 3) position of the handle at coordinate 0 [m]; for the kettle it is observed.
    """

    columns: IntArray
    sign: Float64Array
    turns: Float64Array
    anchor: Float64Array
    axis: Float64Array
    start: Float64Array

    @staticmethod
    def of(model: mujoco.MjModel) -> Furniture:
        """Read handles from a compiled model."""
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        joint_of = {name: joint for name, joint, _ in FURNITURE}
        columns, sign, turns = np.zeros(7, dtype=np.int64), np.ones(7), np.zeros(7)
        anchor, axis, start = np.zeros((3, 7, 3))
        for index, name in enumerate(SUBTASKS):
            observed, sign[index], site = _HANDLES[name]
            columns[index] = KITCHEN_OBS.slice(f"{observed}_position").start
            if index == _KETTLE:
                columns[index] += 1
                axis[index] = (0.0, 1.0, 0.0)
                continue
            joint = model.joint(joint_of[observed]).id
            turns[index] = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE
            anchor[index], axis[index] = data.xanchor[joint], data.xaxis[joint]
            start[index] = data.site_xpos[model.site(site).id] + _KNOB_END * ("knob" in site)
        return Furniture(columns, sign, turns, anchor, axis, start)

    def coordinate(self, which: IntArray, vectors: Float64Array) -> Float64Array:
        """(n,) moved coordinate of subtasks (n,) in observations (n, 59)."""
        return vectors[np.arange(len(vectors)), self.columns[which]]

    def handle(
        self, which: IntArray, vectors: Float64Array, coordinate: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Return positions (n, 3) of handles and directions (n, 3) of their movement, at other coordinates.

        Args:
            which: (n,) subtasks.
            vectors: (n, 59) observations.
            coordinate: (n,) coordinates [rad or m].
        """
        axis, value = self.axis[which], coordinate[:, None]
        radius = self.start[which] - self.anchor[which]
        along = axis * (axis * radius).sum(axis=1, keepdims=True)
        turned = self.anchor[which] + np.cos(value) * (radius - along) + np.sin(value) * np.cross(axis, radius) + along
        pushed = self.start[which] + value * axis
        kettle = vectors[:, KITCHEN_OBS.slice("kettle_position")]
        pushed = np.where((which == _KETTLE)[:, None], kettle + (value - kettle[:, 1:2]) * axis, pushed)
        turns = self.turns[which][:, None] > 0
        point = np.where(turns, turned, pushed)
        direction = np.where(turns, np.cross(axis, point - self.anchor[which]), axis) * self.sign[which][:, None]
        return point, direction / np.linalg.norm(direction, axis=1, keepdims=True)

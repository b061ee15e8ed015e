"""Computation of observation vectors from sensor readings, for simulator and robot alike.

The simulator calls it on a batch of environments, the observation node on the newest sensor messages; equal float64
inputs give bit-equal observations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.errors import SpecError
from reskill_core.rotations import euler_from_quat, rotation_vector_between
from reskill_core.spec import ObsSpec, ObsTerm


@dataclass(frozen=True)
class SensorFrame:
    """Sensor readings at one time, for a batch of N robots.

    Attributes:
        joint_pos: (N, J) joint positions, ordered as ``ObsSpec.joints`` [m or rad].
        frame_pos_w: (N, F, 3) positions of the frames, ordered as ``ObsSpec.frames``, in world coordinates [m].
        frame_quat_wxyz: (N, F, 4) unit quaternions frame to world, scalar first.
        named: (N, size) values of each ``named`` term, by its name [its unit].
    """

    joint_pos: Float64Array
    frame_pos_w: Float64Array
    frame_quat_wxyz: Float64Array
    named: Mapping[str, Float64Array] = field(default_factory=dict)

    def check(self, spec: ObsSpec) -> None:
        """Raise a :class:`SpecError` unless the shapes fit ``spec``."""
        batch = self.joint_pos.shape[0]
        expected = {
            "joint_pos": (batch, len(spec.joints)),
            "frame_pos_w": (batch, len(spec.frames), 3),
            "frame_quat_wxyz": (batch, len(spec.frames), 4),
        }
        wrong = [
            f"{name} has shape {getattr(self, name).shape}, expected {shape}"
            for name, shape in expected.items()
            if getattr(self, name).shape != shape
        ]
        for term in spec.named:
            shape = self.named[term.name].shape if term.name in self.named else None
            if shape != (batch, term.size):
                got = f"has shape {shape}" if shape else "is missing"
                wrong.append(f"{term.name} {got}, expected {(batch, term.size)}")
        if wrong:
            raise SpecError("sensor frame does not fit the observation: " + "; ".join(wrong))


class ObservationBuilder:
    """Builder of observations according to an :class:`ObsSpec`."""

    def __init__(self, spec: ObsSpec) -> None:
        self.spec = spec
        self._frame_index = {name: index for index, name in enumerate(spec.frames)}
        self._joint_index = {name: index for index, name in enumerate(spec.joints)}

    def build(self, frame: SensorFrame, previous: SensorFrame) -> Float64Array:
        """Compute observations (N, O) from the sensor readings now and one control period ago.

        In the first step of an episode pass the same frame twice: displacements are zero.

        Raises:
            SpecError: the frames do not fit the specification.
        """
        frame.check(self.spec)
        previous.check(self.spec)
        observation = np.zeros((frame.joint_pos.shape[0], self.spec.dim))
        for term in self.spec.terms:
            if term.kind != "zeros":
                observation[:, self.spec.slice(term.name)] = self._term(term, frame, previous)
        return observation

    def _term(self, term: ObsTerm, now: SensorFrame, before: SensorFrame) -> Float64Array:
        if term.kind == "named":
            return now.named[term.name]
        if term.kind in ("joint_position", "joint_displacement"):
            joints = [self._joint_index[name] for name in term.of]
            position = now.joint_pos[:, joints]
            return position if term.kind == "joint_position" else position - before.joint_pos[:, joints]
        frames = [self._frame_index[name] for name in term.of]
        first, last = frames[0], frames[-1]
        if term.kind == "position":
            return now.frame_pos_w[:, first]
        if term.kind == "relative_position":
            return now.frame_pos_w[:, first] - now.frame_pos_w[:, last]
        if term.kind == "displacement":
            return now.frame_pos_w[:, first] - before.frame_pos_w[:, first]
        if term.kind == "relative_displacement":
            moved = now.frame_pos_w[:, [first, last]] - before.frame_pos_w[:, [first, last]]
            return moved[:, 0] - moved[:, 1]
        if term.kind == "euler":
            return euler_from_quat(now.frame_quat_wxyz[:, first])
        return rotation_vector_between(before.frame_quat_wxyz[:, first], now.frame_quat_wxyz[:, first])

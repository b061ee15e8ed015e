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
from reskill_core.spec import ObsSpec

_CHANGES = ("displacement", "relative_displacement", "joint_displacement")
_OF_FRAMES = ("position", "relative_position", "displacement", "relative_displacement")
_OF_JOINTS = ("joint_position", "joint_displacement")


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
    """Builder of observations according to an :class:`ObsSpec`.

    Each entry except rotations is the difference of two columns of one table: zeros, the readings now, and the changes
    of positions over the last control period. Two selections of columns therefore give all entries at once.
    """

    def __init__(self, spec: ObsSpec) -> None:
        self.spec = spec
        self._named = [term.name for term in spec.named]
        sizes = [(term.size,) for term in spec.named]
        # Of one robot, as SensorFrame.check expects them.
        self._shapes = [(len(spec.joints),), (len(spec.frames), 3), (len(spec.frames), 4), *sizes]
        self._euler, self._rotation = _Rotations(spec, "euler"), _Rotations(spec, "rotation_displacement")
        # Column 0 is zero; joints, frames and named terms follow, and then the changes of what precedes the latter.
        joints = {name: [1 + index] for index, name in enumerate(spec.joints)}
        start = 1 + len(spec.joints)
        frames = {name: [start + 3 * index + axis for axis in range(3)] for index, name in enumerate(spec.frames)}
        self._num_positions = start + 3 * len(spec.frames)
        self._width = self._num_positions + sum(size for (size,) in sizes)
        self._plus, self._minus = np.zeros((2, spec.dim), np.intp)
        named = iter(range(self._num_positions, self._width))
        for term in spec.terms:
            part = spec.slice(term.name)
            shift = self._width if term.kind in _CHANGES else 0
            if term.kind == "named":
                self._plus[part] = [next(named) for _ in range(term.size)]
            elif term.kind in _OF_JOINTS:
                self._plus[part] = [shift + column for name in term.of for column in joints[name]]
            elif term.kind in _OF_FRAMES:
                self._plus[part] = np.add(shift, frames[term.of[0]])
                if len(term.of) == 2:
                    self._minus[part] = np.add(shift, frames[term.of[1]])

    def build(self, frame: SensorFrame, previous: SensorFrame) -> Float64Array:
        """Compute observations (N, O) from the sensor readings now and one control period ago.

        In the first step of an episode pass the same frame twice: displacements are zero.

        Raises:
            SpecError: the frames do not fit the specification.
        """
        now, before = self._readings(frame), self._readings(previous)
        changes = now[:, : self._num_positions] - before[:, : self._num_positions]
        table = np.concatenate((now, changes), axis=1)
        observation = table.take(self._plus, axis=1)
        observation -= table.take(self._minus, axis=1)
        quat, quat_before = frame.frame_quat_wxyz, previous.frame_quat_wxyz
        if len(self._euler.frames):
            turned = euler_from_quat(quat[:, self._euler.frames])
            observation[:, self._euler.entries] = turned.reshape(len(observation), -1)
        if len(self._rotation.frames):
            of = self._rotation.frames
            turned = rotation_vector_between(quat_before[:, of], quat[:, of])
            observation[:, self._rotation.entries] = turned.reshape(len(observation), -1)
        return observation

    def _readings(self, frame: SensorFrame) -> Float64Array:
        """Zeros, joints, frames and named terms of a frame, side by side."""
        batch = len(frame.joint_pos)
        named = [frame.named[name] for name in self._named if name in frame.named]
        parts = (frame.joint_pos, frame.frame_pos_w, frame.frame_quat_wxyz, *named)
        if [part.shape for part in parts] != [(batch, *shape) for shape in self._shapes]:
            frame.check(self.spec)
        zeros = np.zeros((batch, 1))
        return np.concatenate((zeros, frame.joint_pos, frame.frame_pos_w.reshape(batch, -1), *named), axis=1)


class _Rotations:
    """Terms of one kind that describe rotations.

    Attributes:
        frames: (K,) indices of their frames.
        entries: (3 K,) their entries of the observation.
    """

    def __init__(self, spec: ObsSpec, kind: str) -> None:
        terms = [term for term in spec.terms if term.kind == kind]
        self.frames = np.array([spec.frames.index(term.of[0]) for term in terms], np.intp)
        entries = [np.arange(spec.dim)[spec.slice(term.name)] for term in terms]
        self.entries = np.concatenate(entries) if terms else np.zeros(0, np.intp)

"""Perception: sensor readings for observations, true or with delay and noise."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float64Array, IntArray
from reskill_core.observation import SensorFrame
from reskill_core.seeding import episode_rng
from reskill_core.spec import GOAL_FRAME
from reskill_sim.engine.mechanism import Mechanism
from reskill_sim.engine.rows import RowLayout
from reskill_sim.engine.task import SimulatedTask
from reskill_sim.engine.variation import Variation

_UPRIGHT = (1.0, 0.0, 0.0, 0.0)


class Perception:
    """Computation of sensor frames from state rows.

    Args:
        task: the task, with its variation of perception.
        mechanism: the mechanism with the sensors.
        layout: layout of the rows.
        num_envs: number N of environments.

    Attributes:
        drawn: in each of the N environments, what is drawn for its episode, by name of the parameter [m].
    """

    def __init__(self, task: SimulatedTask, mechanism: Mechanism, layout: RowLayout, num_envs: int) -> None:
        self._layout, self._variation = layout, task.variation
        self._num_joints = len(task.spec.obs.joints)
        self._joint_columns = mechanism.joint_columns(task.spec.obs.joints)
        self._frame_columns = self._columns_of_frames(task, mechanism)
        sensors = np.arange(self._num_joints, layout.reading_size)
        self._named_columns = {term.name: sensors[mechanism.sensor_of(term.name)] for term in task.spec.obs.named}
        self._inexact = task.variation.perceives_inexactly
        self.drawn = [{"perception_noise": 0.0, "perception_bias": 0.0} for _ in range(num_envs)]
        # Errors of perception over each environment's episode, drawn at its start.
        self._errors = np.zeros((num_envs, task.spec.horizon + 1 if self._inexact else 0, len(task.spec.obs.frames), 3))
        self._perceived = np.array([name in mechanism.perceived for name in task.spec.obs.frames], dtype=np.bool_)

    def begin(self, place: int, row: Float64Array, strength: float) -> None:
        """Draw the errors of the episode in a place, from the seed in its row and the strength of its variation."""
        if self._inexact:
            seed = int(row[self._layout.seed][0])
            variation = self._variation.of_episode(seed, strength)
            scale, noise = _drawn_noise(seed, variation, self._errors.shape[1:])
            length, offset = _drawn_bias(seed, variation)
            self.drawn[place] = {"perception_noise": scale, "perception_bias": length}
            self._errors[place] = (noise + offset) * self._perceived[:, None]

    def readings(self, rows: Float64Array) -> Float64Array:
        """(n, R) readings: positions of observed joints, and sensor values."""
        return np.concatenate([rows[:, self._joint_columns], rows[:, self._layout.sensors]], axis=1)

    def known(self, rows: Float64Array) -> Float64Array:
        """(n, 1 + earlier steps, R) readings now and in earlier control steps, newest first."""
        now = self.readings(rows)
        return np.concatenate(
            [now[:, None], rows[:, self._layout.history].reshape(len(rows), -1, now.shape[1])], axis=1
        )

    def actual(self, rows: Float64Array) -> tuple[SensorFrame, SensorFrame]:
        """Return the true sensor frames now and one control step ago; twice that of now if steps are not compared."""
        layout, goal = self._layout, rows[:, self._layout.goal]
        now = self.frame(self.readings(rows), goal)
        if layout.history.start == layout.history.stop:
            return now, now
        previous = rows[:, layout.history][:, : layout.reading_size]
        return now, self.frame(previous, goal)

    def perceived(
        self, rows: Float64Array, actual: tuple[SensorFrame, SensorFrame], places: IntArray | None
    ) -> tuple[SensorFrame, SensorFrame]:
        """Return the perceived sensor frames now and one control step ago: objects with delay, noise and bias.

        Args:
            rows: (n, S) rows of the environments.
            actual: their true sensor frames, of :meth:`actual`.
            places: (n,) indices of the environments; all by default.
        """
        if not self._variation.perceives_otherwise:
            return actual
        layout, count, goal = self._layout, len(rows), rows[:, self._layout.goal]
        known = self.known(rows)
        frames = [self.frame(known[:, age], goal) for age in (0, 1)]
        delay = rows[:, layout.delays][:, 0].astype(int)
        step = rows[:, layout.step][:, 0].astype(int)
        errors = self._errors if places is None else self._errors[places]
        for age, frame in enumerate(frames):
            late = self.frame(known[np.arange(count), delay + age], goal)
            frame.frame_pos_w[:, self._perceived] = late.frame_pos_w[:, self._perceived]
            frame.frame_quat_wxyz[:, self._perceived] = late.frame_quat_wxyz[:, self._perceived]
            if self._inexact:
                # Before the first reading has arrived, its error; past the horizon, errors repeat.
                seen = np.maximum(step - delay - age, 0) % errors.shape[1]
                frame.frame_pos_w[:] += errors[np.arange(count), seen]
        return frames[0], frames[1]

    def frame(self, readings: Float64Array, goal: Float64Array) -> SensorFrame:
        """Sensor frame of readings (n, R) and goals (n, 3)."""
        values = np.concatenate([readings, goal, np.broadcast_to(_UPRIGHT, (len(readings), 4))], axis=1)
        pos, quat = self._frame_columns
        named = {name: readings[:, column] for name, column in self._named_columns.items()}
        return SensorFrame(readings[:, : self._num_joints], values.take(pos, axis=1), values.take(quat, axis=1), named)

    def _columns_of_frames(self, task: SimulatedTask, mechanism: Mechanism) -> tuple[IntArray, IntArray]:
        """Columns of position (F, 3) and quaternion (F, 4) of each frame in readings, goal and identity rotation.

        The goal is read from the mechanism if that has a frame for it; otherwise it is a constant of the episode.
        """
        goal = self._layout.reading_size
        columns = {GOAL_FRAME: (goal, goal + 3)}
        for name, (position, quaternion) in mechanism.frames.items():
            first = (mechanism.sensors[position].start, mechanism.sensors[quaternion].start)
            columns[name] = (self._num_joints + first[0], self._num_joints + first[1])
        starts = np.array([columns[name] for name in task.spec.obs.frames], np.int64).reshape(-1, 2)
        return starts[:, :1] + np.arange(3), starts[:, 1:] + np.arange(4)


def _drawn_noise(seed: int, variation: Variation, shape: tuple[int, ...]) -> tuple[float, Float64Array]:
    """Draw the standard deviation of an episode's noise [m], and the noise."""
    rng = episode_rng(seed, "perception")
    scale = rng.uniform(*variation.perception_noise)
    return scale, scale * rng.standard_normal(shape)


def _drawn_bias(seed: int, variation: Variation) -> tuple[float, Float64Array]:
    """Draw the length of an episode's bias [m], and the bias (3,): all directions are equally likely."""
    rng = episode_rng(seed, "bias")
    length = rng.uniform(*variation.perception_bias)
    direction = rng.standard_normal(3)
    return length, length * direction / np.linalg.norm(direction)

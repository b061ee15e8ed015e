"""The batched simulator: N environments of one task, stepped together over MuJoCo's threaded rollout.

Every environment is one row of a float64 array that holds all there is to know about it, so that saving, restoring
and resetting an environment is copying a row. A single environment is a batch of one. Results do not depend on the
number of threads, on the size of the batch or on the place of an environment in it.

What varies from episode to episode is part of the row as well: which scene it is (a compiled model of its own), the
seed, from which the noise of perception follows, and how long perception and actions are delayed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from mujoco.rollout import Rollout
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.rotations import matrix_from_quat
from reskill_core.seeding import MAX_EPISODE_SEED, episode_rng
from reskill_core.spec import GOAL_FRAME, GRIPPER_FRAME
from reskill_sim.engine.divergence import Divergence
from reskill_sim.fetch import constants
from reskill_sim.fetch.profiles import get_profile
from reskill_sim.fetch.scene import STOCK_TIMESTEP_S, build_model, start_state
from reskill_sim.fetch.tasks.base import BoolArray, EpisodeStart, FloatArray, Situation, Task

IntArray = NDArray[np.int64]

_PHYSICS = mujoco.mjtState.mjSTATE_FULLPHYSICS
_CONTROL = mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_MOCAP_POS | mujoco.mjtState.mjSTATE_MOCAP_QUAT
_HUGE = 1e6
_UPRIGHT = (1.0, 0.0, 0.0, 0.0)
# Portions of the batch for each thread: few enough to be handed out at little cost, enough to share the work evenly.
_CHUNKS = 4
# Environments and threads of one simulator: more have no use, and far more no place in memory.
MAX_ENVS, MAX_THREADS = 2**16, 256
# Diverged states that a simulator keeps; what breaks more often breaks in the same way.
MAX_KEPT = 100

# A simulator says which environments diverged. MuJoCo's own way is to write to the terminal and to a file in the
# current folder each time; whoever wants to see that listens to this logger.
if mujoco.get_mju_user_warning() is None:
    mujoco.set_mju_user_warning(logging.getLogger("mujoco").info)


@dataclass(frozen=True)
class StepResult:
    """What one control step led to, for each of the environments stepped.

    Attributes:
        observation: (N, O) float64.
        reward: (N,) float64.
        success: (N,) whether the task is solved right now.
        terminated: (N,) whether the episode is over because success has held long enough.
        truncated: (N,) whether the horizon is reached without that.
        diverged: (N,) whether the physics broke down; the environment is left where it was and must be reset.
    """

    observation: FloatArray
    reward: FloatArray
    success: BoolArray
    terminated: BoolArray
    truncated: BoolArray
    diverged: BoolArray

    @property
    def done(self) -> BoolArray:
        """(N,) whether the episode is over for any reason."""
        return self.terminated | self.truncated | self.diverged


class RowLayout:
    """Where things stand in an environment's row."""

    def __init__(self, model: mujoco.MjModel, task: Task) -> None:
        perception_delay, action_delay = task.variation.perception_delay[1], task.variation.action_delay[1]
        sizes = {
            "physics": mujoco.mj_stateSize(model, _PHYSICS),
            "sensors": model.nsensordata,
            # Fingers and sensors of earlier control steps, newest first; one is needed for displacements.
            "history": (1 + perception_delay) * (2 + model.nsensordata),
            # Actions that are still to take effect, newest first.
            "pending": action_delay * task.spec.action.dim,
            "goal": 3,
            "step": 1,
            "held": 1,
            "scene": 1,
            "seed": 1,
            # Of perception and of actions, in control steps.
            "delays": 2,
        }
        self.width = 0
        for name, size in sizes.items():
            setattr(self, name, slice(self.width, self.width + size))
            self.width += size
        self.time = 0
        self.qpos = slice(1, 1 + model.nq)
        self.qvel = slice(1 + model.nq, 1 + model.nq + model.nv)

    physics: slice
    sensors: slice
    history: slice
    pending: slice
    goal: slice
    step: slice
    held: slice
    scene: slice
    seed: slice
    delays: slice


class Simulator:
    """N environments of one task.

    Args:
        task: what to simulate.
        num_envs: number of environments N.
        profile: name of the fidelity profile.
        threads: threads that share the environments; 0 steps them in the calling thread.
        divergence_folder: where to keep the states in which the physics broke down, up to ``MAX_KEPT`` of them; None
            keeps none.

    Copied or pickled, it goes on from where it is, in the copy and in the original alike.

    Attributes:
        layout: where what is in a row of its :meth:`state`.
        num_diverged: how often the physics broke down so far.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int = 1,
        profile: str = "exact",
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> None:
        if not (1 <= num_envs <= MAX_ENVS and 0 <= threads <= MAX_THREADS):
            raise SimulationError(
                f"num_envs must be from 1 to {MAX_ENVS} and threads from 0 to {MAX_THREADS}, got {num_envs}, {threads}"
            )
        self.task, self.num_envs, self.profile, self._threads = task, num_envs, profile, threads
        self.num_diverged = 0
        self._divergence_folder = divergence_folder
        settings = get_profile(profile)
        self._settings = settings
        self._models_by_scene: dict[int, mujoco.MjModel] = {}
        self.model = self._model_of(0)
        self._models = [self.model] * num_envs
        start = start_state(self.model)
        self._substeps = round(task.spec.control_period_s / self.model.opt.timestep)
        self.layout = RowLayout(self.model, task)
        self._builder = ObservationBuilder(task.spec.obs)
        self._rollout = Rollout(nthread=threads)
        self._datas = [mujoco.MjData(self.model) for _ in range(max(1, threads))]
        self._rows = np.zeros((num_envs, self.layout.width))
        self._start_row = self._row_of(start)
        self._finger_qpos = np.array(self._joint_addresses(constants.FINGER_JOINTS)) + 1
        self._blocked = task.scene().gripper_blocked
        self._shift = self._reading_shift()
        self._actuated_qpos = np.array(self._joint_addresses(constants.FINGER_ACTUATORS)) + 1
        fixed = self._fixed_joints()
        self._moving = np.array([name not in fixed for name in constants.JOINT_NAMES])
        moving = [name for name in constants.JOINT_NAMES if name not in fixed]
        self._joint_qpos = np.array(self._joint_addresses(moving))
        self._joint_qvel = np.array(
            [self.model.jnt_dofadr[self.model.joint(constants.MODEL_PREFIX + name).id] for name in moving]
        )
        starts = [self.model.jnt_qposadr[self.model.joint(f"{item.name}:joint").id] for item in task.scene().objects]
        self._object_qpos = 1 + np.array(starts)[:, None] + np.arange(7)
        self._frame_columns = self._columns_of_frames()
        self._size = np.array([task.size_factor(number) for number in range(task.num_scenes)])
        self._noisy = task.variation.perception_noise[1] > 0.0
        # Noise of perception over each environment's episode, drawn when it starts.
        self._noise = np.zeros((num_envs, task.spec.horizon + 1 if self._noisy else 0, len(task.spec.obs.frames), 3))
        objects = [item.observed_as for item in task.scene().objects]
        self._perceived = np.array([name in objects for name in task.spec.obs.frames])
        self._displacement = np.array(task.spec.action.scale) * task.spec.control_period_s
        self.reset(range(num_envs))

    # ------------------------------------------------------------------ episodes

    def reset(
        self, seeds: Sequence[int], indices: Sequence[int] | None = None, scenes: Sequence[int] | None = None
    ) -> FloatArray:
        """Start new episodes.

        Args:
            seeds: one seed for each environment to reset; everything random in an episode follows from it.
            indices: which environments; all by default.
            scenes: number of the scene of each; by default it follows from the seed, too.

        Returns:
            (N, O) observations of all environments.

        Raises:
            SimulationError: the numbers of seeds and environments differ, a seed is negative or has more than 53 bits,
                or there is no such scene.
        """
        chosen = list(range(self.num_envs)) if indices is None else list(indices)
        if len(seeds) != len(chosen) or (scenes is not None and len(scenes) != len(chosen)):
            raise SimulationError(f"{len(seeds)} seeds for {len(chosen)} environments")
        if wrong := [int(seed) for seed in seeds if not 0 <= int(seed) <= MAX_EPISODE_SEED]:
            raise SimulationError(f"the seed of an episode is an integer from 0 to {MAX_EPISODE_SEED}, got {wrong[0]}")
        numbers = [self._draw_scene(int(seed)) for seed in seeds] if scenes is None else scenes
        starts = [
            self.task.sample_start(episode_rng(int(seed), "reset"), scene)
            for seed, scene in zip(seeds, numbers, strict=True)
        ]
        if starts:
            self._rows[chosen] = self.initial_rows(starts, seeds)
            self._follow_rows(chosen)
        return self.observation()

    def initial_rows(self, starts: Sequence[EpisodeStart], seeds: Sequence[int]) -> FloatArray:
        """(n, S) complete states of environments at the start of episodes.

        Args:
            starts: where things are.
            seeds: of what is drawn later in each episode: delays, noise of perception.
        """
        layout = self.layout
        rows = np.tile(self._start_row, (len(starts), 1))
        poses = np.stack([start.object_poses for start in starts])
        offsets = np.array([[item.frame_offset for item in self.task.scene(start.scene).objects] for start in starts])
        frames = poses.copy()
        frames[..., :3] += (matrix_from_quat(poses[..., 3:]) @ offsets[..., None])[..., 0]
        rows[:, self._object_qpos] = poses
        rows[:, layout.sensors.start + 10 : layout.sensors.stop] = frames.reshape(len(starts), -1)
        rows[:, layout.goal] = [start.goal_pos_w for start in starts]
        rows[:, layout.scene] = [[start.scene] for start in starts]
        rows[:, layout.seed] = [[seed] for seed in seeds]
        bounds = (self.task.variation.perception_delay, self.task.variation.action_delay)
        if any(high for _, high in bounds):
            for row, seed in zip(rows, seeds, strict=True):
                rng = episode_rng(int(seed), "delay")
                row[layout.delays] = [rng.integers(low, high + 1) for low, high in bounds]
        rows[:, layout.history] = np.tile(self.readings(rows), 1 + bounds[0][1])
        return rows

    def step(self, actions: FloatArray | NDArray[np.float32], indices: IntArray | None = None) -> StepResult:
        """Advance environments by one control period.

        Args:
            actions: (n, A) one action for each environment stepped, clipped to [-1, 1].
            indices: (n,) which environments; all by default. The others stay as they are.

        Raises:
            SpecError: the actions have the wrong size.
        """
        layout = self.layout
        rows = self._rows if indices is None else self._rows[indices]
        clipped = self.task.spec.action.clip(actions).astype(np.float64)
        finite = np.all(np.isfinite(clipped), axis=1)
        moved = rows.copy()
        moved[:, layout.history] = _pushed(rows[:, layout.history], self.readings(rows))
        clipped = np.where(finite[:, None], clipped, 0.0)
        moved[:, layout.pending] = _pushed(rows[:, layout.pending], clipped)
        models = self._models if indices is None else [self._models[index] for index in indices]
        physics, sensors = self._advance(models, rows, self._delayed(rows, clipped))
        moved[:, layout.physics], moved[:, layout.sensors] = physics, sensors
        moved[:, layout.step] += 1
        diverged = ~finite | self._broken(rows, moved)
        if diverged.any():
            moved[diverged] = rows[diverged]
            self._note_divergence(rows[diverged], np.asarray(actions, dtype=np.float64)[diverged])

        situation = self._situation(moved)
        success = self.task.success(situation)
        held = np.where(success, moved[:, layout.held][:, 0] + 1, 0)
        moved[:, layout.held] = held[:, None]
        enough = np.inf if self.task.hold_steps is None else self.task.hold_steps
        terminated = (held >= enough) & ~diverged
        truncated = (moved[:, layout.step][:, 0] >= self.task.spec.horizon) & ~terminated & ~diverged
        if indices is None:
            self._rows = moved
        else:
            self._rows[indices] = moved
        return StepResult(
            self._observe(moved, situation, indices),
            self.task.reward(situation, success),
            success,
            terminated,
            truncated,
            diverged,
        )

    def observation(self) -> FloatArray:
        """(N, O) current observations."""
        return self._observe(self._rows, self._situation(self._rows), None)

    # ------------------------------------------------------------------ what can be read

    @property
    def frame(self) -> SensorFrame:
        """Current sensor values of all environments, as they are."""
        return self._to_frame(self.readings(self._rows), self._rows[:, self.layout.goal])

    @property
    def perceived_frame(self) -> SensorFrame:
        """Current sensor values of all environments as a robot perceives them: objects late and noisy if so varied."""
        return self._perceive(self._rows, self._situation(self._rows), None)[0]

    @property
    def scene_numbers(self) -> IntArray:
        """(N,) number of each environment's scene."""
        return self._rows[:, self.layout.scene][:, 0].astype(np.int64)

    @property
    def time_s(self) -> FloatArray:
        """(N,) simulated time since the start of each episode [s]."""
        return self._rows[:, self.layout.time].copy()

    @property
    def step_count(self) -> IntArray:
        """(N,) control steps since the start of each episode."""
        return self._rows[:, self.layout.step][:, 0].astype(np.int64)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the robot's joints, as the real robot's driver names them."""
        return constants.JOINT_NAMES

    def joint_positions(self, index: int = 0) -> FloatArray:
        """(J,) positions of the joints :attr:`joint_names` [m or rad]."""
        readings = np.array([constants.FIXED_JOINT_READINGS.get(name, 0.0) for name in constants.JOINT_NAMES])
        readings[self._moving] = self._rows[index, self.layout.qpos][self._joint_qpos]
        return readings

    def joint_velocities(self, index: int = 0) -> FloatArray:
        """(J,) velocities of the joints :attr:`joint_names` [m/s or rad/s]."""
        readings = np.zeros(len(constants.JOINT_NAMES))
        readings[self._moving] = self._rows[index, self.layout.qvel][self._joint_qvel]
        return readings

    # ------------------------------------------------------------------ saving and restoring

    @property
    def state_dim(self) -> int:
        """Length S of an environment's state."""
        return self.layout.width

    def state(self, indices: Sequence[int] | IntArray | None = None) -> FloatArray:
        """(n, S) complete state of environments, of all by default."""
        return self._rows.copy() if indices is None else self._rows[np.asarray(indices)]

    def set_state(self, rows: FloatArray, indices: Sequence[int] | None = None) -> None:
        """Put environments into states that :meth:`state` or a data set recorded, exactly.

        Raises:
            SimulationError: the rows have another shape, so they come from another task or version.
        """
        chosen = list(range(self.num_envs)) if indices is None else list(indices)
        if rows.shape != (len(chosen), self.state_dim):
            raise SimulationError(f"state has shape {rows.shape}, expected {(len(chosen), self.state_dim)}")
        self._rows[chosen] = rows
        self._follow_rows(chosen)

    def scene_of(self, row: FloatArray) -> int:
        """Number of the scene in a state row, for rendering."""
        return int(row[self.layout.scene][0])

    def qpos_of(self, row: FloatArray) -> FloatArray:
        """(nq,) MuJoCo coordinates in a state row, for rendering."""
        return row[self.layout.qpos]

    def goal_of(self, row: FloatArray) -> FloatArray:
        """(3,) goal position in a state row [m], for rendering."""
        return row[self.layout.goal]

    def __getstate__(self) -> dict[str, Any]:
        """What it is made from, and where its environments are: compiled models and threads are made anew."""
        made_from = (self.task, self.num_envs, self.profile, self._threads, self._divergence_folder)
        return {"made_from": made_from, "num_diverged": self.num_diverged, "rows": self._rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["made_from"])  # type: ignore[misc]
        self.num_diverged = state["num_diverged"]
        self.set_state(state["rows"])

    # ------------------------------------------------------------------ internals

    def _draw_scene(self, seed: int) -> int:
        count = self.task.num_scenes
        return 0 if count == 1 else int(episode_rng(seed, "world").integers(count))

    def _model_of(self, scene: int) -> mujoco.MjModel:
        if scene not in self._models_by_scene:
            self._models_by_scene[scene] = build_model(self.task.scene(scene), self._settings, looks=False)
        return self._models_by_scene[scene]

    def _follow_rows(self, indices: Sequence[int]) -> None:
        """Bring along what rows imply but do not hold: the compiled scene and the noise to come."""
        for index in indices:
            row = self._rows[index]
            self._models[index] = self._model_of(self.scene_of(row))
            if self._noisy:
                rng = episode_rng(int(row[self.layout.seed][0]), "perception")
                scale = rng.uniform(*self.task.variation.perception_noise)
                self._noise[index] = scale * rng.standard_normal(self._noise.shape[1:]) * self._perceived[:, None]

    def _delayed(self, rows: FloatArray, actions: FloatArray) -> FloatArray:
        """(n, A) the actions that take effect now."""
        layout, count, dim = self.layout, *actions.shape
        if layout.pending.start == layout.pending.stop:
            return actions
        waiting = np.concatenate([actions[:, None], rows[:, layout.pending].reshape(count, -1, dim)], axis=1)
        return waiting[np.arange(count), rows[:, layout.delays][:, 1].astype(int)]

    def _advance(
        self, models: list[mujoco.MjModel], rows: FloatArray, actions: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Physics and sensors after one control period, as the Fetch environments command it.

        The mocap target is the gripper link's pose as of the last substep's start, plus the commanded displacement;
        fingers are sent to their position plus the commanded displacement.
        """
        sensors = rows[:, self.layout.sensors]
        command = actions * self._displacement
        target = sensors[:, 0:3] + command[:, :3]
        orientation = sensors[:, 3:7] + constants.GRIPPER_DOWN_WXYZ
        fingers = rows[:, self._actuated_qpos] + command[:, 3:4]
        control = np.concatenate([*([] if self._blocked else [fingers]), target, orientation], axis=1)
        physics, readings = self._integrate(models, rows[:, self.layout.physics], control, self._substeps)
        before, now = readings[:, -2], readings[:, -1]
        if self._blocked:
            # Shut the fingers and read the sensors again, as the stock environment does then: those of one more
            # substep, which is not taken.
            physics[:, self._finger_qpos] = 0.0
            _, readings = self._integrate(models, physics, control, 1)
            before, now = now, readings[:, -1]
        return physics, now + self._shift * (now - before)

    def _reading_shift(self) -> FloatArray:
        """(S,) how much later than they are read sensors count, in substeps, so that coarse steps read as stock ones.

        Stepped semi-implicitly, bodies run ahead by half a step: those of a coarse model, seen from the stock one, by
        half the difference of the two. And the stock environments read at the start of the last substep, which is later
        the shorter it is; but with the fingers blocked they read at its end.
        """
        ahead = (1.0 - STOCK_TIMESTEP_S / self.model.opt.timestep) / 2.0
        is_position = np.repeat(self.model.sensor_type == mujoco.mjtSensor.mjSENS_FRAMEPOS, self.model.sensor_dim)
        return np.where(is_position, -ahead if self._blocked else ahead, 0.0)

    def _integrate(
        self, models: list[mujoco.MjModel], physics: FloatArray, control: FloatArray, substeps: int
    ) -> tuple[FloatArray, FloatArray]:
        """(n, P) physics after a number of substeps, and (n, substeps, S) sensors as of the start of each."""
        states = np.empty((len(physics), substeps, physics.shape[1]))
        readings = np.empty((len(physics), substeps, self.model.nsensordata))
        self._rollout.rollout(
            models,
            self._datas,
            np.ascontiguousarray(physics),
            np.repeat(control[:, None], substeps, axis=1),
            control_spec=int(_CONTROL),
            skip_checks=True,
            nstep=substeps,
            state=states,
            sensordata=readings,
            chunk_size=max(1, len(physics) // (_CHUNKS * len(self._datas))),
        )
        return states[:, -1], readings

    def _broken(self, before: FloatArray, after: FloatArray) -> BoolArray:
        """(n,) where MuJoCo gave up; it then silently starts over, which shows in the time."""
        elapsed = after[:, self.layout.time] - before[:, self.layout.time]
        restarted = np.abs(elapsed - self.task.spec.control_period_s) > 1e-6
        state = after[:, self.layout.physics]
        # Of what is not a number, this is not true either.
        return restarted | ~(np.abs(state) <= _HUGE).all(axis=1)

    def _note_divergence(self, rows: FloatArray, actions: FloatArray) -> None:
        layout = self.layout
        for row, action in zip(rows, actions, strict=True):
            self.num_diverged += 1
            if self._divergence_folder is not None and self.num_diverged <= MAX_KEPT:
                seed, step = int(row[layout.seed][0]), int(row[layout.step][0])
                kept = Divergence(self.task.spec.name, self.profile, self.task.variation, seed, step, row, action)
                kept.save(self._divergence_folder)

    def readings(self, rows: FloatArray) -> FloatArray:
        """(n, 2 + sensors) finger positions and sensor values."""
        return np.concatenate([rows[:, self._finger_qpos], rows[:, self.layout.sensors]], axis=1)

    def _situation(self, rows: FloatArray) -> Situation:
        layout, goal = self.layout, rows[:, self.layout.goal]
        previous = rows[:, layout.history][:, : 2 + (layout.sensors.stop - layout.sensors.start)]
        return Situation(
            self.task.spec.obs.frames,
            self._to_frame(self.readings(rows), goal),
            self._to_frame(previous, goal),
            self._size[rows[:, layout.scene][:, 0].astype(int)],
        )

    def _observe(self, rows: FloatArray, situation: Situation, indices: IntArray | None) -> FloatArray:
        return self._builder.build(*self._perceive(rows, situation, indices))

    def _perceive(
        self, rows: FloatArray, situation: Situation, indices: IntArray | None
    ) -> tuple[SensorFrame, SensorFrame]:
        """Sensors now and one control step ago, as they are perceived: the robot as it is, objects as varied."""
        if not self.task.variation.perceives_otherwise:
            return situation.now, situation.before
        layout, count, goal = self.layout, len(rows), rows[:, self.layout.goal]
        now = self.readings(rows)
        known = np.concatenate([now[:, None], rows[:, layout.history].reshape(count, -1, now.shape[1])], axis=1)
        frames = [self._to_frame(known[:, age], goal) for age in (0, 1)]
        delay = rows[:, layout.delays][:, 0].astype(int)
        step = rows[:, layout.step][:, 0].astype(int)
        noise = self._noise if indices is None else self._noise[indices]
        for age, frame in enumerate(frames):
            late = self._to_frame(known[np.arange(count), delay + age], goal)
            frame.frame_pos_w[:, self._perceived] = late.frame_pos_w[:, self._perceived]
            frame.frame_quat_wxyz[:, self._perceived] = late.frame_quat_wxyz[:, self._perceived]
            if self._noisy:
                # Before anything has arrived, the same first impression; past the horizon, the same noise again.
                seen = np.maximum(step - delay - age, 0) % noise.shape[1]
                frame.frame_pos_w[:] += noise[np.arange(count), seen]
        return frames[0], frames[1]

    def _to_frame(self, readings: FloatArray, goal: FloatArray) -> SensorFrame:
        values = np.concatenate([readings, goal, np.broadcast_to(_UPRIGHT, (len(readings), 4))], axis=1)
        pos, quat = self._frame_columns
        return SensorFrame(readings[:, :2], values.take(pos, axis=1), values.take(quat, axis=1))

    def _columns_of_frames(self) -> tuple[IntArray, IntArray]:
        """Where among readings, goal and no rotation the position (F, 3) and the quaternion (F, 4) of each frame stand.

        The goal is read where an object stands for it; otherwise it is a constant of the episode.
        """
        goal = 2 + self.model.nsensordata
        # The gripper's position is that of the grip site, behind position and quaternion of the gripper link.
        columns = {GOAL_FRAME: (goal, goal + 3), GRIPPER_FRAME: (9, 5)}
        for number, item in enumerate(self.task.scene().objects):
            columns[item.observed_as] = (12 + 7 * number, 15 + 7 * number)
        starts = np.array([columns[name] for name in self.task.spec.obs.frames])
        return starts[:, :1] + np.arange(3), starts[:, 1:] + np.arange(4)

    def _row_of(self, data: mujoco.MjData) -> FloatArray:
        row = np.zeros(self.layout.width)
        physics = np.empty(self.layout.physics.stop)
        mujoco.mj_getState(self.model, data, physics, _PHYSICS)
        row[self.layout.physics] = physics
        row[self.layout.sensors] = data.sensordata
        return row

    def _fixed_joints(self) -> set[str]:
        """Joints of the real robot that the profile's model does not have."""
        present = {self.model.joint(index).name for index in range(self.model.njnt)}
        return {name for name in constants.JOINT_NAMES if constants.MODEL_PREFIX + name not in present}

    def _joint_addresses(self, names: Sequence[str]) -> list[int]:
        return [int(self.model.jnt_qposadr[self.model.joint(constants.MODEL_PREFIX + n).id]) for n in names]


def _pushed(queue: FloatArray, newest: FloatArray) -> FloatArray:
    """(n, K) a queue with a new entry in front and its oldest one gone; an empty queue stays empty."""
    if queue.shape[1] <= newest.shape[1]:
        return newest[:, : queue.shape[1]]
    return np.concatenate([newest, queue], axis=1)[:, : queue.shape[1]]

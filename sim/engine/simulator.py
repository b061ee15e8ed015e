"""Batched simulator: N environments of one task, stepped together with MuJoCo's threaded rollout.

The complete state of an environment is one row of a float64 array, so that saving, restoring and resetting an
environment means copying a row. A single environment is a batch of one. Results do not depend on the number of threads,
the batch size or the row in the batch.

The variation of an episode is part of the row as well: its scene (a compiled model), the seed of the noise that is
perceived, delays, and the arm's speed and lag. Only the scale of that noise also depends on the strength, set by a
curriculum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import BoolArray, Float64Array, IntArray
from reskill_core.environment import Places
from reskill_core.errors import SimulationError
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.seeding import MAX_EPISODE_SEED, episode_rng
from reskill_core.spec import TaskSpec
from reskill_sim.engine.actuation import Actuation
from reskill_sim.engine.conditions import Conditions
from reskill_sim.engine.divergence import Divergence
from reskill_sim.engine.mechanism import PHYSICS
from reskill_sim.engine.painted_images import PaintedImages
from reskill_sim.engine.perception import Perception
from reskill_sim.engine.physics import BatchedPhysics
from reskill_sim.engine.rows import RowLayout, pushed
from reskill_sim.engine.step_result import StepResult
from reskill_sim.engine.task import EpisodeStart, SimulatedTask, Situation

_HUGE = 1e6
# Maximum numbers of environments and threads: more are not useful, and many more do not fit in memory.
MAX_ENVS, MAX_THREADS = 2**16, 256
# Maximum number of saved divergences, since further ones are likely to have the same cause.
MAX_KEPT = 100


class Simulator:
    """Simulator of N environments of one task.

    Args:
        task: the task.
        num_envs: number of environments N.
        profile: name of the fidelity profile.
        threads: threads that share the environments; 0 steps them in the calling thread.
        divergence_folder: folder for states before a divergence, up to ``MAX_KEPT`` of them; None saves none.

    A copied or pickled simulator continues from its current state, independently of the original.

    Attributes:
        mechanism: the robot and its surroundings.
        layout: layout of the rows of :meth:`state`.
        num_diverged: number of divergences so far.
        strength: (N,) strength of each environment's variation; see :class:`reskill_core.environment.Graded`.
    """

    def __init__(
        self,
        task: SimulatedTask,
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
        self.mechanism = task.make_mechanism(profile)
        self.layout = RowLayout(self.mechanism, task)
        self._physics = BatchedPhysics(self.mechanism, task.spec.control_period_s, threads)
        self._perception = Perception(task, self.mechanism, self.layout, num_envs)
        self._builder = ObservationBuilder(task.spec.obs)
        self._actuation = Actuation(task, self.mechanism, self.layout)
        self._pictures = PaintedImages(task, self.mechanism, self._perception, self.layout, num_envs)
        self._models = [self.model] * num_envs
        self._rows = np.zeros((num_envs, self.layout.width))
        self._start_row = self._row_of(self.mechanism.start_state())
        self._size = np.ones(num_envs)
        self.strength = np.ones(num_envs)
        self._conditions = Conditions(task, self.layout)
        self._parameters = np.zeros((num_envs, self._conditions.dim))
        self.reset(range(num_envs))

    @property
    def spec(self) -> TaskSpec:
        """Specification of the task."""
        return self.task.spec

    @property
    def model(self) -> mujoco.MjModel:
        """Compiled model of scene 0."""
        return self.mechanism.model

    # ------------------------------------------------------------------ episodes

    def reset(self, seeds: Sequence[int], places: Places | None = None, scenes: Sequence[int] | None = None) -> Any:
        """Start new episodes.

        Args:
            seeds: one seed per environment to reset; everything random in an episode follows from it.
            places: indices of environments; all by default.
            scenes: number of the scene of each; by default it follows from the seed.

        Returns:
            Observations of all N environments.

        Raises:
            SimulationError: the numbers of seeds and environments differ, a seed is negative or has more than 53 bits,
                or there is no such scene.
        """
        chosen = list(range(self.num_envs)) if places is None else list(places)
        if len(seeds) != len(chosen) or (scenes is not None and len(scenes) != len(chosen)):
            raise SimulationError(f"{len(seeds)} seeds for {len(chosen)} environments")
        if wrong := [int(seed) for seed in seeds if not 0 <= int(seed) <= MAX_EPISODE_SEED]:
            raise SimulationError(f"the seed of an episode is an integer from 0 to {MAX_EPISODE_SEED}, got {wrong[0]}")
        strengths = self.strength[chosen]
        numbers = scenes
        if numbers is None:
            drawn = [self.task.draw_scene(int(seed)) for seed in seeds]
            numbers = list(map(self.task.weaker_scene, drawn, strengths.tolist()))
        starts = [
            self.task.sample_start(episode_rng(int(seed), "reset"), scene)
            for seed, scene in zip(seeds, numbers, strict=True)
        ]
        if starts:
            self._rows[chosen] = self.initial_rows(starts, seeds, strengths)
            self._follow_rows(chosen)
        return self.observation()

    def initial_rows(
        self, starts: Sequence[EpisodeStart], seeds: Sequence[int], strengths: Float64Array | None = None
    ) -> Float64Array:
        """Create (n, S) complete states of environments at the start of episodes.

        Args:
            starts: starts of the episodes.
            seeds: seeds of other draws in each episode: delays, speed, lag, fingers, noise of perception.
            strengths: (n,) strengths of the variation; by default 1.
        """
        layout = self.layout
        rows = np.tile(self._start_row, (len(starts), 1))
        self.mechanism.place(rows[:, layout.physics], rows[:, layout.sensors], starts)
        rows[:, layout.goal] = [start.goal_pos_w for start in starts]
        rows[:, layout.scene] = [[start.scene] for start in starts]
        rows[:, layout.seed] = [[seed] for seed in seeds]
        self._add_noise(rows)
        self._conditions.draw(rows, seeds, np.ones(len(rows)) if strengths is None else strengths)
        if layout.finger_start.start < layout.finger_start.stop:
            self.mechanism.set_fingers(rows[:, layout.physics], rows[:, layout.finger_start][:, 0])
        rows[:, layout.history] = np.tile(self.readings(rows), layout.num_earlier)
        return rows

    def step(self, actions: Float64Array | NDArray[np.float32], places: Places | None = None) -> StepResult:
        """Advance environments by one control period.

        Args:
            actions: (n, A) one action per environment, clipped to [-1, 1].
            places: (n,) indices of environments; all by default. The others are not stepped.

        Raises:
            SpecError: the actions have the wrong size.
        """
        layout = self.layout
        chosen = None if places is None else np.asarray(places)
        rows = self._rows if chosen is None else self._rows[chosen]
        clipped = self.task.spec.action.clip(actions).astype(np.float64)
        finite = np.all(np.isfinite(clipped), axis=1)
        moved = rows.copy()
        moved[:, layout.history] = pushed(rows[:, layout.history], self.readings(rows))
        clipped = np.where(finite[:, None], clipped, 0.0)
        models = self._models if chosen is None else [self._models[place] for place in chosen]
        executed = self._actuation.apply(clipped, rows, moved)
        physics, sensors = self._physics.advance(models, rows[:, layout.physics], rows[:, layout.sensors], executed)
        moved[:, layout.physics], moved[:, layout.sensors] = physics, sensors
        moved[:, layout.step] += 1
        self._add_noise(moved)
        diverged = ~finite | self._broken(rows, moved)
        if diverged.any():
            moved[diverged] = rows[diverged]
            self._note_divergence(rows[diverged], np.asarray(actions, dtype=np.float64)[diverged])

        situation = self._situation(moved, chosen)
        if self.task.memory_size:
            situation = replace(situation, memory=self.task.remembered(situation))
            moved[~diverged, layout.memory] = situation.memory[~diverged]
        success = self.task.success(situation)
        held = np.where(success, moved[:, layout.held][:, 0] + 1, 0)
        moved[:, layout.held] = held[:, None]
        enough = np.inf if self.task.hold_steps is None else self.task.hold_steps
        terminated = (held >= enough) & ~diverged
        truncated = (moved[:, layout.step][:, 0] >= self.task.spec.horizon) & ~terminated & ~diverged
        if chosen is None:
            self._rows = moved
        else:
            self._rows[chosen] = moved
        self._pictures.push(moved, chosen, ~diverged)
        return StepResult(
            self._observe(moved, situation, chosen),
            self.task.reward(situation, success),
            success,
            terminated,
            truncated,
            diverged,
        )

    def observation(self) -> Any:
        """Current observations of all N environments; the images are overwritten by the next step."""
        return self._observe(self._rows, self._situation(self._rows, None), None)

    # ------------------------------------------------------------------ readings

    def true_observation(self) -> Any:
        """Current observations of all N environments without delay and noise; images are as observed."""
        vector = self._builder.build(*self._perception.actual(self._rows))
        return self.task.spec.obs.observation(vector, self._pictures.images(None))

    def world_parameters(self) -> Float64Array:
        """(N, W) parameters of each episode; see :class:`reskill_core.environment.Privileged`."""
        return self._parameters.copy()

    def action_delays(self) -> Float64Array:
        """(N,) control steps until an action takes effect; see :class:`reskill_core.environment.Delaying`."""
        return self._rows[:, self.layout.delays][:, 1] + self._rows[:, self.layout.lateness].sum(axis=1)

    def readings(self, rows: Float64Array) -> Float64Array:
        """(n, R) readings of states (n, S), as stored in a row's history: observed joint positions, and sensors."""
        return self._perception.readings(rows)

    @property
    def frame(self) -> SensorFrame:
        """Current true sensor readings of all environments."""
        return self._perception.actual(self._rows)[0]

    @property
    def perceived_frame(self) -> SensorFrame:
        """Current perceived sensor readings of all environments, with delay and noise of the variation."""
        return self._perception.perceived(self._rows, self._perception.actual(self._rows), None)[0]

    @property
    def scene_numbers(self) -> IntArray:
        """(N,) number of each environment's scene."""
        return self._rows[:, self.layout.scene][:, 0].astype(np.int64)

    @property
    def time_s(self) -> Float64Array:
        """(N,) simulated time since the start of each episode [s]."""
        return self._rows[:, self.layout.time].copy()

    @property
    def step_count(self) -> IntArray:
        """(N,) control steps since the start of each episode."""
        return self._rows[:, self.layout.step][:, 0].astype(np.int64)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The real robot's driver's names of the joints."""
        return self.mechanism.joint_names

    def joint_positions(self, place: int = 0) -> Float64Array:
        """(J,) positions of the joints :attr:`joint_names` [m or rad]."""
        return self._joint_state(place)[0]

    def joint_velocities(self, place: int = 0) -> Float64Array:
        """(J,) velocities of the joints :attr:`joint_names` [m/s or rad/s]."""
        return self._joint_state(place)[1]

    def robot_description(self, root: str = "world") -> str:
        """URDF of the robot as it starts, from the world's frame of that name on."""
        return self.mechanism.robot_description(self.qpos_of(self._start_row), root)

    # ------------------------------------------------------------------ saving and restoring

    @property
    def state_dim(self) -> int:
        """Length S of an environment's state."""
        return self.layout.width

    def state(self, places: Places | None = None) -> Float64Array:
        """(n, S) complete states of environments; all by default."""
        return self._rows.copy() if places is None else self._rows[np.asarray(places)]

    def set_state(self, rows: Float64Array, places: Places | None = None) -> None:
        """Restore states of :meth:`state` or of a data set exactly.

        Raises:
            SimulationError: the rows have a wrong shape, so they are of another task or version.
        """
        chosen = list(range(self.num_envs)) if places is None else list(places)
        if rows.shape != (len(chosen), self.state_dim):
            raise SimulationError(f"state has shape {rows.shape}, expected {(len(chosen), self.state_dim)}")
        self._rows[chosen] = rows
        self._follow_rows(chosen)

    def scene_of(self, row: Float64Array) -> int:
        """Return the number of the scene in a state row, for rendering."""
        return int(row[self.layout.scene][0])

    def qpos_of(self, row: Float64Array) -> Float64Array:
        """(nq,) MuJoCo coordinates in a state row, for rendering."""
        return row[self.layout.qpos]

    def goal_of(self, row: Float64Array) -> Float64Array:
        """(3,) goal position in a state row [m], for rendering."""
        return row[self.layout.goal]

    def __getstate__(self) -> dict[str, Any]:
        """Return arguments and state; compiled models and threads are created again."""
        made_from = (self.task, self.num_envs, self.profile, self._threads, self._divergence_folder)
        kept = {"num_diverged": self.num_diverged, "strength": self.strength, "rows": self._rows}
        return {"made_from": made_from, **kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["made_from"])  # type: ignore[misc]
        self.num_diverged, self.strength = state["num_diverged"], np.array(state["strength"])
        self.set_state(state["rows"])

    # ------------------------------------------------------------------ internals

    def _follow_rows(self, places: Sequence[int]) -> None:
        """Update objects that depend on rows: compiled models, perception noise, images."""
        for place in places:
            row = self._rows[place]
            scene = self.scene_of(row)
            self._models[place] = self.mechanism.model_of(scene)
            self._size[place] = self.task.size_factor(scene)
            self._perception.begin(place, row, float(self.strength[place]))
            self._parameters[place] = self._conditions.parameters(row, self._perception.drawn[place])
        self._pictures.restore(self._rows[places], places)

    def _broken(self, before: Float64Array, after: Float64Array) -> BoolArray:
        """(n,) whether the physics diverged; MuJoCo then silently resets, which shows in the time."""
        elapsed = after[:, self.layout.time] - before[:, self.layout.time]
        restarted = np.abs(elapsed - self.task.spec.control_period_s) > 1e-6
        state = after[:, self.layout.physics]
        # Also true for NaN.
        return restarted | ~(np.abs(state) <= _HUGE).all(axis=1)

    def _note_divergence(self, rows: Float64Array, actions: Float64Array) -> None:
        layout = self.layout
        for row, action in zip(rows, actions, strict=True):
            self.num_diverged += 1
            if self._divergence_folder is not None and self.num_diverged <= MAX_KEPT:
                seed, step = int(row[layout.seed][0]), int(row[layout.step][0])
                spec = self.task.spec
                kept = Divergence(spec.name, self.profile, self.task.variation, seed, step, row, action, spec.settings)
                kept.save(self._divergence_folder)

    def _situation(self, rows: Float64Array, places: IntArray | None) -> Situation:
        now, before = self._perception.actual(rows)
        size = self._size if places is None else self._size[places]
        memory = rows[:, self.layout.memory].copy()
        physics = rows[:, self.layout.physics]
        return Situation(self.task.spec.obs.frames, now, before, size, physics, memory, memory)

    def _add_noise(self, rows: Float64Array) -> None:
        """Add noise of measurement to the true sensor values of states (n, S)."""
        seeds, steps = (rows[:, column][:, 0].astype(np.int64) for column in (self.layout.seed, self.layout.step))
        self.mechanism.add_noise(rows[:, self.layout.sensors], seeds, steps)

    def _joint_state(self, place: int) -> tuple[Float64Array, Float64Array]:
        row = self._rows[place]
        return self.mechanism.joint_state(row[self.layout.physics], row[self.layout.sensors])

    def _observe(self, rows: Float64Array, situation: Situation, places: IntArray | None) -> Any:
        actual = (situation.now, situation.before)
        vector = self._builder.build(*self._perception.perceived(rows, actual, places))
        return self.task.spec.obs.observation(vector, self._pictures.images(places))

    def _row_of(self, data: mujoco.MjData) -> Float64Array:
        row = np.zeros(self.layout.width)
        physics = np.empty(self.layout.physics.stop)
        mujoco.mj_getState(self.model, data, physics, PHYSICS)
        row[self.layout.physics] = physics
        row[self.layout.sensors] = data.sensordata
        return row

"""Conversion of recordings of other programs to episodes of the kitchen task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.data import Episode
from reskill_core.errors import DataError
from reskill_core.files import sha256_of
from reskill_core.rotations import matrix_from_quat, rotation_vector_between
from reskill_sim.engine.imported_data import ImportedData
from reskill_sim.kitchen import constants
from reskill_sim.kitchen.importing.files import Recording, open_recordings
from reskill_sim.kitchen.subtasks import COMPLETED_WITHIN, distances, newly_completed
from reskill_sim.kitchen.task import KITCHEN_OBS, KitchenTask, coordinates

# Published files by SHA-256.
KNOWN = {
    "a30382a50278fdaea2e2d88e5f2836a95bcf9b581d252617872fd6537302721b": "D4RL's kitchen-mixed-v0",
}
_COORDINATES = len(constants.START_QPOS)
# D4RL's observation: coordinates, and the goal's coordinates.
D4RL_WIDTH = 2 * _COORDINATES
# Start positions of arm joints that differ by more are those of another environment [rad].
_SAME_START_RAD = 0.1


def import_data(task: KitchenTask, path: Path) -> ImportedData:
    """Open a D4RL or Minari file of the kitchen.

    Raises:
        DataError: it is missing, damaged, of neither format, or its observations have another layout.
    """
    file = open_recordings(path)
    if file.width not in (D4RL_WIDTH, KITCHEN_OBS.dim):
        raise DataError(
            f"{file.path}: observations have {file.width} values; known are Gymnasium's {KITCHEN_OBS.dim} (coordinates "
            f"and velocities) and D4RL's {D4RL_WIDTH} ({_COORDINATES} coordinates and the goal's)"
        )
    sha256 = sha256_of(file.path)
    known = KNOWN.get(sha256)
    notes = [
        f"the file is {known}"
        if known
        else f"no published file is known by this checksum, it is taken as it is: SHA-256 {sha256}",
        "reward, success and completed subtasks follow from the observations, by the task's rule and settings",
        "there are no simulator states: nothing can be drawn or decoded in the simulator from its recorded states",
    ]
    if file.width == D4RL_WIDTH:
        notes += [
            "its observations have no velocities: they are differences of coordinates over one control period, zero at "
            "the start; the goal's coordinates are dropped",
            "the last action of each episode is left out, since the observation after it is not recorded",
        ]
    if file.unfinished:
        notes.append("the last episode has no end mark, it is taken to end with the file")
    if note := _start_note(next(file.recordings(), None)):
        notes.append(note)
    provenance = {"import": {"file": file.path.name, "format": file.format, "sha256": sha256, "known_as": known}}
    return ImportedData(file.format, provenance, notes, _episodes(task, file.recordings(), file.format))


def _episodes(task: KitchenTask, recordings: Iterator[Recording], source: str) -> Iterator[Episode]:
    for recording in recordings:
        observations = recording.observations
        if observations.shape[1] == D4RL_WIDTH:
            observations = with_velocities(observations[:, :_COORDINATES])
        rewards, success = _outcome(task, observations)
        actions = np.clip(recording.actions, -1.0, 1.0).astype(np.float32)
        terminated = success and rewards[-1] > 0.0
        yield Episode(
            observation=observations[:-1].astype(np.float32),
            action=actions,
            executed_action=actions,
            reward=rewards.astype(np.float32),
            sim_state=np.zeros((len(actions), 0)),
            final_observation=observations[-1].astype(np.float32),
            seed=-1,
            success=success,
            terminated=terminated,
            truncated=not terminated,
            noise_scale=0.0,
            source=source,
        )


def with_velocities(qpos: Float64Array) -> Float64Array:
    """Observations (T, 59) of coordinates (T, 30), with velocities that are differences over one control period.

    Those of the first row are zero. The kettle's angular velocity is in its own frame, as in the simulator.
    """
    arm, objects, kettle = slice(0, 9), slice(9, 26), slice(26, 30)
    quat = qpos[:, kettle] / np.maximum(np.linalg.norm(qpos[:, kettle], axis=1, keepdims=True), 1e-9)
    turned_w = rotation_vector_between(quat[:-1], quat[1:])
    turned = (turned_w[:, None] @ matrix_from_quat(quat[1:]))[:, 0]
    moved = np.concatenate([np.diff(qpos[:, : kettle.start], axis=0), turned], axis=1)
    velocity = np.concatenate([np.zeros((1, moved.shape[1])), moved / constants.CONTROL_PERIOD_S])
    return np.concatenate([qpos[:, arm], velocity[:, arm], qpos[:, objects], qpos[:, kettle], velocity[:, 9:]], axis=1)


def _outcome(task: KitchenTask, observations: Float64Array) -> tuple[Float64Array, bool]:
    """Rewards (T,) of the steps between observations (T + 1, 59), and whether enough subtasks were completed."""
    near = distances(task.settings.subtasks, coordinates(observations[1:])) < COMPLETED_WITHIN
    completed = np.zeros((1, near.shape[1]), dtype=np.bool_)
    rewards = np.zeros(len(near))
    for step in range(len(near)):
        new = newly_completed(near[step : step + 1], completed, task.settings.ordered)
        rewards[step] = new.sum()
        completed |= new
    return rewards, int(completed.sum()) >= task.settings.num_needed


def _start_note(recording: Recording | None) -> str:
    if recording is None:
        raise DataError("the file has no episode of more than one observation")
    arm = len(constants.ARM_JOINTS)
    gap = float(np.abs(recording.observations[0, :arm] - np.array(constants.START_QPOS[:arm])).max())
    if gap <= _SAME_START_RAD:
        return ""
    return f"its first episode starts with the arm {gap:.2f} rad away from where this environment's episodes start"

"""Recordings in HDF5 files of D4RL and of Minari, episode by episode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.errors import DataError
from reskill_sim.kitchen.constants import JOINT_NAMES

D4RL, MINARI = "d4rl", "minari"
# File in the folder of a Minari data set.
_MINARI_FILE = Path("data") / "main_data.hdf5"
_OBSERVATIONS, _ACTIONS = "observations", "actions"
_ENDS = ("terminals", "timeouts")
# More rows than any of these files has, and few enough for memory.
_MAX_ROWS = 20_000_000


@dataclass(frozen=True)
class Recording:
    """Recorded episode.

    Attributes:
        observations: (T + 1, W) observations, the one after the last action included.
        actions: (T, 9) actions.
    """

    observations: Float64Array
    actions: Float64Array


@dataclass(frozen=True)
class RecordingFile:
    """File of recordings.

    Attributes:
        path: the file.
        format: ``d4rl`` or ``minari``.
        width: number W of values of an observation.
        num_episodes: number of episodes, unfinished ones included.
        unfinished: whether the last episode has no end mark.
    """

    path: Path
    format: str
    width: int
    num_episodes: int
    unfinished: bool

    def recordings(self) -> Iterator[Recording]:
        """Read the recordings in order; those of a single observation are left out.

        Raises:
            DataError: an episode is damaged or not in the format.
        """
        with _opened(self.path) as file:
            yield from _flat(file) if self.format == D4RL else _grouped(file)


def open_recordings(path: Path) -> RecordingFile:
    """Recognise a file of D4RL or of Minari, or the folder of a Minari data set.

    Raises:
        DataError: it is missing, damaged, or of neither format.
    """
    found = path / _MINARI_FILE if path.is_dir() else path
    with _opened(found) as file:
        if _OBSERVATIONS in file and _ACTIONS in file:
            ends, count = _episode_ends(file), len(_array(file, _ACTIONS))
            unfinished = not len(ends) or ends[-1] != count
            width = _array(file, _OBSERVATIONS).shape[-1]
            return RecordingFile(found, D4RL, width, len(ends) + unfinished, unfinished)
        if names := _episode_names(file):
            return RecordingFile(found, MINARI, _observations(file[names[0]]).shape[-1], len(names), False)
    raise DataError(
        f"{found} is neither a D4RL file ({_OBSERVATIONS} and {_ACTIONS} of all steps) nor Minari's "
        "(a group episode_0, episode_1, … for each episode)"
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as cause:
        raise DataError(f"{path} cannot be read, it is damaged or no HDF5 file: {cause}") from cause


def _array(group: h5py.Group, name: str) -> h5py.Dataset:
    """Array in the file itself.

    Raises:
        DataError: it is missing, or refers to another file.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise DataError(f"{group.file.filename} has no array {group.name.rstrip('/')}/{name} of its own")
    found = group[name]
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise DataError(f"{group.file.filename}: {group.name.rstrip('/')}/{name} is no array of the file itself")
    if found.ndim not in (1, 2) or len(found) > _MAX_ROWS or found.dtype.kind not in "fbiu":
        raise DataError(f"{group.file.filename}: {found.name} has shape {found.shape} and type {found.dtype}")
    return found


# ---------------------------------------------------------------------- D4RL


def _episode_ends(file: h5py.File) -> Any:
    """(E,) rows after the last one of each episode that has an end mark."""
    count = len(_array(file, _ACTIONS))
    marks = [_array(file, name) for name in _ENDS if name in file]
    if not marks:
        raise DataError(f"{file.filename} has neither {' nor '.join(_ENDS)}: its episodes cannot be told apart")
    if any(mark.shape != (count,) for mark in marks) or len(_array(file, _OBSERVATIONS)) != count:
        raise DataError(f"{file.filename}: {_OBSERVATIONS}, {_ACTIONS} and end marks differ in length")
    over: BoolArray = np.any([mark[()].astype(np.bool_) for mark in marks], axis=0)
    return np.flatnonzero(over) + 1


def _flat(file: h5py.File) -> Iterator[Recording]:
    observations, actions = _array(file, _OBSERVATIONS), _array(file, _ACTIONS)
    _require_joints(actions)
    first = 0
    for end in dict.fromkeys([*_episode_ends(file).tolist(), len(actions)]):
        # The observation after the last action is not recorded: the last action is left out.
        if end - first > 1:
            rows = observations[first:end].astype(np.float64)
            yield Recording(rows, actions[first : end - 1].astype(np.float64))
        first = end


# ---------------------------------------------------------------------- Minari


def _episode_names(file: h5py.File) -> list[str]:
    own = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    names = [name for name in own if name.startswith("episode_") and name[8:].isdecimal()]
    return sorted(names, key=lambda name: int(name[8:]))


def _observations(episode: h5py.Group) -> h5py.Dataset:
    """Observations of an episode, which are an array or, of goal environments, one part of a group."""
    if isinstance(episode.get(_OBSERVATIONS, getlink=True), h5py.HardLink) and isinstance(
        episode[_OBSERVATIONS], h5py.Group
    ):
        return _array(episode[_OBSERVATIONS], "observation")
    return _array(episode, _OBSERVATIONS)


def _grouped(file: h5py.File) -> Iterator[Recording]:
    for name in _episode_names(file):
        observations, actions = _observations(file[name]), _array(file[name], _ACTIONS)
        _require_joints(actions)
        if len(observations) != len(actions) + 1:
            raise DataError(
                f"{file.filename}: {name} has {len(observations)} observations of {len(actions)} actions, not one more"
            )
        if len(actions):
            yield Recording(observations[()].astype(np.float64), actions[()].astype(np.float64))


def _require_joints(actions: h5py.Dataset) -> None:
    if actions.ndim != 2 or actions.shape[1] != len(JOINT_NAMES):
        raise DataError(
            f"{actions.file.filename}: {actions.name} has shape {actions.shape}; an action has a velocity for each of "
            f"the {len(JOINT_NAMES)} joints"
        )

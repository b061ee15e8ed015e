"""Arrays over all steps of a data set: in memory, memory-mapped, or read from the shards on demand."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.data.schema import FIELDS, SIM_STATE, ArrayField, DatasetSpec
from reskill_core.errors import DataError


class Column:
    """Builder of an array from pieces, in memory or in an anonymous file that is then memory-mapped."""

    def __init__(self, field: ArrayField, spec: DatasetSpec) -> None:
        """Start with no rows."""
        self._dtype = np.dtype(field.dtype)
        self._row_shape = spec.row_shape(field)
        self._pieces: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self._num_rows = 0

    def append(self, piece: NDArray[Any]) -> None:
        """Add rows."""
        self._num_rows += len(piece)
        if self._file is None:
            self._pieces.append(piece)
        else:
            piece.tofile(self._file)

    def spill(self, folder: Path) -> None:
        """Move the rows to a temporary file, which is deleted with the array; later rows are added to it.

        Raises:
            DataError: the folder cannot be written to.
        """
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, it lives as long as the array
            for piece in self._pieces:
                piece.tofile(self._file)
        except OSError as cause:
            raise DataError(
                f"the data set exceeds the memory limit and {folder} cannot take its arrays ({cause.strerror});"
                " choose another scratch folder or a higher memory_limit_bytes"
            ) from cause
        self._pieces.clear()

    def finish(self) -> NDArray[Any]:
        """Return the whole array, read-only."""
        if self._file is None:
            array = np.concatenate(self._pieces)
            self._pieces.clear()
        else:
            self._file.flush()
            array = np.memmap(self._file, self._dtype, "r", shape=(self._num_rows, *self._row_shape))
        array.flags.writeable = False
        return array


@dataclass(frozen=True)
class Run:
    """Consecutive rows of the data set that are consecutive in one shard.

    Attributes:
        start: first row in the data set.
        stop: row after the last in the data set.
        path: the shard.
        first_row: first row in the shard.
        sim_state_offset: offset of the shard's simulator states in the file [byte].
    """

    start: int
    stop: int
    path: Path
    first_row: int
    sim_state_offset: int


class SimStates:
    """Simulator states (N, S) of all steps, float64, read from the shards on demand."""

    def __init__(self, runs: Sequence[Run], width: int) -> None:
        """Set up from the runs that make up the data set's rows; nothing is read yet."""
        self._runs = tuple(runs)
        self._stops = np.array([run.stop for run in self._runs])
        self.shape = (self._runs[-1].stop, width)
        self.dtype = np.dtype(FIELDS[SIM_STATE].dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | np.integer | slice) -> NDArray[np.float64]:
        """Read one state (S,) or a contiguous range of states (n, S).

        Raises:
            DataError: the range has gaps, or a shard was removed or truncated meanwhile.
        """
        if not isinstance(rows, slice):
            index = range(len(self))[rows]
            return self[index : index + 1][0]
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise DataError(f"simulator states are read in contiguous ranges, got step {step}")
        pieces = [np.empty((0, self.shape[1]))]
        for run in self._runs[np.searchsorted(self._stops, start, side="right") :]:
            if run.start >= stop:
                break
            pieces.append(self._read(run, max(start, run.start), min(stop, run.stop)))
        return np.concatenate(pieces)

    def _read(self, run: Run, start: int, stop: int) -> NDArray[np.float64]:
        width = self.shape[1]
        row = run.first_row + start - run.start
        offset = run.sim_state_offset + row * width * self.dtype.itemsize
        try:
            values = np.fromfile(run.path, self.dtype, (stop - start) * width, offset=offset)
        except OSError as cause:
            raise DataError(f"cannot read {run.path}: {cause.strerror}") from cause
        if len(values) != (stop - start) * width:
            raise DataError(f"{run.path} was cut short since it was opened")
        return values.reshape(stop - start, width)

"""Metrics of a run as JSON lines, for TensorBoard and, on request, for Weights & Biases.

Every tag is explained in the glossary of README.md.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from reskill_core.errors import ConfigError, DataError
from reskill_core.files import append_jsonl, atomic_write_bytes, atomic_write_jsonl, read_text

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
STEP = "step"
_MAX_BYTES = 2**30
# Environment variable with the Weights & Biases project, as used by its own tools; enables logging to it.
WANDB_PROJECT = "WANDB_PROJECT"
_WANDB_ID_FILE = "wandb_run_id"


class MetricsLogger:
    """Writer of rows ``{"step": ..., tag: value, ...}`` to ``metrics.jsonl``, and of scalars for TensorBoard.

    If the environment variable ``WANDB_PROJECT`` is set, Weights & Biases receives them as well.

    Args:
        folder: run folder.
        resume_step: step from which training resumes; later rows, of lost work, are removed.
        writes: if false, nothing is written; of several processes that train together, one writes.

    Raises:
        ConfigError: Weights & Biases is requested but not installed.
    """

    def __init__(self, folder: Path, resume_step: int, writes: bool = True) -> None:
        self._writes = writes
        if not writes:
            return
        # Slow to import, and only needed here.
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / METRICS_FILE
        if self._path.exists():
            kept = [row for row in read_metrics(folder) if row[STEP] <= resume_step]
            atomic_write_jsonl(self._path, kept)
        self._wandb = _wandb_run(folder) if os.environ.get(WANDB_PROJECT) else None
        self._tensorboard = SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=resume_step + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row."""
        if not self._writes:
            return
        append_jsonl(self._path, {STEP: step, **values})
        for tag, value in values.items():
            self._tensorboard.add_scalar(tag, value, step)
        if self._wandb is not None:
            self._wandb.log({STEP: step, **values})

    def __enter__(self) -> MetricsLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._writes:
            return
        self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error is None else 1)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the rows of a run's metrics, without an unfinished last line of a killed run.

    Raises:
        DataError: the file is missing, or has a line that is not a row.
    """
    path = folder / METRICS_FILE
    # Not str.splitlines, which splits at more characters than line feeds.
    lines = read_text(path, DataError, _MAX_BYTES).split("\n")
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines[:-1], 1) if line]


def _row(line: str, source: str) -> dict[str, float]:
    try:
        row = json.loads(line)
        # Integers too large for a float are refused, too.
        if isinstance(row[STEP], int) and all(float(value) == value or value != value for value in row.values()):
            return row
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise DataError(f"{source} is no row of metrics, which are numbers with a {STEP}; remove the line")


def _wandb_run(folder: Path) -> Any:
    """Run of Weights & Biases; an existing run of this folder is resumed."""
    if importlib.util.find_spec("wandb") is None:
        raise ConfigError(f"{WANDB_PROJECT} is set, but there is no wandb: pip install wandb, or unset {WANDB_PROJECT}")
    import wandb

    known = folder / _WANDB_ID_FILE
    run_id = known.read_text() if known.exists() else secrets.token_hex(4)
    atomic_write_bytes(known, run_id.encode())
    run = wandb.init(name=f"{folder.parent.name}/{folder.name}", dir=str(folder), id=run_id, resume="allow")
    # Steps repeated after a resume are smaller than the last logged ones; this plots them at the right place.
    run.define_metric("*", step_metric=STEP)
    return run


def averaged(prefix: str, rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each value over the rows, as ``prefix/name``."""
    return {f"{prefix}/{name}": sum(row[name] for row in rows) / len(rows) for name in rows[0]}


class Throughput:
    """Training throughput in windows per second, and the share of time spent on data loading."""

    def __init__(self) -> None:
        self._windows = 0
        self._total_s = 0.0
        self._data_s = 0.0

    @contextmanager
    def step(self, windows: int) -> Iterator[None]:
        """Time a training step with this many windows."""
        started = time.perf_counter()
        yield
        self._total_s += time.perf_counter() - started
        self._windows += windows

    @contextmanager
    def data(self) -> Iterator[None]:
        """Time the data loading of a step."""
        started = time.perf_counter()
        yield
        self._data_s += time.perf_counter() - started

    def metrics(self) -> dict[str, float]:
        """Return the averages so far."""
        return {
            "train/windows_per_s": self._windows / self._total_s,
            "train/data_share": self._data_s / self._total_s,
        }

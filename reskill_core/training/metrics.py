"""Metrics of a run as JSON lines and for TensorBoard. Every tag is explained in the glossary of README.md."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from reskill_core.files import append_jsonl, atomic_write_bytes

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
STEP = "step"


class MetricsLogger:
    """Appends rows ``{"step": ..., tag: value, ...}`` to ``metrics.jsonl`` and scalars for TensorBoard.

    Args:
        folder: run folder.
        resume_step: step training continues from; later rows, of work that was lost, are removed.
    """

    def __init__(self, folder: Path, resume_step: int) -> None:
        # Slow to import, and needed by nothing else.
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / METRICS_FILE
        if self._path.exists():
            kept = [row for row in read_metrics(folder) if row[STEP] <= resume_step]
            atomic_write_bytes(self._path, "".join(json.dumps(row) + "\n" for row in kept).encode())
        self._tensorboard = SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=resume_step + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row."""
        append_jsonl(self._path, {STEP: step, **values})
        for tag, value in values.items():
            self._tensorboard.add_scalar(tag, value, step)

    def __enter__(self) -> MetricsLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tensorboard.close()


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's metrics; a last line that a killed run left unfinished is left out."""
    lines = (folder / METRICS_FILE).read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def averaged(prefix: str, rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each value over the rows, as ``prefix/name``."""
    return {f"{prefix}/{name}": sum(row[name] for row in rows) / len(rows) for name in rows[0]}


class Throughput:
    """Windows per second, and the share of a step that goes into loading data."""

    def __init__(self) -> None:
        self._windows = 0
        self._total_s = 0.0
        self._data_s = 0.0

    @contextmanager
    def step(self, windows: int) -> Iterator[None]:
        """Time a step on this many windows."""
        started = time.perf_counter()
        yield
        self._total_s += time.perf_counter() - started
        self._windows += windows

    @contextmanager
    def data(self) -> Iterator[None]:
        """Time the part of a step that loads data."""
        started = time.perf_counter()
        yield
        self._data_s += time.perf_counter() - started

    def metrics(self) -> dict[str, float]:
        """The averages so far."""
        return {
            "train/windows_per_s": self._windows / self._total_s,
            "train/data_share": self._data_s / self._total_s,
        }

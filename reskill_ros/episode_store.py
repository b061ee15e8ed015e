"""Decides which recorded episodes go into a data set, and keeps count."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reskill_core.data import DatasetSpec, DatasetWriter, DemoDataset
from reskill_core.data.manifest import find_shards
from reskill_core.errors import DataError
from reskill_ros.assembly import Assembled
from reskill_ros.recorder_parameters import RecorderParameters

_GB = 1e9


@dataclass
class EpisodeStore:
    """A data set being added to.

    Attributes:
        folder: the data set.
        counts: episodes by what became of them.
    """

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    _writer: DatasetWriter | None = None
    _spec: DatasetSpec | None = None
    _started_s: float = field(default_factory=time.monotonic)
    _steps: int = 0

    def open(self, spec: DatasetSpec) -> None:
        """Open the data set for these episodes; again for the same ones changes nothing.

        Raises:
            DataError: it holds episodes of another kind (every difference is listed) or cannot be written.
        """
        if self._writer is None:
            self._writer = DatasetWriter(self.folder, spec)
        elif differences := spec.differences(self._writer.spec):
            raise DataError(f"the driver does not do any more what is recorded: {'; '.join(differences)}")

    def close(self) -> None:
        """Let other writers in."""
        if self._writer is not None:
            self._writer.close()

    def take(self, assembled: Assembled, wanted: RecorderParameters, lost: Mapping[str, int]) -> str:
        """Save an episode as one shard, or not.

        Args:
            assembled: the episode.
            wanted: what is good enough.
            lost: messages that the middleware reported as lost, by topic.

        Returns:
            What became of it, for people.

        Raises:
            DataError: it should have been saved and could not be.
        """
        what = f"episode with seed {assembled.seed}, {assembled.steps} steps"
        gaps = ", ".join(f"{count} of {topic}" for topic, count in assembled.missing.items())
        if not assembled.valid:
            return self._leave(what, "invalid", "the driver says that it is not valid")
        if assembled.episode is None or (gaps and not wanted.keep_incomplete):
            return self._leave(what, "incomplete", f"missing: {gaps or 'all steps'}")
        if not (assembled.success or gaps or wanted.keep_failures):
            return self._leave(what, "failed", "it did not reach the goal")
        self._check_space(wanted.min_free_gb)
        if self._writer is None:
            raise DataError("no data set is open")
        extra = {"recorder": {"missing": assembled.missing, "lost": dict(lost)}}
        path = self._writer.add_shard([assembled.episode], extra=extra)
        self.counts["saved"] += 1
        self._steps += assembled.episode.num_steps
        result = f"only up to the first gap, missing: {gaps}" if gaps else "success" if assembled.success else "failure"
        return f"saved {path.name}: {what}, {assembled.episode.source}, {result}"

    def describe(self) -> str:
        """What was done so far, as one line."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items()) or "none"
        elapsed_s = time.monotonic() - self._started_s
        return f"episodes: {counts}; {self._steps} steps in {elapsed_s:.1f} s, data set {self.folder}"

    def _leave(self, what: str, kind: str, reason: str) -> str:
        self.counts[kind] += 1
        return f"not saved: {what}; {reason}"

    def _check_space(self, min_free_gb: float) -> None:
        free_gb = shutil.disk_usage(self.folder).free / _GB
        if free_gb < min_free_gb:
            raise DataError(f"{self.folder}: only {free_gb:.2f} GB are free, min_free_gb is {min_free_gb:g}")


def next_seed(folder: Path) -> int:
    """The seed after the highest one in a data set; 0 if there is none yet.

    Raises:
        DataError: the data set cannot be read.
    """
    if not folder.is_dir() or not find_shards(folder):
        return 0
    return int(DemoDataset.open(folder, on_bad_shard="skip").seed.max(initial=-1)) + 1

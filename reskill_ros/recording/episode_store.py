"""Selection and storage of recorded episodes in a data set, with counters."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reskill_core.data import DatasetSpec, DatasetWriter, DataWorld, DemoDataset
from reskill_core.data.manifest import find_shards
from reskill_core.errors import DataError
from reskill_core.text import printable
from reskill_ros.recording.episode_assembler import Assembled
from reskill_ros.recording.recorder_parameters import RecorderParameters

_GB = 1e9
# Reasons for discarding an episode, as worded in the summary.
_DISCARDED = {
    "failed": "did not reach the goal",
    "incomplete": "of which messages were missing",
    "invalid": "not valid, says the driver",
    "abandoned": "given up by the driver",
    "dropped": "dropped on request",
    "interrupted": "still running at the end",
    "unwritten": "that could not be written",
}


@dataclass
class EpisodeStore:
    """Data set that recorded episodes are added to.

    Attributes:
        folder: folder of the data set.
        counts: number of episodes by outcome.
    """

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    _writer: DatasetWriter | None = None
    _spec: DatasetSpec | None = None
    _started_s: float = field(default_factory=time.monotonic)
    _steps: int = 0

    def open(self, spec: DatasetSpec, world: DataWorld) -> None:
        """Open the data set for episodes of one specification and world; repeated calls have no effect.

        Raises:
            DataError: the data set has another specification (lists all differences) or cannot be written.
        """
        if self._writer is None:
            self._writer = DatasetWriter(self.folder, spec, world=world)
        elif differences := spec.differences(self._writer.spec):
            raise DataError(f"the driver does not do any more what is recorded: {'; '.join(differences)}")

    def close(self) -> None:
        """Close the data set for other writers."""
        if self._writer is not None:
            self._writer.close()

    def take(self, assembled: Assembled, wanted: RecorderParameters, lost: Mapping[str, int]) -> str:
        """Save an episode as one shard, or discard it.

        Args:
            assembled: the episode.
            wanted: parameters that determine which episodes are saved.
            lost: number of messages that the middleware reported as lost, by topic.

        Returns:
            Outcome as text.

        Raises:
            DataError: the episode could not be saved.
        """
        what = f"episode with seed {assembled.seed}, {assembled.steps} steps"
        gaps = ", ".join(f"{count} of {topic}" for topic, count in assembled.missing.items())
        if not assembled.valid:
            return self._leave(what, "invalid", "the driver says that it is not valid")
        whole = assembled.over and not gaps
        if not assembled.over and (assembled.episode is None or not wanted.keep_incomplete):
            return self._leave(what, "interrupted", "it was still running when recording ended")
        if assembled.episode is None or (gaps and not wanted.keep_incomplete):
            return self._leave(what, "incomplete", f"missing: {gaps or 'all steps'}")
        if whole and not (assembled.success or wanted.keep_failures):
            return self._leave(what, "failed", "it did not reach the goal")
        extra = {"recorder": {"missing": assembled.missing, "lost": dict(lost)}}
        try:
            self._check_space(wanted.min_free_gb)
            if self._writer is None:
                raise DataError("no data set is open")
            path = self._writer.add_shard([assembled.episode], extra=extra)
        except DataError:
            self.counts["unwritten"] += 1
            raise
        self.counts["saved"] += 1
        self._steps += assembled.episode.num_steps
        if whole:
            result = "success" if assembled.success else "failure"
        else:
            ended = f"the first gap, missing: {gaps}" if gaps else "the end of recording"
            result = f"only up to {ended}"
        source, label = assembled.episode.source, assembled.episode.label
        return f"saved {path.name}: {what}, {printable(source)}, {result}{labelled(label)}"

    def describe(self, abandoned: int = 0) -> str:
        """Summarise the recording in one line.

        Args:
            abandoned: number of episodes to be recorded that the driver aborted.
        """
        counts = self.counts | Counter(abandoned=abandoned)
        discarded = [f"{counts[kind]} {words}" for kind, words in _DISCARDED.items() if counts[kind]]
        reasons = f": {', '.join(discarded)}" if discarded else ""
        elapsed_s = time.monotonic() - self._started_s
        return (
            f"{counts['saved']} of {counts.total()} episodes recorded, {self._steps} steps in {elapsed_s:.1f} s, "
            f"data set {self.folder}; {counts.total() - counts['saved']} discarded{reasons}"
        )

    def _leave(self, what: str, kind: str, reason: str) -> str:
        self.counts[kind] += 1
        return f"not saved: {what}; {reason}"

    def _check_space(self, min_free_gb: float) -> None:
        try:
            free_gb = shutil.disk_usage(self.folder).free / _GB
        except OSError as cause:
            raise DataError(f"{self.folder} cannot be written to: {cause.strerror}") from cause
        if free_gb < min_free_gb:
            raise DataError(f"{self.folder}: only {free_gb:.2f} GB are free, min_free_gb is {min_free_gb:g}")


def labelled(label: str) -> str:
    """Addition to a message about episodes with a label; empty without one."""
    return f', labelled "{printable(label)}"' if label else ""


def next_seed(folder: Path) -> int:
    """Return the seed after the highest one in a data set; 0 if there is none yet.

    Raises:
        DataError: the data set cannot be read.
    """
    if not folder.is_dir() or not find_shards(folder):
        return 0
    return int(DemoDataset.open(folder, on_bad_shard="skip").seed.max(initial=-1)) + 1

"""The skeleton of a training run, by a run that only counts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skill_fixtures import TASK
from tqdm import tqdm

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.errors import CheckpointError
from reskill_core.lineage import Lineage
from reskill_core.parameters import parameter
from reskill_core.training.metrics import MetricsLogger, read_metrics
from reskill_core.training.training_run import Progress, TrainingRun


@dataclass(frozen=True)
class CountingConfig:
    """What to count."""

    out: str
    steps: int = parameter(6, low=1, high=100)
    keep_checkpoints: int = parameter(9, low=1, high=100)
    stride: int = parameter(1, low=1, high=9)


class Counting(TrainingRun[Progress]):
    """Adds a stride in every step, and leaves a checkpoint after every second one."""

    KIND = "count"
    PLACES = ("out",)
    label = "count"
    lineage = Lineage(task="count")

    def __init__(self, config: CountingConfig, rank: int = 0) -> None:
        super().__init__(config, Progress(), rank)
        self.stride, self.total, self.begun = config.stride, np.zeros(1), 0

    def begin(self) -> None:
        self.begun += 1

    def advance(self, log: MetricsLogger, bar: tqdm) -> None:
        for _ in range(2):
            self.total = self.total + self.stride
            self.progress.step += 1
            log.log(self.progress.step, {"total": float(self.total[0])})
        self.progress.best_step = 2

    def checkpoint(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"total": self.total}, {"task": TASK.to_dict()}

    def state(self) -> dict[str, Any]:
        return {"twice": 2 * self.total}

    def restore(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self.total = np.array(weights["total"])
        assert state["twice"] == 2 * self.total

    def plot(self) -> None:
        (self.folder / "plotted").touch()


def test_a_run_goes_from_checkpoint_to_checkpoint_and_continues(tmp_path: Path) -> None:
    config = CountingConfig(str(tmp_path), stride=3)
    first = Counting(config)
    first.train(show_progress=False)
    checkpoints = tmp_path / "checkpoints"
    assert (float(first.total[0]), first.begun, first.progress) == (18, 1, Progress(6, 2))
    assert sorted(path.name for path in checkpoints.glob("0*")) == ["00000002", "00000004", "00000006"]
    assert first.best_checkpoint.resolve().name == "00000002"
    assert (tmp_path / "plotted").exists()
    (checkpoints / "last").unlink()
    (checkpoints / "last").symlink_to("00000004")
    again = Counting(config)
    again.train(show_progress=False)
    assert (float(again.total[0]), again.begun) == (18, 0)
    assert [row["total"] for row in read_metrics(tmp_path)] == [3, 6, 9, 12, 15, 18]
    with pytest.raises(CheckpointError, match=r"training\.stride: 3 != 2"):
        Counting(replace(config, stride=2)).train(show_progress=False)


def test_of_processes_that_train_together_one_writes(tmp_path: Path) -> None:
    alone = Counting(CountingConfig(str(tmp_path)), rank=1)
    alone.train(show_progress=False)
    assert alone.total == 6
    assert not list(tmp_path.iterdir())
    Counting(CountingConfig(str(tmp_path), steps=6)).train(show_progress=False)
    other = Counting(CountingConfig(str(tmp_path)), rank=1)
    other.train(show_progress=False)
    # It has taken over what the other one left.
    assert (float(other.total[0]), other.begun) == (6, 0)


def test_a_setting_that_is_newer_than_a_run_counts_as_its_default(tmp_path: Path) -> None:
    Counting(CountingConfig(str(tmp_path), stride=1)).train(show_progress=False)
    last = (tmp_path / "checkpoints" / "last").resolve()
    kept = load_checkpoint(last, "count")
    document = {**kept.document, "training": {k: v for k, v in kept.document["training"].items() if k != "stride"}}
    shutil.rmtree(last)
    state = {"progress": {"step": 6, "best_step": 2}, "twice": np.array([12.0])}
    save_checkpoint(last, "count", kept.weights, document, state)
    continued = Counting(CountingConfig(str(tmp_path)))
    continued.train(show_progress=False)
    assert continued.total == 6
    with pytest.raises(CheckpointError, match=r"training\.stride: 1 != 2"):
        Counting(CountingConfig(str(tmp_path), stride=2)).train(show_progress=False)

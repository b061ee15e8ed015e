"""Benchmark of training a skill module, with the share of data loading."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from reskill_core.config import load_config
from reskill_core.data import DemoDataset
from reskill_core.resources import find_config
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.training.metrics import Throughput
from reskill_core.training.skill_trainer import SkillTrainer

_WARM_UP_STEPS = 10


@dataclass(frozen=True)
class TrainingRates:
    """Speed of training with the shipped configuration of a task.

    Attributes:
        threads: number of threads of torch.
        batch: windows per gradient step.
        windows_per_s: windows per second.
        step_ms: mean time of one gradient step [ms].
        data_share: share of data loading in the time of a step.
        budget_min: time of the configured number of steps at this speed, without validation [min].
    """

    threads: int
    batch: int
    windows_per_s: float
    step_ms: float
    data_share: float
    budget_min: float


def measure_training(
    data: Path | str, threads: tuple[int, ...] = (1, 2), duration_s: float = 10.0
) -> list[TrainingRates]:
    """Measure training on a data set for each number of threads; the models are discarded."""
    task = DemoDataset.open(data).spec.task.name
    rows = []
    before = torch.get_num_threads()
    for count in threads:
        torch.set_num_threads(count)
        with tempfile.TemporaryDirectory() as folder:
            overrides = [f"data={data}", f"out={folder}", f"threads={count}"]
            config = load_config(SkillTrainingConfig, find_config(f"skills/{task}.yaml"), overrides)
            rows.append(_measure(SkillTrainer(config), duration_s))
    torch.set_num_threads(before)
    return rows


def _measure(trainer: SkillTrainer, duration_s: float) -> TrainingRates:
    for _ in range(_WARM_UP_STEPS):
        trainer.train_step(Throughput())
    throughput, config = Throughput(), trainer.config
    started = time.perf_counter()
    while time.perf_counter() - started < duration_s:
        trainer.train_step(throughput)
    metrics = throughput.metrics()
    steps_per_s = metrics["train/windows_per_s"] / config.batch_size
    return TrainingRates(
        threads=config.threads,
        batch=config.batch_size,
        windows_per_s=metrics["train/windows_per_s"],
        step_ms=1e3 / steps_per_s,
        data_share=metrics["train/data_share"],
        budget_min=config.steps / steps_per_s / 60,
    )

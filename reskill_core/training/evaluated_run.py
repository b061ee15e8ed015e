"""Base class of training runs of what acts: each checkpoint is evaluated first, and the best one is kept.

``best`` has the highest return in the selection episodes, which are not those of reported evaluations
(:mod:`reskill_core.seeding`); of several, it is the one that has learnt longest.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray
from tqdm import tqdm

from reskill_core.runtime.skill_policy import SkillPolicy
from reskill_core.training import run_folder
from reskill_core.training.metrics import MetricsLogger, read_metrics
from reskill_core.training.plots import plot_returns
from reskill_core.training.training_run import Progress, TrainingRun

# Function from a policy to its metrics by name, including ``return``; higher is better.
Evaluate = Callable[[SkillPolicy], dict[str, float]]

# What the progress bar shows of what is logged: its label there, and its format.
_SHOWN = {"train/return": ("ret", "{:.1f}"), "train/loss": ("loss", "{:.4f}")}


@dataclass(frozen=True)
class EvaluatedResult:
    """Result of a finished run.

    Attributes:
        run: the run folder.
        checkpoint: the best checkpoint.
        steps: number of environment steps.
        best_step: environment steps of the best checkpoint.
        evaluation: metrics of the best checkpoint in the selection episodes, an optimistic estimate.
    """

    run: Path
    checkpoint: Path
    steps: int
    best_step: int
    evaluation: dict[str, float]


@dataclass
class EvaluatedProgress(Progress):
    """Progress of such a run; steps are environment steps.

    Attributes:
        next_evaluation: step from which the next evaluation is due.
        best_evaluation: metrics of the best checkpoint.
        trained_s: training time, without evaluations [s].
    """

    next_evaluation: int = 0
    trained_s: float = 0.0
    best_evaluation: dict[str, float] = field(default_factory=dict)


P = TypeVar("P", bound=EvaluatedProgress)


class EvaluatedRun(TrainingRun[P]):
    """Training run of what acts.

    Args:
        config: configuration, as for :class:`TrainingRun`, with ``evaluate_every``.
        progress: progress of a new run.
        evaluate: evaluates a policy as deployed, without exploration.
    """

    def __init__(self, config: Any, progress: P, evaluate: Evaluate) -> None:
        progress.next_evaluation = config.evaluate_every
        super().__init__(config, progress)
        self._evaluate = evaluate
        self._found: dict[str, float] = {}
        self._shown: dict[str, str] = {}

    def run(self, show_progress: bool = True) -> EvaluatedResult:
        """Train for the configured steps; see :meth:`TrainingRun.train`."""
        self.train(show_progress)
        progress = self.progress
        return EvaluatedResult(
            self.folder, self.best_checkpoint, progress.step, progress.best_step, progress.best_evaluation
        )

    # ------------------------------------------------------------------ defined by each kind of run

    @abstractmethod
    def iterate(self) -> dict[str, float]:
        """Act and learn for a while, and count the steps; returns what is logged."""

    @abstractmethod
    def policy(self) -> SkillPolicy:
        """Return what has been learnt so far, as it is evaluated."""

    @abstractmethod
    def contents(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return weights and document of what has been learnt so far."""

    # ------------------------------------------------------------------ of every run

    def advance(self, log: MetricsLogger, bar: tqdm) -> None:
        """Train until an evaluation is due, and evaluate."""
        progress, config = self.progress, self._run_config
        while True:
            row = self._timed_iteration()
            bar.update(progress.step - bar.n)
            # While no episode ends, the last return remains.
            self._shown |= {label: text.format(row[name]) for name, (label, text) in _SHOWN.items() if name in row}
            bar.set_postfix(self._shown, refresh=False)
            log.log(progress.step, row)
            if progress.step >= min(progress.next_evaluation, config.steps):
                break
        progress.next_evaluation = progress.step + config.evaluate_every
        self._found = self._evaluate(self.policy())
        log.log(progress.step, {f"evaluation/{name}": value for name, value in self._found.items()})
        # Where all selection episodes succeed, later checkpoints still improve in others.
        if self._found["return"] >= progress.best_evaluation.get("return", -math.inf):
            progress.best_step, progress.best_evaluation = progress.step, self._found

    def _timed_iteration(self) -> dict[str, float]:
        progress, before, started_s = self.progress, self.progress.step, time.perf_counter()
        row = self.iterate()
        duration_s = time.perf_counter() - started_s
        progress.trained_s += duration_s
        speed = (progress.step - before) / duration_s
        return row | {"train/steps_per_s": speed, "train/trained_s": progress.trained_s}

    def checkpoint(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what has been learnt, with its evaluation."""
        weights, document = self.contents()
        return weights, {**document, "evaluation": self._found}

    def plot(self) -> None:
        """Plot the learning curve."""
        plot_returns(self.folder / run_folder.PLOTS_FOLDER / run_folder.RETURNS_PLOT, read_metrics(self.folder))

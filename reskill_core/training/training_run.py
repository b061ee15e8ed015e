"""Base class of training runs of skills, agents and others.

A run proceeds from checkpoint to checkpoint. A killed run resumes from its last checkpoint, bit-equal to an
uninterrupted run (with one math thread), provided that settings and ingredients are the same.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from tqdm import tqdm

from reskill_core.checkpoint import Arrays, Checkpoint, load_training_state, prune_checkpoints, save_checkpoint
from reskill_core.config import config_from_dict, config_to_dict, save_config
from reskill_core.errors import CheckpointError, ConfigError
from reskill_core.lineage import LINEAGE_KEY, Lineage, differences
from reskill_core.progress import progress_bar
from reskill_core.provenance import provenance
from reskill_core.seeding import SEEDING
from reskill_core.training import run_folder
from reskill_core.training.metrics import MetricsLogger

_TRAINING_KEY = "training"
_LOG = logging.getLogger(__name__)


@dataclass
class Progress:
    """Progress of a run; each kind of run adds its own fields.

    Attributes:
        step: number of finished steps.
        best_step: step of the best checkpoint.
    """

    step: int = 0
    best_step: int = 0


P = TypeVar("P", bound=Progress)


class TrainingRun(ABC, Generic[P]):
    """Training run in a folder.

    In distributed training each process creates the same run with its own rank. All of them resume and train; rank 0
    holds the lock and writes.

    Args:
        config: configuration; a dataclass with ``out``, the run folder, ``steps`` and ``keep_checkpoints``.
        progress: progress of a new run.
        rank: rank of this process in distributed training.

    Attributes:
        KIND: kind of its checkpoints.
        PLACES: fields of the configuration with paths and names, which may change when a run is resumed.
        progress: current progress.
    """

    KIND: ClassVar[str]
    PLACES: ClassVar[Sequence[str]]

    def __init__(self, config: Any, progress: P, rank: int = 0) -> None:
        self.folder, self.progress, self._rank = Path(config.out), progress, rank
        self._run_config = config

    # ------------------------------------------------------------------ defined by each kind of run

    @property
    @abstractmethod
    def label(self) -> str:
        """Label of the progress bar."""

    @property
    @abstractmethod
    def lineage(self) -> Lineage:
        """Ingredients of the run."""

    @property
    def finished(self) -> bool:
        """Whether the training is finished."""
        return bool(self.progress.step >= self._run_config.steps)

    def begin(self) -> None:
        """Prepare a new run before its first step; not called for a resumed run."""

    @abstractmethod
    def advance(self, log: MetricsLogger, bar: tqdm) -> None:
        """Train until the next checkpoint is due, and update the best step."""

    @abstractmethod
    def checkpoint(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return weights and document of a checkpoint, without :meth:`settings` and lineage."""

    def episodes(self) -> Arrays | None:
        """Return the identifiers of training and validation episodes, for the checkpoint."""
        return None

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state that the next step depends on, in addition to weights and progress."""

    @abstractmethod
    def restore(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Restore weights and state of a checkpoint."""

    @abstractmethod
    def plot(self) -> None:
        """Write the plots of a finished run."""

    # ------------------------------------------------------------------ shared by all runs

    def train(self, show_progress: bool = True) -> None:
        """Train until the run is finished, from the last checkpoint of its folder if there is one.

        Raises:
            TrainingError: a loss is not finite; the last good checkpoint remains.
            CheckpointError: the folder holds a run with other settings or ingredients, or a damaged checkpoint, or
                another process trains in it.
        """
        with run_folder.locked(self.folder) if self._writes else nullcontext():
            self._resume()
            if self.progress.step == 0:
                self.begin()
            if self._writes:
                save_config(self._run_config, self.folder / run_folder.CONFIG_FILE)
            bar = progress_bar(
                shown=show_progress and self._writes,
                total=self._run_config.steps,
                initial=self.progress.step,
                desc=self.label,
                unit="step",
                # Scaled, ten steps would be 10.0.
                unit_scale=self._run_config.steps >= 1000,
            )
            with bar, MetricsLogger(self.folder, self.progress.step, self._writes) as log:
                while not self.finished:
                    self.advance(log, bar)
                    self._save()
            if self._writes:
                self.plot()

    def settings(self) -> dict[str, Any]:
        """Return the settings that must not change when the run is resumed, for its checkpoints."""
        return {_TRAINING_KEY: {**self._identity(self._run_config), "seeding": SEEDING}}

    @property
    def best_checkpoint(self) -> Path:
        """Best checkpoint so far."""
        return run_folder.best_checkpoint(self.folder)

    @property
    def _writes(self) -> bool:
        return self._rank == 0

    def _identity(self, config: Any) -> dict[str, Any]:
        return {key: value for key, value in config_to_dict(config).items() if key not in self.PLACES}

    def _save(self) -> None:
        if not self._writes:
            return
        weights, document = self.checkpoint()
        document = {**document, **self.settings(), LINEAGE_KEY: self.lineage.to_document()}
        state = {"progress": asdict(self.progress), **self.state()}
        folder = run_folder.checkpoint_folder(self.folder, self.progress.step)
        save_checkpoint(folder, self.KIND, weights, document, state, self.episodes())
        run_folder.link_checkpoints(self.folder, last=self.progress.step, best=self.progress.best_step)
        prune_checkpoints(folder.parent, self._run_config.keep_checkpoints)

    def _resume(self) -> None:
        kept = run_folder.last_checkpoint(self.folder, self.KIND)
        if kept is not None:
            self._require_same_run(kept)
            state = load_training_state(kept.folder)
            self.restore(kept.weights, state)
            self.progress = type(self.progress)(**state["progress"])
        if self._writes:
            if kept is not None:
                run_folder.link_checkpoints(self.folder, last=self.progress.step, best=self.progress.best_step)
            run_folder.discard_after(self.folder, self.progress.step)

    def _require_same_run(self, kept: Checkpoint) -> None:
        """Refuse to resume a different run.

        Settings that an older checkpoint does not record cannot be compared, and other library versions may round
        differently: both give a warning.

        Raises:
            CheckpointError: the checkpoint has other settings or ingredients; lists every difference.
        """
        made_from = Lineage.of(kept.document)
        faults = differences(_TRAINING_KEY, self._kept_settings(kept), self.settings()[_TRAINING_KEY])
        if faults := [*faults, *made_from.differences(self.lineage)]:
            raise CheckpointError(
                f"{self.folder} holds a run with other settings or ingredients (run != now):\n"
                + "\n".join(f"  - {fault}" for fault in faults)
                + "\nrestore them to continue it, or choose another out= folder"
            )
        if unknown := made_from.unknown(self.lineage):
            _LOG.warning("%s does not say its %s; taken to be as now", kept.folder, ", ".join(unknown))
        origins = kept.document.get("provenance", {}), provenance()
        if others := differences("", *(_computing(origin) for origin in origins)):
            _LOG.warning("%s continues with other versions, not to the same bits: %s", self.folder, "; ".join(others))

    def _kept_settings(self, kept: Checkpoint) -> Any:
        """Settings of a checkpoint, with defaults for settings that it does not record."""
        settings = kept.document.get(_TRAINING_KEY)
        if not isinstance(settings, Mapping):
            return settings
        now = config_to_dict(self._run_config)
        said = {key: value for key, value in settings.items() if key in now and key not in self.PLACES}
        try:
            complete = config_from_dict(type(self._run_config), {**{key: now[key] for key in self.PLACES}, **said})
        except ConfigError:
            return settings
        return {**settings, **self._identity(complete)}


def _computing(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Versions of the libraries that affect training results; the simulator is part of the lineage."""
    packages = origin.get("packages", {})
    return {name: packages.get(name) for name in ("numpy", "torch")}

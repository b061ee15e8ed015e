"""The skeleton of a training run: what training skills, agents and whatever else comes have in common.

A run goes from checkpoint to checkpoint. From the last one a run that was killed continues to the same bits as if it
had not been (with one math thread), as long as it is the same run: the same settings, made from the same ingredients.
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
    """Where a run stands; every kind of run adds what else it has to remember.

    Attributes:
        step: steps that are over.
        best_step: step of the best checkpoint.
    """

    step: int = 0
    best_step: int = 0


P = TypeVar("P", bound=Progress)


class TrainingRun(ABC, Generic[P]):
    """One training run in a folder.

    Where several processes train together, each makes the same run with a rank of its own. All of them resume and
    learn; the one of rank 0 holds the lock and writes.

    Args:
        config: what to train; a dataclass with ``out``, the run folder, ``steps`` and ``keep_checkpoints``.
        progress: of a run that has just begun.
        rank: of this process among those that train together.

    Attributes:
        KIND: kind of its checkpoints.
        PLACES: fields of the configuration that say where a run lives and what it is called, not what it is.
        progress: where it stands.
    """

    KIND: ClassVar[str]
    PLACES: ClassVar[Sequence[str]]

    def __init__(self, config: Any, progress: P, rank: int = 0) -> None:
        self.folder, self.progress, self._rank = Path(config.out), progress, rank
        self._run_config = config

    # ------------------------------------------------------------------ what each kind of run brings

    @property
    @abstractmethod
    def label(self) -> str:
        """What is trained, beside the progress bar."""

    @property
    @abstractmethod
    def lineage(self) -> Lineage:
        """What it is made from."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return bool(self.progress.step >= self._run_config.steps)

    def begin(self) -> None:
        """What comes before the first step; not done again by a run that continues."""

    @abstractmethod
    def advance(self, log: MetricsLogger, bar: tqdm) -> None:
        """Train until the next checkpoint is due, and keep the best step up to date."""

    @abstractmethod
    def checkpoint(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Weights and document of a checkpoint as of now, without what :meth:`settings` and lineage say."""

    def episodes(self) -> Arrays | None:
        """Marks of the episodes it is made from, for the checkpoint."""
        return None

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the next step depends on, besides weights and progress."""

    @abstractmethod
    def restore(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Continue from weights and state of a checkpoint."""

    @abstractmethod
    def plot(self) -> None:
        """Leave pictures of a run that is over."""

    # ------------------------------------------------------------------ what they have in common

    def train(self, show_progress: bool = True) -> None:
        """Train until it is finished, from the last checkpoint of its folder if there is one.

        Raises:
            TrainingError: what it computes is not finite; the last good checkpoint remains.
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
                unit_scale=True,
            )
            with bar, MetricsLogger(self.folder, self.progress.step, self._writes) as log:
                while not self.finished:
                    self.advance(log, bar)
                    self._save()
            if self._writes:
                self.plot()

    def settings(self) -> dict[str, Any]:
        """What stays the same for as long as a run is this run, as its checkpoints say it."""
        return {_TRAINING_KEY: {**self._identity(self._run_config), "seeding": SEEDING}}

    @property
    def best_checkpoint(self) -> Path:
        """The best checkpoint so far."""
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
        """Refuse to continue another run.

        What an older checkpoint does not say cannot be compared, and other library versions may round otherwise: both
        are said in a warning.

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
        """Settings of a run as its checkpoint says them; what was unknown at the time by default."""
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
    """Versions, in a provenance, of what computes in training; the simulator is in the lineage."""
    packages = origin.get("packages", {})
    return {name: packages.get(name) for name in ("numpy", "torch")}

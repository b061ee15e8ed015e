"""Training of a skill module on a data set.

1. A window is H consecutive steps of one episode; every window of every training episode is used once per epoch.
2. Validation uses a fixed set of windows and fixed posterior noise: validations differ only by the model.
3. Every validation is followed by a checkpoint. ``best`` has the lowest ``validation/loss``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor
from tqdm import tqdm

from reskill_core.checkpoint import Arrays
from reskill_core.data import DemoDataset, EpochOrder, WindowSampler, WindowStream
from reskill_core.errors import TrainingError
from reskill_core.files import atomic_write_bytes, atomic_write_json
from reskill_core.lineage import Lineage
from reskill_core.models.io import load_state_arrays, module_contents
from reskill_core.models.observations import Inputs, as_tensors, taken
from reskill_core.models.registry import skill_model_kind
from reskill_core.models.skill_document import model_weights
from reskill_core.models.skill_model import SkillModel
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.seeding import run_integer
from reskill_core.training import run_folder
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.training.displacement import Displacement
from reskill_core.training.metrics import MetricsLogger, Throughput, averaged, read_metrics
from reskill_core.training.plots import plot_actions, plot_losses
from reskill_core.training.skill_learner import NotFiniteError, SkillLearner, chosen_device, learning_rate_factor
from reskill_core.training.split import (
    DATA_KEY,
    data_facts,
    data_lineage,
    episode_marks,
    require_demonstrations,
    training_split,
)
from reskill_core.training.training_run import Progress, TrainingRun

_PLOTTED_WINDOWS = 6


@dataclass(frozen=True)
class TrainingResult:
    """Result of a finished run.

    Attributes:
        run: the run folder.
        checkpoint: the best checkpoint.
        steps: number of training steps.
        best_step: step of the best checkpoint.
        validation: validation metrics of the best checkpoint.
    """

    run: Path
    checkpoint: Path
    steps: int
    best_step: int
    validation: dict[str, float]


@dataclass
class SkillProgress(Progress):
    """Progress of a skill training run.

    Attributes:
        best_validation: validation metrics of the best checkpoint.
        stale_validations: number of validations since then.
    """

    best_validation: dict[str, float] = field(default_factory=dict)
    stale_validations: int = 0


def train_skills(config: SkillTrainingConfig, show_progress: bool = True) -> TrainingResult:
    """Train a skill module, or resume an interrupted run in the same folder.

    Args:
        config: configuration of the run.
        show_progress: whether to draw a progress bar on stderr.

    Raises:
        DataError: the data set is missing, damaged or has no windows.
        ConfigError: the model does not fit the data set's task, or there is no GPU where one is asked for.
        CheckpointError: the run folder holds a run with other settings or data, or a damaged checkpoint, or another
            process trains in it.
        TrainingError: the loss or its gradient is not finite; the batch is saved.
    """
    torch.set_num_threads(config.threads)
    return SkillTrainer(config).run(show_progress)


class SkillTrainer(TrainingRun[SkillProgress]):
    """Training run of a skill module; see :func:`train_skills`."""

    KIND = SKILL_MODULE_KIND
    PLACES = ("data", "out", "device")
    label = "train-skills"

    def __init__(self, config: SkillTrainingConfig) -> None:
        super().__init__(config, SkillProgress())
        self.config = config
        self._dataset = DemoDataset.open(config.data, on_bad_shard=config.on_bad_shard)
        require_demonstrations(self._dataset)
        self._task = self._dataset.spec.task
        train_ids, validation_ids = training_split(self._dataset, config.validation_fraction, config.seed)
        self._lineage = data_lineage(self._dataset, train_ids, validation_ids)
        self._episodes = episode_marks(self._dataset, train_ids, validation_ids)
        in_train = np.isin(np.arange(self._dataset.num_episodes), train_ids)
        train_steps = np.repeat(in_train, self._dataset.episode_lengths)
        kind = skill_model_kind({"kind": config.model.kind})
        with torch.random.fork_rng():
            torch.manual_seed(run_integer(config.seed, "skill_weights"))
            model = kind.load_model().fitted(config.model, self._task, self._dataset.observation[train_steps])
        device = chosen_device(config.device)
        displacement = Displacement(config.displacement, self._task) if config.displacement.terms else None
        self.learner = SkillLearner(
            model, config.optimiser, config.beta, config.seed, config.target_kl, config.beta_rate, device, displacement
        )
        windows = (
            WindowSampler(self._dataset, ids, config.model.horizon, model.image_steps)
            for ids in (train_ids, validation_ids)
        )
        self._windows, validation = windows
        order = EpochOrder(self._windows.num_windows, config.seed)
        self._batches = WindowStream(self._windows, order, config.batch_size)
        self._validation = self._fixed_batch(validation)

    def run(self, show_progress: bool = True) -> TrainingResult:
        """Train for the configured steps or until validation stops improving; see :meth:`TrainingRun.train`."""
        self.train(show_progress)
        progress = self.progress
        return TrainingResult(
            self.folder, self.best_checkpoint, progress.step, progress.best_step, progress.best_validation
        )

    @property
    def lineage(self) -> Lineage:
        """Training and validation episodes."""
        return self._lineage

    def episodes(self) -> Arrays:
        """Return the identifiers of these episodes."""
        return self._episodes

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or validation has stopped improving."""
        return super().finished or 0 < self.config.patience <= self.progress.stale_validations

    def advance(self, log: MetricsLogger, bar: tqdm) -> None:
        """Train until a validation is due, and validate."""
        self._train_until_validation(log, bar)
        self._validate(log)

    def _train_until_validation(self, logger: MetricsLogger, bar: tqdm) -> None:
        config, progress = self.config, self.progress
        throughput, rows = Throughput(), []
        while True:
            rows.append(self.train_step(throughput))
            bar.update()
            due = progress.step % config.validate_every == 0 or progress.step == config.steps
            if due or progress.step % config.log_every == 0:
                row = averaged("train", rows) | throughput.metrics() | {"train/epoch": self._batches.epoch}
                logger.log(progress.step, row)
                bar.set_postfix(loss=f"{row['train/loss']:.3g}", refresh=False)
                throughput, rows = Throughput(), []
            if due:
                return

    def train_step(self, throughput: Throughput) -> dict[str, float]:
        """Train on a batch of windows; returns the metrics of the step.

        Raises:
            TrainingError: the loss or its gradient is not finite.
        """
        config = self.config
        rate = learning_rate_factor(config.optimiser, self.progress.step, config.steps)
        with throughput.step(config.batch_size):
            with throughput.data():
                observation, action = self._batches.next()
            terms = self._update(observation, action, rate)
        self.progress.step += 1
        return {**terms, "learning_rate_factor": rate}

    def _update(self, observation: Any, action: np.ndarray, rate: float) -> dict[str, float]:
        try:
            return self.learner.update(observation, action, rate)
        except NotFiniteError as error:
            folder = self.folder / run_folder.NOT_FINITE_FOLDER
            parts = observation if isinstance(observation, Mapping) else {"observation": observation}
            batch = {**parts, "action": action, "noise": error.noise}
            atomic_write_bytes(folder / "batch.safetensors", save(batch))
            report = {"step": self.progress.step, "terms": {name: repr(v) for name, v in error.terms.items()}}
            atomic_write_json(folder / "report.json", report)
            raise TrainingError(
                f"step {self.progress.step}: {error}. The batch is in {folder}, the last good checkpoint remains. "
                "Look for extreme values in the data (reskill data validate), or lower optimiser.learning_rate "
                f"(now {self.config.optimiser.learning_rate})"
            ) from error

    def _fixed_batch(self, windows: WindowSampler) -> tuple[Inputs, Tensor, Tensor]:
        count = min(self.config.validation_windows, windows.num_windows)
        indices = np.linspace(0, windows.num_windows - 1, count).astype(np.int64)
        observation, action = windows.gather(indices)
        noise_rng = torch.Generator().manual_seed(run_integer(self.config.seed, "validation_noise"))
        noise = torch.randn(count, self.learner.model.config.latent_dim, generator=noise_rng)
        return as_tensors(observation), torch.from_numpy(action), noise

    def _validate(self, logger: MetricsLogger) -> None:
        progress = self.progress
        row = averaged("validation", [self.learner.validate(*self._validation)])
        logger.log(progress.step, row)
        if row["validation/loss"] < progress.best_validation.get("validation/loss", math.inf):
            progress.best_step, progress.best_validation, progress.stale_validations = progress.step, row, 0
        else:
            progress.stale_validations += 1

    def plot(self) -> None:
        """Plot the losses of the run, and demonstrated and reconstructed actions."""
        plots = self.folder / run_folder.PLOTS_FOLDER
        plot_losses(plots / run_folder.LOSSES_PLOT, read_metrics(self.folder))
        observation, action, _ = self._validation
        indices = np.linspace(0, len(action) - 1, _PLOTTED_WINDOWS).astype(np.int64)
        observation, action = taken(observation, indices), action[indices]
        model = self.model_on_cpu().eval()
        with torch.no_grad():
            features, _ = model.window_features(observation)
            decoded = model.decoder.window(features, model.posterior_of(features, action).mean)
        names = self._task.action.names
        plot_actions(plots / "actions.png", names, action.numpy(), decoded.numpy())

    def checkpoint(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the model, and a description of its data."""
        weights, document = module_contents(self.model_on_cpu(), self._task)
        facts = data_facts(self._dataset, self.config.validation_fraction, self.config.seed)
        return weights, {**document, DATA_KEY: facts, "validation": self.progress.best_validation}

    def model_on_cpu(self) -> SkillModel:
        """Return the model, or a copy of it where it is on a GPU: checkpoints and graphs are made on the CPU."""
        model = self.learner.model
        return model if next(model.parameters()).device.type == "cpu" else copy.deepcopy(model).cpu()

    def state(self) -> dict[str, Any]:
        """Return the state of the window order and of the learner."""
        return {"order": self._batches.state(), **self.learner.state()}

    def restore(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Restore saved :meth:`checkpoint` and :meth:`state`."""
        load_state_arrays(self.learner.model, model_weights(weights))
        self.learner.restore(state)
        order = EpochOrder.from_state(state["order"], self._windows.num_windows)
        self._batches = WindowStream(self._windows, order, self.config.batch_size)

"""Training of a two-level agent into a run folder.

1. The agent acts for some control steps in every environment, then both levels learn from what they did.
2. The residual's weight follows its schedule; below a small weight it is not trained.
3. A checkpoint follows every evaluation. ``best`` has the highest evaluated return, over episodes that choose and are
   not those of reported evaluations (:mod:`reskill_core.seeding`); from ``last`` a run that was killed continues to the
   same bits as if it had not been (with one math thread).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint, load_training_state, prune_checkpoints, save_checkpoint
from reskill_core.config import config_to_dict, save_config
from reskill_core.data import DemoDataset
from reskill_core.environment import RestorableVectorEnv
from reskill_core.errors import DataError, TrainingError
from reskill_core.files import atomic_write_json
from reskill_core.lineage import LINEAGE_KEY, Lineage
from reskill_core.progress import progress_bar
from reskill_core.provenance import simulator_version
from reskill_core.rl.algorithm import ALGORITHMS, Algorithm
from reskill_core.rl.collector import Collected, Collector
from reskill_core.rl.config import AgentTrainingConfig, AlgorithmConfig
from reskill_core.runtime.agent import (
    AGENT_KEY,
    AGENT_KIND,
    HIGH_LEVEL,
    LOW_LEVEL,
    SKILLS,
    SKILLS_KEY,
    WEIGHT_KEY,
    agent_policy,
)
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import SkillPolicy, residual_dim, residual_input
from reskill_core.seeding import SEEDING
from reskill_core.spec import TaskSpec
from reskill_core.training import run_folder
from reskill_core.training.metrics import MetricsLogger, read_metrics
from reskill_core.training.plots import plot_returns
from reskill_core.training.split import require_demonstrations

_TRAINING_KEY = "training"
# Fields of the configuration that say where a run lives and what it is called, not what it is.
_PLACES = ("skills", "demonstrations", "out", "variant", "threads")

# From a policy to how well it does: values by name, ``return`` among them, higher is better.
Evaluate = Callable[[SkillPolicy], dict[str, float]]


@dataclass(frozen=True)
class AgentTrainingResult:
    """What a finished run left.

    Attributes:
        run: its folder.
        checkpoint: its best checkpoint.
        steps: environment steps trained.
        best_step: environment steps of the best checkpoint.
        evaluation: of the best checkpoint, over the episodes that chose it: better than what it is worth.
    """

    run: Path
    checkpoint: Path
    steps: int
    best_step: int
    evaluation: dict[str, float]


@dataclass
class _Progress:
    """Where a run stands; steps are environment steps."""

    step: int = 0
    next_evaluation: int = 0
    best_step: int = 0
    best_evaluation: dict[str, float] = field(default_factory=dict)
    trained_s: float = 0.0


class AgentTrainer:
    """One training run.

    Args:
        config: what to train, where to.
        environments: where the agent acts, in groups.
        task: its task.
        module: the skills, with ``batch_invariant`` off.
        evaluate: judges the agent as it is executed later, without exploration.
        variation: how the world of the environments varies, complete.

    Raises:
        CheckpointError: the skills do not fit the task.
        DataError: it imitates demonstrations, and they cannot be read or do not fit the task.
    """

    def __init__(
        self,
        config: AgentTrainingConfig,
        environments: Sequence[RestorableVectorEnv],
        task: TaskSpec,
        module: SkillModule,
        evaluate: Evaluate,
        variation: Mapping[str, Any] | None = None,
    ) -> None:
        module.checkpoint.require_task(task, interface_only=True)
        self.config, self.folder = config, Path(config.out)
        self._task, self._module, self._evaluate = task, module, evaluate
        agent = config.agent
        features = module.features(task.obs.zeros(1)).shape[-1]
        self._high: Algorithm | None = None
        self._low: Algorithm | None = None
        if agent.skills:
            self._high = self._learner("high_level", agent.high_level, features, features, module.latent_dim)
        if agent.residual:
            inputs = residual_dim(module, features)
            self._low = self._learner("low_level", agent.low_level, inputs, features, task.action.dim)
        self._collector = Collector(
            environments, module, task, agent, self._high, self._low, config.seed, config.threads
        )
        self._progress = _Progress(next_evaluation=config.evaluate_every)
        self._demonstrations = self._demonstrations_for(task) if config.imitation_updates else None
        self._lineage = Lineage(
            data=self._demonstrations.content_hash() if self._demonstrations else None,
            skills=module.checkpoint.sha256,
            task=task.name,
            profile=config.profile,
            variation=variation,
            simulator=simulator_version(),
        )

    def _learner(self, level: str, config: AlgorithmConfig, inputs: int, features: int, decisions: int) -> Algorithm:
        learner: Algorithm = ALGORITHMS.get(config.algorithm)(
            inputs=inputs, features=features, decisions=decisions, config=config, seed=self.config.seed, level=level
        )
        return learner

    def run(self, show_progress: bool = True) -> AgentTrainingResult:
        """Train until the steps are spent.

        Raises:
            TrainingError: a loss is not finite; the last good checkpoint remains.
            CheckpointError: the run folder holds a run with other settings or ingredients, or a damaged checkpoint, or
                another process trains in it.
        """
        with run_folder.locked(self.folder):
            self._resume()
            if self._progress.step == 0 and self._demonstrations is not None:
                self._imitate(self._demonstrations)
            self._demonstrations = None
            self._train(show_progress)
        progress, best = self._progress, run_folder.best_checkpoint(self.folder)
        return AgentTrainingResult(self.folder, best, progress.step, progress.best_step, progress.best_evaluation)

    def _train(self, show_progress: bool) -> None:
        progress, config = self._progress, self.config
        save_config(config, self.folder / run_folder.CONFIG_FILE)
        bar = progress_bar(
            shown=show_progress,
            total=config.steps,
            initial=progress.step,
            desc=f"train-agent {config.task}",
            unit="step",
            unit_scale=True,
        )
        with bar, MetricsLogger(self.folder, progress.step) as logger:
            while progress.step < config.steps:
                row = self._iterate()
                bar.update(progress.step - bar.n)
                bar.set_postfix(ret=f"{row.get('train/return', math.nan):.1f}", refresh=False)
                logger.log(progress.step, row)
                if progress.step >= min(progress.next_evaluation, config.steps):
                    self._judge(logger)
        plot_returns(self.folder / run_folder.PLOTS_FOLDER / run_folder.RETURNS_PLOT, read_metrics(self.folder))

    def _demonstrations_for(self, task: TaskSpec) -> DemoDataset:
        dataset = DemoDataset.open(self.config.demonstrations)
        require_demonstrations(dataset)
        if faults := dataset.spec.task.interface_differences(task):
            raise DataError(f"{dataset.folder} has other observations or actions than the task: {'; '.join(faults)}")
        return dataset

    def _imitate(self, dataset: DemoDataset) -> None:
        """Let the low level, which acts alone, start from the demonstrations."""
        assert self._low is not None
        features = self._module.features(dataset.observation)
        nothing = np.zeros((len(features), self._module.latent_dim + self._task.action.dim), np.float32)
        latents, decoded = np.split(nothing, [self._module.latent_dim], axis=1)
        inputs = residual_input(features, latents, decoded, np.zeros(len(features), np.float32), 1.0)
        self._low.imitate(inputs, dataset.action, self.config.imitation_updates)

    def _iterate(self) -> dict[str, float]:
        config, progress = self.config, self._progress
        started_s = time.perf_counter()
        weight = config.agent.residual_weight(progress.step)
        collected = self._collector.collect(config.rollout_steps, weight)
        acted_s = time.perf_counter()
        row = self._learn(collected)
        progress.step += config.rollout_steps * config.num_envs
        duration_s = time.perf_counter() - started_s
        progress.trained_s += duration_s
        episodes = collected.episodes
        if episodes.returns:
            row["train/return"] = float(np.mean(episodes.returns))
            row["train/success"] = float(np.mean(episodes.successes))
        return row | {
            "train/diverged": float(episodes.diverged),
            "train/residual_weight": weight,
            "train/steps_per_s": config.rollout_steps * config.num_envs / duration_s,
            "train/learning_share": 1 - (acted_s - started_s) / duration_s,
            "train/trained_s": progress.trained_s,
        }

    def _learn(self, collected: Collected) -> dict[str, float]:
        row: dict[str, float] = {}
        try:
            for prefix, level, transitions in (
                (HIGH_LEVEL, self._high, collected.high_level),
                (LOW_LEVEL, self._low, collected.low_level),
            ):
                if level is not None and transitions is not None:
                    level.observe(transitions)
                    learnt = level.update(self._progress.step / self.config.steps)
                    row |= {f"{prefix.rstrip('.')}/{name}": value for name, value in learnt.items()}
        except TrainingError as error:
            folder = self.folder / run_folder.NOT_FINITE_FOLDER
            atomic_write_json(folder / "report.json", {"step": self._progress.step, "error": str(error)})
            raise TrainingError(
                f"step {self._progress.step}: {error}. The last good checkpoint remains in {self.folder}; lower the "
                "learning_rate of the level"
            ) from error
        return row

    def _judge(self, logger: MetricsLogger) -> None:
        progress = self._progress
        progress.next_evaluation = progress.step + self.config.evaluate_every
        weights, document = self._agent()
        found = self._evaluate(agent_policy(Checkpoint(weights, document, self.folder)))
        logger.log(progress.step, {f"evaluation/{name}": value for name, value in found.items()})
        if found["return"] > progress.best_evaluation.get("return", -math.inf):
            progress.best_step, progress.best_evaluation = progress.step, found
        state = {"progress": asdict(progress), **self._collector.state()}
        for prefix, level in self._levels():
            state |= {f"{prefix}{name}": value for name, value in level.state().items()}
        folder = run_folder.checkpoint_folder(self.folder, progress.step)
        save_checkpoint(folder, AGENT_KIND, weights, {**document, "evaluation": found}, state)
        run_folder.link_checkpoints(self.folder, last=progress.step, best=progress.best_step)
        prune_checkpoints(folder.parent, self.config.keep_checkpoints)

    def _agent(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Weights and document of a checkpoint of the agent as it is now."""
        config, progress, skills = self.config, self._progress, self._module.checkpoint
        document = {
            "task": self._task.to_dict(),
            AGENT_KEY: config_to_dict(config.agent),
            SKILLS_KEY: skills.document,
            WEIGHT_KEY: config.agent.residual_weight(progress.step),
            **self._settings(),
            LINEAGE_KEY: self._lineage.to_document(),
        }
        weights = {f"{SKILLS}{name}": array for name, array in self._module.acting_weights.items()}
        for prefix, level in self._levels():
            weights |= {f"{prefix}{name}": array for name, array in level.weights().items()}
        return weights, document

    def _resume(self) -> None:
        checkpoint = run_folder.last_checkpoint(self.folder, AGENT_KIND, self._settings(), self._lineage)
        if checkpoint is not None:
            state = load_training_state(checkpoint.folder)
            for prefix, level in self._levels():
                level.restore(_below(prefix, checkpoint.weights), _below(prefix, state))
            self._collector.restore(state)
            self._progress = _Progress(**state["progress"])
            run_folder.link_checkpoints(self.folder, last=self._progress.step, best=self._progress.best_step)
        run_folder.discard_after(self.folder, self._progress.step)

    def _levels(self) -> list[tuple[str, Algorithm]]:
        levels = ((HIGH_LEVEL, self._high), (LOW_LEVEL, self._low))
        return [(prefix, level) for prefix, level in levels if level is not None]

    def _settings(self) -> dict[str, Any]:
        """What stays the same for as long as a run is this run, wherever it and its skills are kept."""
        settings = {key: value for key, value in config_to_dict(self.config).items() if key not in _PLACES}
        return {_TRAINING_KEY: {**settings, "seeding": SEEDING}}


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

"""Training of an agent.

1. In an iteration the agent acts for some control steps in every environment, then its levels are updated.
2. The residual's weight follows its schedule; below a small weight it is not trained. With a curriculum, the variation
   follows one, too: an episode has the strength of the step at which the iteration that it starts in begins.
3. If all levels learn off-policy, simulation and updates run at the same time, each on its own core: an iteration acts
   by the policy at its beginning, and its data is learnt from in the next one. The result does not depend on timing.
4. Every evaluation is followed by a checkpoint. ``best`` has the highest return in the selection episodes, which are
   not those of reported evaluations (:mod:`reskill_core.seeding`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, Float64Array
from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_to_dict
from reskill_core.data import DemoDataset
from reskill_core.environment import RestorableVectorEnv, variation_strengths
from reskill_core.errors import CheckpointError, ConfigError, DataError, TrainingError
from reskill_core.files import atomic_write_json
from reskill_core.lineage import LINEAGE_KEY, Lineage
from reskill_core.models.features import FeatureMap
from reskill_core.provenance import simulator_version
from reskill_core.rl.actor import Actor, Decision
from reskill_core.rl.algorithm import Algorithm
from reskill_core.rl.collector import Collected, Collector
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.rl.random_observations import random_observations
from reskill_core.runtime.agent import (
    AGENT_KEY,
    AGENT_KIND,
    ESTIMATOR,
    ESTIMATOR_KEY,
    FEATURES_KEY,
    HIGH_LEVEL,
    LOW_LEVEL,
    SKILLS,
    SKILLS_KEY,
    WEIGHT_KEY,
    agent_policy,
    below,
    estimator_weights,
    module_of,
)
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import SkillPolicy, residual_input
from reskill_core.spec import TaskSpec
from reskill_core.training import run_folder
from reskill_core.training.evaluated_run import Evaluate, EvaluatedProgress, EvaluatedRun
from reskill_core.training.levels import make_levels, set_strengths
from reskill_core.training.split import require_demonstrations

# Entry of an iteration's metrics that is not logged: the time of its updates [s].
_LEARNING_S = "learning_s"


class ActingCopy:
    """Actor of a level as it was at a certain time, while the level goes on learning.

    Args:
        level: algorithm of the level.
    """

    def __init__(self, level: Algorithm) -> None:
        self._level, self._actor = level, level.actor()

    def renew(self) -> None:
        """Copy the actor as it is now."""
        self._actor = self._level.actor()

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """See :class:`~reskill_core.rl.actor.Actor`."""
        return self._actor.act(inputs, draws)


class AgentTrainer(EvaluatedRun[EvaluatedProgress]):
    """Training run of an agent.

    Args:
        config: configuration of the run.
        environments: groups of environments to train in.
        task: its task.
        module: the skills, with ``batch_invariant`` off; None without skills, or with those of ``initial``.
        evaluate: evaluates the agent as deployed, without exploration.
        variation: randomisation of the environments, all fields.
        initial: agent to begin with: its skills, its weights, and its state estimator, which does not change.
        estimator: agent whose state estimator a new agent acts behind, and which does not change.

    Raises:
        CheckpointError: skills, initial agent or estimator do not fit the task, or there is no estimator.
        ConfigError: environments or algorithms do not support a curriculum or privileged critics.
        DataError: demonstrations for imitation cannot be read or do not fit the task.
    """

    KIND = AGENT_KIND
    PLACES = ("skills", "initial", "estimator", "demonstrations", "out", "variant", "threads")

    def __init__(
        self,
        config: AgentTrainingConfig,
        environments: Sequence[RestorableVectorEnv],
        task: TaskSpec,
        module: SkillModule | None,
        evaluate: Evaluate,
        variation: Mapping[str, Any] | None = None,
        initial: Checkpoint | None = None,
        estimator: Checkpoint | None = None,
    ) -> None:
        super().__init__(config, EvaluatedProgress(), evaluate)
        for checkpoint in (module.checkpoint if module else None, estimator):
            if checkpoint is not None:
                checkpoint.require_task(task, interface_only=True)
        if estimator is not None and ESTIMATOR_KEY not in estimator.document:
            raise CheckpointError(
                f"estimator: {estimator.folder} has none; reskill train-estimator adds one to an agent"
            )
        self.config, self._task, self._initial = config, task, initial
        self._demonstrations = self._demonstrations_for(task) if config.imitation_updates else None
        self._module = self._begun_with(module, environments[0])
        # The agent whose estimator it acts behind.
        self._estimating = estimator or initial
        self._lineage = Lineage(
            data=self._demonstrations.content_hash() if self._demonstrations else None,
            skills=self._module.checkpoint.sha256 if isinstance(self._module, SkillModule) else None,
            agent=self._estimating.sha256 if self._estimating else None,
            task=task.name,
            profile=config.profile,
            variation=variation,
            settings=task.settings or None,
            simulator=simulator_version(),
        )
        self._estimator = estimator_weights(self._estimating) if self._estimating else None
        self._levels = make_levels(config, task, self._module, environments[0])
        if config.curriculum is not None or config.nominal_share:
            set_strengths(environments, self._strengths(0))
        off_policy = all(getattr(level, "OFF_POLICY", False) for level in self._levels.values())
        self._overlaps = config.overlap and off_policy
        self._acting = {prefix: ActingCopy(level) for prefix, level in self._levels.items() if self._overlaps}
        actors: Mapping[str, Actor] = self._acting or self._levels
        self._collector = Collector(
            environments,
            self._module,
            task,
            config.agent,
            actors.get(HIGH_LEVEL),
            actors.get(LOW_LEVEL),
            config.seed,
            # The updates take one.
            config.threads - self._overlaps,
            self._estimator,
        )

    # ------------------------------------------------------------------ of every run

    @property
    def label(self) -> str:
        """Label of the progress bar."""
        return f"train-agent {self.config.task}"

    @property
    def lineage(self) -> Lineage:
        """Demonstrations, skills, profile, variation and simulator."""
        return self._lineage

    def begin(self) -> None:
        """Take over the initial agent's weights, or train the low level by imitation, if configured."""
        if self._initial is not None:
            self._take_over(self._initial)
        dataset, self._demonstrations = self._demonstrations, None
        if dataset is None:
            return
        inputs = self._module.features(dataset.observation)
        if isinstance(self._module, SkillModule):
            rows, latent_dim = len(inputs), self._module.latent_dim
            latents, decoded = np.zeros((rows, latent_dim), np.float32), np.zeros(dataset.action.shape, np.float32)
            inputs = residual_input(inputs, latents, decoded, np.zeros(rows, np.float32), 1.0)
        self._levels[LOW_LEVEL].imitate(inputs, dataset.action, self.config.imitation_updates)

    def state(self) -> dict[str, Any]:
        """Return the state of environments and algorithms."""
        state = self._collector.state()
        for prefix, level in self._levels.items():
            state |= {f"{prefix}{name}": value for name, value in level.state().items()}
        return state

    def restore(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Restore saved :meth:`checkpoint` and :meth:`state`."""
        for prefix, level in self._levels.items():
            level.restore(below(prefix, weights), below(prefix, state))
        self._collector.restore(state)

    # ------------------------------------------------------------------ of an agent's

    def _begun_with(
        self, module: SkillModule | None, environments: RestorableVectorEnv
    ) -> SkillModule | ObservationFeatures:
        """The skills of the initial agent, or those given; without skills, the features of observations."""
        if self._initial is None:
            return module or self._features_of(environments)
        self._initial.require_task(self._task)
        return module_of(self._initial, self.config.agent, batch_invariant=False)

    def _take_over(self, initial: Checkpoint) -> None:
        for prefix, level in self._levels.items():
            if not getattr(level, "TAKES_OVER", False):
                name = prefix.rstrip(".")
                algorithm = getattr(self.config.agent, name).algorithm
                raise ConfigError(f"initial: {name} learns by {algorithm}, which cannot begin with another's weights")
            try:
                level.take_over(below(prefix, initial.weights))
            except CheckpointError as error:
                raise CheckpointError(f"initial: {initial.folder} has other networks: {prefix}{error}") from error

    def _features_of(self, environments: RestorableVectorEnv) -> ObservationFeatures:
        """Features of an agent without skills, normalised over demonstrations or else over random actions."""
        if self._demonstrations is not None:
            observations = self._demonstrations.observation[:]
        else:
            observations = random_observations(environments, self.config.seed)
        feature_map = FeatureMap.fit(self.config.agent.features, self._task.obs, observations)
        return ObservationFeatures(self._task, feature_map, batch_invariant=False)

    def _demonstrations_for(self, task: TaskSpec) -> DemoDataset:
        dataset = DemoDataset.open(self.config.demonstrations)
        require_demonstrations(dataset)
        if faults := dataset.spec.task.interface_differences(task):
            raise DataError(f"{dataset.folder} has other observations or actions than the task: {'; '.join(faults)}")
        return dataset

    def iterate(self) -> dict[str, float]:
        """Act for some control steps in every environment, then update the levels."""
        config, progress = self.config, self.progress
        started_s = time.perf_counter()
        weight, strengths = config.agent.residual_weight(progress.step), self._strengths(progress.step)
        if self._overlaps:
            collected, row = self._collect_and_learn(weight, strengths)
        else:
            collected = self._collector.collect(config.rollout_steps, weight, strengths)
            row = self._update(self._observe(collected))
        learning_s = row.pop(_LEARNING_S)
        progress.step += config.rollout_steps * config.num_envs
        duration_s = time.perf_counter() - started_s
        episodes = collected.episodes
        if episodes.returns:
            row["train/return"] = float(np.mean(episodes.returns))
            row["train/success"] = float(np.mean(episodes.successes))
        if config.curriculum is not None:
            row["train/variation_strength"] = float(strengths.max())
        return row | {
            "train/diverged": float(episodes.diverged),
            "train/residual_weight": weight,
            "train/learning_share": learning_s / duration_s,
        }

    def _strengths(self, steps: int) -> Float64Array:
        config = self.config
        return variation_strengths(config.num_envs, config.nominal_share, config.variation_strength(steps))

    def _collect_and_learn(self, weight: float, strengths: Float64Array) -> tuple[Collected, dict[str, float]]:
        """Simulate an iteration while learning from the ones before."""
        for acting in self._acting.values():
            acting.renew()
        with ThreadPoolExecutor(1) as pool:
            collecting = pool.submit(self._collector.collect, self.config.rollout_steps, weight, strengths)
            row = self._update(self._levels)
            collected = collecting.result()
        self._observe(collected)
        return collected, row

    def _observe(self, collected: Collected) -> dict[str, Algorithm]:
        """Hand the transitions to their levels; returns the levels that have got some."""
        transitions = {HIGH_LEVEL: collected.high_level, LOW_LEVEL: collected.low_level}
        levels: dict[str, Algorithm] = {}
        for prefix, level in self._levels.items():
            if (ended := transitions[prefix]) is not None:
                level.observe(ended)
                levels[prefix] = level
        return levels

    def _update(self, levels: Mapping[str, Algorithm]) -> dict[str, float]:
        started_s = time.perf_counter()
        row: dict[str, float] = {}
        try:
            for prefix, level in levels.items():
                learnt = level.update(self.progress.step / self.config.steps)
                row |= {f"{prefix.rstrip('.')}/{name}": value for name, value in learnt.items()}
        except TrainingError as error:
            folder = self.folder / run_folder.NOT_FINITE_FOLDER
            atomic_write_json(folder / "report.json", {"step": self.progress.step, "error": str(error)})
            raise TrainingError(
                f"step {self.progress.step}: {error}. The last good checkpoint remains in {self.folder}; lower the "
                "learning_rate of the level"
            ) from error
        return row | {_LEARNING_S: time.perf_counter() - started_s}

    def policy(self) -> SkillPolicy:
        """Return the agent as it is now, without exploration."""
        weights, document = self.contents()
        return agent_policy(Checkpoint(weights, document, self.folder))

    def contents(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return weights and document of the agent as it is now."""
        config = self.config
        document = {
            "task": self._task.to_dict(),
            AGENT_KEY: config_to_dict(config.agent),
            WEIGHT_KEY: config.agent.residual_weight(self.progress.step),
            LINEAGE_KEY: self._lineage.to_document(),
        }
        weights: dict[str, NDArray[Any]] = {}
        if isinstance(self._module, SkillModule):
            document[SKILLS_KEY] = self._module.checkpoint.document
            weights |= {f"{SKILLS}{name}": array for name, array in self._module.acting_weights.items()}
        else:
            document[FEATURES_KEY] = self._module.feature_map.to_document()
        for prefix, level in self._levels.items():
            weights |= {f"{prefix}{name}": array for name, array in level.weights().items()}
        if self._estimating is not None and self._estimator is not None:
            document[ESTIMATOR_KEY] = self._estimating.document[ESTIMATOR_KEY]
            weights |= {f"{ESTIMATOR}{name}": array for name, array in self._estimator.items()}
        return weights, document

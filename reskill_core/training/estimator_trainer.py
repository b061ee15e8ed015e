"""Training of a state estimator for an agent.

1. In a round the agent acts for one episode in every environment, by the estimates of the estimator as it is. So the
   estimator learns where it will be used (DAgger, Ross et al. 2011).
2. What it should have estimated is known afterwards: the true observation at the control step in which the action took
   effect. Its members learn that by regression, on the episodes of the last rounds, through time.
3. Every evaluation is followed by a checkpoint, which is the agent's with the estimator added. ``best`` has the highest
   return in the selection episodes, which are not those of reported evaluations (:mod:`reskill_core.seeding`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reskill_core.arrays import Float32Array
from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_to_dict
from reskill_core.environment import Delaying, Graded, Privileged, RestorableVectorEnv, variation_strengths
from reskill_core.errors import ConfigError, TrainingError
from reskill_core.estimation.config import EstimatorTrainingConfig
from reskill_core.estimation.network import EstimatorNetwork, estimation_loss
from reskill_core.lineage import Lineage
from reskill_core.models.io import load_optimiser_arrays, load_state_arrays, optimiser_arrays, state_arrays
from reskill_core.provenance import simulator_version
from reskill_core.runtime.agent import AGENT_KIND, ESTIMATOR, ESTIMATOR_KEY, agent_policy, below
from reskill_core.runtime.estimator import CORRECTION_SCALE, MEAN, SCALE
from reskill_core.runtime.shrinkage import shrinkage_weights
from reskill_core.runtime.skill_policy import SkillPolicy
from reskill_core.seeding import first_episode, run_integer, run_rng
from reskill_core.training.evaluated_run import Evaluate, EvaluatedProgress, EvaluatedRun

# The scale of corrections is fitted in the first rounds, while the estimator is not good anyway.
_FITTING_ROUNDS = 4
_LEAST_SCALE = 1e-4
_MAX_GRADIENT_NORM = 1.0


@dataclass
class EstimatorProgress(EvaluatedProgress):
    """Progress of an estimator's training run.

    Attributes:
        rounds: number of finished rounds.
    """

    rounds: int = 0


@dataclass(frozen=True)
class Episodes:
    """Episodes of one round, as an estimator learns from them.

    Attributes:
        observed: (N, T, O) observations.
        actions: (N, T, K · A) last actions before them, newest first.
        targets: (N, T, O) true observations when the actions after them took effect.
        is_known: (N, T) whether that was before the end.
    """

    observed: Float32Array
    actions: Float32Array
    targets: Float32Array
    is_known: NDArray[np.bool_]


def targets_of(true: NDArray[Any], delays: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Select what an estimator should have estimated.

    Args:
        true: (N, T + 1, O) true observations, the last one after the last action.
        delays: (N,) control steps until an action takes effect; between two steps, true observations are interpolated.

    Returns:
        The true observations (N, T, O) when the actions of each step took effect, and (N, T) whether that was before
        the end.
    """
    last = true.shape[1] - 1
    whole = np.floor(delays).astype(np.int64)
    share, steps = (delays - whole)[:, None, None], np.arange(last) + whole[:, None]
    at, after = (np.take_along_axis(true, np.minimum(chosen, last)[..., None], axis=1) for chosen in (steps, steps + 1))
    return at + share * (after - at), steps + np.ceil(delays - whole)[:, None] <= last


def last_actions(actions: Float32Array, count: int) -> Float32Array:
    """(N, T, K · A) last K actions in each step, newest first, of the actions (N, T, A) before each step.

    Those before the start are zero.
    """
    padded = np.pad(actions, ((0, 0), (count - 1, 0), (0, 0)))
    steps = actions.shape[1]
    return np.concatenate([padded[:, first : first + steps] for first in reversed(range(count))], axis=2)


class EstimatorTrainer(EvaluatedRun[EstimatorProgress]):
    """Training run of a state estimator.

    Args:
        config: configuration of the run.
        environments: environments of the agent's task to train in, with the variation.
        agent: checkpoint of the agent.
        evaluate: evaluates the agent with its estimator, as deployed.
        variation: randomisation of the environments, all fields.

    Raises:
        ConfigError: the environments do not tell true observations, or observations have images; or the agent has an
            estimator already.
    """

    KIND = AGENT_KIND
    PLACES = ("agent", "out", "variant", "threads")

    def __init__(
        self,
        config: EstimatorTrainingConfig,
        environments: RestorableVectorEnv,
        agent: Checkpoint,
        evaluate: Evaluate,
        variation: Mapping[str, Any],
    ) -> None:
        super().__init__(config, EstimatorProgress(), evaluate)
        task = agent.task
        if not all(isinstance(environments, kind) for kind in (Privileged, Delaying, Graded)):
            raise ConfigError(f"{task.name} does not tell true observations and delays, from which an estimator learns")
        if task.obs.images:
            raise ConfigError(f"{task.name} has images; an estimator corrects vectors only")
        if ESTIMATOR_KEY in agent.document:
            raise ConfigError(f"{agent.folder} has an estimator already; give the agent that it was made for")
        self.config, self._environments, self._agent = config, environments, agent
        self._task, self._length = task, environments.spec.horizon
        assert isinstance(environments, Graded)
        environments.strength[:] = variation_strengths(config.num_envs, config.nominal_share)
        made_from = Lineage.of(agent.document)
        self._lineage = Lineage(
            skills=made_from.skills,
            agent=agent.sha256,
            task=task.name,
            profile=config.profile,
            variation=variation,
            settings=task.settings or None,
            simulator=simulator_version(),
        )
        self._shrinkage = shrinkage_weights(task.obs, config.estimator.shrinkage)
        with torch.random.fork_rng():
            torch.manual_seed(run_integer(config.seed, "estimator_weights"))
            self._network = EstimatorNetwork(config.estimator, task.obs.dim, task.action.dim)
        self._optimiser = torch.optim.Adam(self._network.parameters(), config.learning_rate)
        self._rng = run_rng(config.seed, "estimator_batches")
        self._kept: deque[Episodes] = deque(maxlen=config.kept_rounds)
        self._norm = {
            MEAN: np.zeros(task.obs.dim, np.float32),
            **{name: np.ones(task.obs.dim, np.float32) for name in (SCALE, CORRECTION_SCALE)},
        }

    # ------------------------------------------------------------------ of every run

    @property
    def label(self) -> str:
        """Label of the progress bar."""
        return f"train-estimator {self._task.name}"

    @property
    def lineage(self) -> Lineage:
        """Agent, profile, variation and simulator."""
        return self._lineage

    def state(self) -> dict[str, Any]:
        """Return kept episodes, optimiser and random stream; the network and its scales are among the weights."""
        kept = {
            f"kept/{number}/{name}": array
            for number, episodes in enumerate(self._kept)
            for name, array in vars(episodes).items()
        }
        return {**kept, "rng": self._rng.bit_generator.state, **optimiser_arrays(self._network, self._optimiser)}

    def restore(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Restore saved :meth:`checkpoint` and :meth:`state`."""
        own = below(ESTIMATOR, weights)
        self._norm = {name: np.array(own.pop(name)) for name in self._norm}
        own = {name: array for name, array in own.items() if name not in self._shrinkage}
        load_state_arrays(self._network, own)
        load_optimiser_arrays(self._network, self._optimiser, state)
        self._rng.bit_generator.state = state["rng"]
        rounds = sorted({int(name.split("/")[1]) for name in state if name.startswith("kept/")})
        for number in rounds:
            kept = {item.name: np.array(state[f"kept/{number}/{item.name}"]) for item in fields(Episodes)}
            self._kept.append(Episodes(**kept))

    # ------------------------------------------------------------------ of an estimator's

    def contents(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return weights and document of the agent with the estimator as it is now."""
        own = {**state_arrays(self._network), **self._norm, **self._shrinkage}
        weights = {**self._agent.weights, **{f"{ESTIMATOR}{name}": array for name, array in own.items()}}
        return weights, {**self._agent.document, ESTIMATOR_KEY: config_to_dict(self.config.estimator)}

    def policy(self) -> SkillPolicy:
        """Return the agent with the estimator as it is; in the first round, the agent alone."""
        if not self._kept:
            return agent_policy(self._agent, batch_invariant=False)
        weights, document = self.contents()
        return agent_policy(replace(self._agent, weights=weights, document=document), batch_invariant=False)

    def iterate(self) -> dict[str, float]:
        """Act for one episode in every environment, then learn."""
        progress, config = self.progress, self.config
        episodes, returns = self._act(self.policy())
        self._kept.append(episodes)
        self._fit_scales()
        progress.rounds += 1
        progress.step += config.num_envs * self._length
        share = min(progress.step / config.steps, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * (1.0 + share * (config.final_learning_rate - 1.0))
        losses = [self._update(member, *batch) for member in self._network.members for batch in self._batches()]
        return {"train/loss": float(np.mean(losses)), "train/return": float(returns.mean())}

    def _act(self, policy: SkillPolicy) -> tuple[Episodes, NDArray[np.float64]]:
        """Act for one episode in each environment, beyond its end if it ends early; returns the returns, too."""
        environments, count = self._environments, self.config.num_envs
        assert isinstance(environments, Privileged)
        assert isinstance(environments, Delaying)
        first = first_episode(self.config.seed, "training") + self.progress.rounds * count
        seeds = range(first, first + count)
        observation = environments.reset(seeds)
        policy.reset(seeds)
        action = np.zeros((count, self._task.action.dim), np.float32)
        observed, actions, true = [], [], [environments.true_observation().copy()]
        returns, runs = np.zeros(count), np.ones(count, np.bool_)
        for _ in range(self._length):
            observed.append(observation.copy())
            actions.append(action)
            action = policy.act(observation).action
            result = environments.step(action)
            observation = result.observation
            true.append(environments.true_observation().copy())
            returns += np.where(runs, result.reward, 0.0)
            runs &= ~(result.terminated | result.truncated)
        targets, is_known = targets_of(np.stack(true, axis=1), environments.action_delays())
        before, taken = (np.stack(part, axis=1).astype(np.float32) for part in (observed, actions))
        last = last_actions(taken, self.config.estimator.actions)
        return Episodes(before, last, targets.astype(np.float32), is_known), returns

    def _fit_scales(self) -> None:
        if self.progress.rounds >= _FITTING_ROUNDS:
            return
        if len(self._kept) == 1:
            rows = self._kept[0].observed.reshape(-1, self._task.obs.dim)
            self._norm[MEAN], self._norm[SCALE] = rows.mean(axis=0), rows.std(axis=0) + np.float32(_LEAST_SCALE)
        corrections = np.concatenate([item.targets - item.observed for item in self._kept])
        spread = corrections.reshape(-1, self._task.obs.dim).std(axis=0)
        self._norm[CORRECTION_SCALE] = spread + np.float32(_LEAST_SCALE)

    def _batches(self) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Normalised inputs, targets and whether they are known, of a member's gradient steps in one round."""
        norm = self._norm
        inputs = [
            np.concatenate([(item.observed - norm[MEAN]) / norm[SCALE], item.actions], axis=2) for item in self._kept
        ]
        targets = [(item.targets - item.observed) / norm[CORRECTION_SCALE] for item in self._kept]
        parts = [torch.from_numpy(np.concatenate(part)) for part in (inputs, targets, [e.is_known for e in self._kept])]
        rows = self._rng.integers(len(parts[0]), size=(self.config.updates, self.config.batch_episodes))
        return [tuple(part[torch.from_numpy(chosen)] for part in parts) for chosen in rows]  # type: ignore[misc]

    def _update(self, member: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, is_known: torch.Tensor) -> float:
        corrections, _ = member(inputs)
        loss = estimation_loss(corrections, targets, is_known)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.progress.step}: the loss is not finite. The last good checkpoint remains in "
                f"{self.folder}; lower the learning_rate"
            )
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(member.parameters(), _MAX_GRADIENT_NORM)
        self._optimiser.step()
        return float(loss.detach())

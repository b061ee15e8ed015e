"""Configuration of state estimators and of their training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from reskill_core.files import plain_name_fault
from reskill_core.parameters import MAX_SEED, parameter


@dataclass(frozen=True)
class EstimatorConfig:
    """Configuration of a state estimator, an ensemble of networks.

    Attributes:
        members: number of networks, which learn from the same episodes in another order each.
        shrinkage: weight of their disagreement: the larger, the smaller are corrections where they disagree, as they do
            with an arm that they were not trained with; 0 for the mean of their corrections.
        hidden: width of the layers and of the recurrent state of each.
        actions: number of last actions that it is given, at least as many as can be under way.
    """

    members: int = parameter(2, low=1, high=20)
    shrinkage: float = parameter(2.0, low=0.0, high=100.0)
    hidden: int = parameter(128, low=1, high=4096)
    actions: int = parameter(4, low=1, high=20)


@dataclass(frozen=True)
class EstimatorTrainingConfig:
    """Configuration of the training run of a state estimator.

    Attributes:
        agent: checkpoint or run folder of the agent that it is for; that agent does not change.
        out: run folder.
        variation: randomisation that the agent is to bear: latency and noise, and what else varies.
        variant: name of the run in tables and plots.
        seed: seed of initial weights, batches and episodes.
        steps: total number of environment steps, summed over all environments.
        num_envs: number of environments; each round of training has one episode of each.
        horizons: length of the run's episodes in horizons of the task: a slow arm needs longer for the whole of it.
        nominal_share: share of the environments without any variation, so that an agent loses little where nothing is
            late or noisy.
        profile: fidelity profile of the simulator.
        threads: number of simulating threads; results do not depend on it.
        kept_rounds: rounds whose episodes are learnt from; older ones met a worse estimator.
        updates: gradient steps of each member per round.
        batch_episodes: episodes per gradient step.
        learning_rate: learning rate of Adam at the beginning.
        final_learning_rate: its share at the end, reached linearly.
        evaluate_every: environment steps between evaluations, each followed by a checkpoint; the last step always is.
        evaluation_episodes: episodes per evaluation.
        keep_checkpoints: numbered checkpoints kept in addition to the best one.
        estimator: configuration of the estimator.
    """

    agent: str
    out: str
    variation: dict[str, Any]
    variant: str = "estimating"
    seed: int = parameter(0, low=0, high=MAX_SEED)
    steps: int = parameter(600_000, low=1, high=10**10)
    num_envs: int = parameter(96, low=1, high=4096)
    horizons: float = parameter(1.0, low=1.0, high=10.0)
    nominal_share: float = parameter(0.1, low=0.0, high=1.0)
    profile: str = "fast"
    threads: int = parameter(2, low=0, high=256)
    kept_rounds: int = parameter(12, low=1, high=1000)
    updates: int = parameter(60, low=1, high=10**6)
    batch_episodes: int = parameter(64, low=1, high=10**5)
    learning_rate: float = parameter(1e-3, low=1e-8, high=1.0)
    final_learning_rate: float = parameter(0.05, low=0.0, high=1.0)
    evaluate_every: int = parameter(50_000, low=1, high=10**10)
    evaluation_episodes: int = parameter(64, low=1, high=10**5)
    keep_checkpoints: int = parameter(2, low=1, high=10**4)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)

    PROGRAM: ClassVar[str] = "train-estimator"

    @property
    def skills_source(self) -> str:
        """Where the skills of its agent come from, for people."""
        return f"those of {self.agent}"

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        faults = [f"variant: {fault}"] if (fault := plain_name_fault(self.variant)) else []
        if not self.variation:
            faults.append("variation: needs what the agent is to bear, got none")
        return faults

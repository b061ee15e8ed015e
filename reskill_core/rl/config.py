"""Configuration of an agent and of its training; every field can be overridden on the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from reskill_core.files import plain_name_fault
from reskill_core.models.config import FeatureConfig
from reskill_core.parameters import MAX_SEED, parameter
from reskill_core.rl.algorithm import ALGORITHMS

# Steps of an iteration, of all environments together: some GB of memory.
_MAX_ROLLOUT = 10**6
# In place of the folder of a skill module.
NO_SKILLS = "none"


@dataclass(frozen=True)
class AlgorithmConfig:
    """How one of the two levels learns; each algorithm has settings of its own that inherit from these.

    Attributes:
        algorithm: its name.
        discount: of rewards, per control step; a decision that lasts d steps discounts what follows by its d-th power.
    """

    algorithm: str = "ppo"
    discount: float = parameter(0.99, low=0.0, high=1.0)

    @classmethod
    def schema_of(cls, document: Mapping[str, Any]) -> type[AlgorithmConfig]:
        """The settings of the algorithm that a document names; see :func:`reskill_core.config.config_from_dict`."""
        schema: type[AlgorithmConfig] = ALGORITHMS.get(str(document.get("algorithm", cls.algorithm))).Config
        return schema

    def violations(self) -> list[str]:
        """Rules across fields."""
        mine = type(self).algorithm
        if self.algorithm == mine:
            return []
        return [f"algorithm: these are the settings of {mine!r}, got {self.algorithm!r}"]


@dataclass(frozen=True)
class PpoConfig(AlgorithmConfig):
    """Proximal policy optimisation (Schulman et al. 2017) of one of the two levels.

    Attributes:
        hidden: widths of the hidden layers of actor and critic.
        trace: lambda of the advantage estimate, per decision.
        clip: how far the probability ratio may leave 1 before it earns nothing more.
        learning_rate: of the actor.
        critic_learning_rate: of the critic; None learns as fast as the actor.
        final_learning_rate: share of the learning rates left at the end of training, to which they fall linearly.
        epochs: passes over the experience of an iteration.
        minibatch: decisions per update.
        target_kl: the actor's passes end once it has moved this far from the policy that acted [nats].
        std: standard deviation of actions before training: of all entries, or of each.
        min_std: smallest standard deviation.
        entropy: weight of the entropy bonus.
        gradient_norm: gradients are scaled down to this norm.
    """

    hidden: tuple[int, ...] = parameter((64, 64), low=1, high=4096, entries=8)
    trace: float = parameter(0.95, low=0.0, high=1.0)
    clip: float = parameter(0.2, low=1e-6, high=10.0)
    learning_rate: float = parameter(1e-3, low=1e-9, high=1.0)
    critic_learning_rate: float | None = parameter(None, low=1e-9, high=1.0)
    final_learning_rate: float = parameter(1.0, low=0.0, high=1.0)
    epochs: int = parameter(10, low=1, high=1000)
    minibatch: int = parameter(128, low=1, high=10**7)
    target_kl: float = parameter(0.05, low=1e-9, high=1e3)
    std: float | tuple[float, ...] = parameter(1.0, low=1e-6, high=100.0, entries=1024)
    min_std: float = parameter(0.1, low=1e-6, high=100.0)
    entropy: float = parameter(0.0, low=0.0, high=10.0)
    gradient_norm: float = parameter(1.0, low=1e-6, high=1e6)

    def violations(self) -> list[str]:
        """Rules across fields."""
        faults = super().violations()
        if self.std == ():
            return [*faults, "std: needs one value at least, got none"]
        if np.min(self.std) < self.min_std:
            faults.append(f"std: must be at least min_std {self.min_std}, got {self.std}")
        return faults


@dataclass(frozen=True)
class ResidualSchedule:
    """Weight of the residual's correction over the environment steps of training.

    Attributes:
        kind: ``linear`` rises from 0 at ``begin`` to 1 at ``end``; ``logistic``, as published, is 1/2 in the middle
            between the two, 2 % at ``begin`` and 98 % at ``end``.
        begin: environment steps, of all environments together.
        end: environment steps.
    """

    kind: Literal["linear", "logistic"] = "linear"
    begin: int = parameter(0, low=0, high=10**10)
    end: int = parameter(10_000, low=1, high=10**10)

    def violations(self) -> list[str]:
        """Rules across fields."""
        return [] if self.begin < self.end else [f"begin: must be below end, got {self.begin} and {self.end}"]

    def weight(self, steps: int) -> float:
        """Weight after so many environment steps."""
        progress = (steps - self.begin) / (self.end - self.begin)
        if self.kind == "linear":
            return min(max(progress, 0.0), 1.0)
        return 1.0 / (1.0 + math.exp(-8.0 * (progress - 0.5)))


@dataclass(frozen=True)
class AgentConfig:
    """What an agent is and how each of its levels learns.

    Attributes:
        skills: whether skills are decoded. Without them the low level acts alone, as plain reinforcement learning does.
        features: what it sees where it has no skill module; else it sees the features of its skills.
        skill_steps: control steps after which the next skill is chosen; None takes the length skills were learnt with.
        latent_source: ``prior`` maps the high level's noise to a skill by the skill prior, ``standard_normal`` takes it
            as the skill itself.
        noise_limit: the high level's noise stays within [-limit, limit].
        residual: whether there is a residual policy.
        min_weight: below this weight the residual is not trained: what it does shows in nothing.
        schedule: weight of the residual.
        high_level: decides on a skill every H steps; its ``algorithm`` says what else can be set.
        low_level: the residual, decides in every step; likewise.
    """

    skills: bool = True
    features: FeatureConfig = field(default_factory=FeatureConfig)
    skill_steps: int | None = parameter(5, low=1, high=1000)
    latent_source: Literal["prior", "standard_normal"] = "prior"
    noise_limit: float = parameter(3.0, low=1e-3, high=10.0)
    residual: bool = True
    min_weight: float = parameter(0.05, low=0.0, high=1.0)
    schedule: ResidualSchedule = field(default_factory=ResidualSchedule)
    high_level: AlgorithmConfig = field(default_factory=lambda: PpoConfig(discount=0.993, final_learning_rate=0.1))
    low_level: AlgorithmConfig = field(
        default_factory=lambda: PpoConfig(
            discount=0.96,
            learning_rate=5e-4,
            final_learning_rate=0.1,
            epochs=8,
            minibatch=256,
            target_kl=0.03,
            std=0.2,
            min_std=0.05,
        )
    )

    def violations(self) -> list[str]:
        """Rules across fields."""
        return [] if self.skills or self.residual else ["residual: must be true where skills is false: nothing acts"]

    def steps_per_skill(self, horizon: int) -> int:
        """Control steps from one choice of a skill to the next, of skills learnt with a horizon."""
        return (self.skill_steps or horizon) if self.skills else 1

    def residual_weight(self, steps: int) -> float:
        """Weight of the residual after so many environment steps of training."""
        if not self.residual:
            return 0.0
        return self.schedule.weight(steps) if self.skills else 1.0


@dataclass(frozen=True)
class AgentTrainingConfig:
    """An agent training run.

    Attributes:
        task: name of the task.
        out: run folder.
        skills: run folder or checkpoint of the skill module; ``none`` for an agent without one (agent.skills=false).
        variant: what the run is called in tables and plots.
        seed: of initial weights, exploration and episodes.
        steps: environment steps in all, of all environments together.
        num_envs: environments that it acts in.
        group_size: environments stepped together, by one thread.
        rollout_steps: control steps of each environment in an iteration.
        demonstrations: data set that the skills were learnt from.
        imitation_updates: gradient steps in which the low level, where it acts alone, learns to act as demonstrated
            before it learns from rewards.
        profile: fidelity profile of the simulator that it learns in.
        variation: how the world that it learns in varies from episode to episode, as ``reskill collect`` and
            ``reskill evaluate --vary`` name it; None learns in the task's own.
        threads: threads that act and simulate; what a run becomes does not depend on them.
        evaluate_every: environment steps between evaluations, each followed by a checkpoint; the last step always is.
        evaluation_episodes: episodes of an evaluation.
        keep_checkpoints: numbered checkpoints kept beside the best one.
        agent: the agent.
    """

    task: str
    out: str
    skills: str = NO_SKILLS
    variant: str = "agent"
    seed: int = parameter(0, low=0, high=MAX_SEED)
    steps: int = parameter(1_500_000, low=1, high=10**10)
    num_envs: int = parameter(64, low=1, high=4096)
    group_size: int = parameter(32, low=1, high=4096)
    rollout_steps: int = parameter(50, low=1, high=10**4)
    demonstrations: str = ""
    imitation_updates: int = parameter(0, low=0, high=10**7)
    profile: str = "fast"
    variation: dict[str, Any] | None = None
    threads: int = parameter(2, low=0, high=256)
    evaluate_every: int = parameter(100_000, low=1, high=10**10)
    evaluation_episodes: int = parameter(64, low=1, high=10**5)
    keep_checkpoints: int = parameter(2, low=1, high=10**4)
    agent: AgentConfig = field(default_factory=AgentConfig)

    def violations(self) -> list[str]:
        """Rules across fields."""
        # Both become names of folders and files, of studies and reports.
        names = {"task": self.task, "variant": self.variant}
        faults = [f"{key}: {fault}" for key, name in names.items() if (fault := plain_name_fault(name))]
        if (size := self.num_envs * self.rollout_steps) > _MAX_ROLLOUT:
            faults.append(f"num_envs times rollout_steps: must be at most {_MAX_ROLLOUT}, got {size}")
        if self.agent.skills and self.skills == NO_SKILLS:
            faults.append("skills: needs a skill module, or agent.skills=false to learn without one")
        if self.imitation_updates and (self.agent.skills or not self.demonstrations):
            faults.append(
                "imitation_updates: needs demonstrations, and agent.skills=false: skills have learnt from them already"
            )
        return faults

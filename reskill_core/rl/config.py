"""Configuration of an agent and of its training; every field can be overridden on the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from reskill_core.files import plain_name_fault
from reskill_core.models.config import FeatureConfig, MemoryConfig
from reskill_core.parameters import MAX_SEED, parameter
from reskill_core.rl.algorithm import ALGORITHMS

# Steps of an iteration, of all environments together: some GB of memory.
_MAX_ROLLOUT = 10**6
# In place of the folder of a skill module.
NO_SKILLS = "none"


@dataclass(frozen=True)
class AlgorithmConfig:
    """Base configuration of one level's algorithm; each algorithm has a subclass.

    Attributes:
        algorithm: name of the algorithm.
        discount: discount of rewards per control step; after a decision of d steps it is raised to the power of d.
    """

    algorithm: str = "ppo"
    discount: float = parameter(0.99, low=0.0, high=1.0)

    @classmethod
    def schema_of(cls, document: Mapping[str, Any]) -> type[AlgorithmConfig]:
        """Return the settings class of a document's algorithm; see :func:`reskill_core.config.config_from_dict`."""
        schema: type[AlgorithmConfig] = ALGORITHMS.get(str(document.get("algorithm", cls.algorithm))).Config
        return schema

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        mine = type(self).algorithm
        if self.algorithm == mine:
            return []
        return [f"algorithm: these are the settings of {mine!r}, got {self.algorithm!r}"]


def annealed(final: float, progress: float) -> float:
    """Return a factor on learning rates at a progress from 0 to 1, falling linearly from 1 to ``final``."""
    return 1.0 + progress * (final - 1.0)


@dataclass(frozen=True)
class PpoConfig(AlgorithmConfig):
    """Configuration of proximal policy optimisation (Schulman et al. 2017) for one level.

    Attributes:
        hidden: widths of the hidden layers of actor and critic.
        trace: lambda of the advantage estimate, per decision.
        clip: clipping range of the probability ratio around 1.
        learning_rate: learning rate of the actor.
        critic_learning_rate: learning rate of the critic; None for that of the actor.
        final_learning_rate: final learning rates as a share of the initial ones; the decay is linear.
        epochs: epochs over the rollout of an iteration.
        minibatch: decisions per minibatch.
        target_kl: KL divergence from the rollout policy at which the actor's epochs end [nats].
        std: initial standard deviation of actions: one value for all entries, or one per entry.
        min_std: lower limit of the standard deviation.
        entropy: weight of the entropy bonus.
        gradient_norm: gradients are clipped to this norm.
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
        """Check rules that involve several fields."""
        faults = super().violations()
        if self.std == ():
            return [*faults, "std: needs one value at least, got none"]
        if np.min(self.std) < self.min_std:
            faults.append(f"std: must be at least min_std {self.min_std}, got {self.std}")
        return faults


@dataclass(frozen=True)
class SacConfig(AlgorithmConfig):
    """Configuration of soft actor-critic (Haarnoja et al. 2018) for one level, regularised by a prior as in SPiRL.

    The regulariser is a cost per decision, weighted by a temperature that adapts until the mean cost is the target.

    Attributes:
        space: ``noise``: decisions are noise of the skill prior, where that is N(0, I). ``latent``: decisions are
            latents, and the divergence is to the skill model's prior; for priors that are no map from noise.
        regulariser: ``divergence`` from the prior [nats], or the negative ``entropy`` of the policy [nats].
        target: target of the divergence or of the entropy [nats]; None for half a nat per entry of a decision, or the
            entropy of a uniform distribution over 1/(2e) of the range of each entry, the usual choice.
        temperature: initial temperature, in units of the reward per nat. Too high a one keeps the policy at the prior
            until it has fallen, which takes long where rewards are rare.
        min_temperature: lower limit of the temperature.
        max_temperature: upper limit of the temperature.
        temperature_rate: relative change of the temperature per update, where the cost differs from the target by as
            much as the target itself; 0 keeps the initial temperature.
        soft_values: whether the costs of later decisions count in the values, as in the original; otherwise the
            regulariser only affects the policy, and values are those of the rewards alone.
        return_bound: whether values are at least the discounted rewards that followed in the episode, so that one
            success is learnt from at once, along its whole way. For rewards that are never negative, and rare; needs
            soft_values to be false, because costs are not part of these rewards.
        samples: number of samples that estimate the divergence; 0 for the closed form, or, where there is none, one.
        hidden: widths of the actor's hidden layers.
        critic_hidden: widths of the critics' hidden layers.
        critics: number of critics; the smallest estimate is used.
        layer_norm: whether the critics' hidden layers are normalised.
        actor_inputs: features that the actor sees: ``vector``, terms of the observation, and images; empty for all.
        critic_inputs: features that the critics see, likewise: for instance ``vector`` where the actor sees images.
        updates: updates per finished decision.
        batch: decisions per update.
        actor_every: critic updates per update of the actor.
        learning_rate: learning rate of the actor.
        critic_learning_rate: learning rate of the critics; None for that of the actor.
        final_learning_rate: final learning rates as a share of the initial ones; the decay is linear.
        gradient_norm: gradients are clipped to this norm.
        target_rate: change of the target critics per update, as a share of their distance to the critics.
        averaging_rate: change of the deployed actor per update of the learning one, likewise; 1 deploys the latter.
        std: initial standard deviation of decisions; None for that of the prior, 1, or for ``entropy`` that of a
            uniform distribution over the range.
        min_std: lower limit of the standard deviation, as a share of the initial one.
        max_std: upper limit of the standard deviation, likewise.
        capacity: number of decisions in the replay memory. A checkpoint includes it.
        warm_up: environment steps before the first update, in which the initial policy acts.
        initial_updates: gradient steps that fit the actor to the prior before the first update, in ``latent`` space.
        device: device of the updates: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.
    """

    algorithm: str = "sac"
    space: Literal["noise", "latent"] = "noise"
    regulariser: Literal["divergence", "entropy"] = "divergence"
    target: float | None = parameter(None, low=-1e4, high=1e4)
    temperature: float = parameter(0.02, low=1e-8, high=1e4)
    min_temperature: float = parameter(1e-3, low=1e-8, high=1e4)
    max_temperature: float = parameter(10.0, low=1e-8, high=1e4)
    temperature_rate: float = parameter(1e-3, low=0.0, high=1.0)
    soft_values: bool = True
    return_bound: bool = False
    samples: int = parameter(0, low=0, high=1000)
    hidden: tuple[int, ...] = parameter((256, 256), low=1, high=4096, entries=8)
    critic_hidden: tuple[int, ...] = parameter((256, 256), low=1, high=4096, entries=8)
    critics: int = parameter(2, low=1, high=100)
    layer_norm: bool = True
    actor_inputs: tuple[str, ...] = ()
    critic_inputs: tuple[str, ...] = ()
    updates: float = parameter(2.0, low=1e-3, high=100.0)
    batch: int = parameter(256, low=1, high=10**6)
    actor_every: int = parameter(2, low=1, high=1000)
    learning_rate: float = parameter(3e-4, low=1e-9, high=1.0)
    critic_learning_rate: float | None = parameter(None, low=1e-9, high=1.0)
    final_learning_rate: float = parameter(1.0, low=0.0, high=1.0)
    gradient_norm: float = parameter(10.0, low=1e-6, high=1e9)
    target_rate: float = parameter(0.005, low=1e-6, high=1.0)
    averaging_rate: float = parameter(0.005, low=1e-6, high=1.0)
    std: float | None = parameter(None, low=1e-6, high=100.0)
    min_std: float = parameter(0.02, low=1e-6, high=0.999)
    max_std: float = parameter(2.0, low=1.001, high=1e3)
    capacity: int = parameter(200_000, low=1, high=10**8)
    warm_up: int = parameter(5000, low=0, high=10**9)
    initial_updates: int = parameter(1000, low=0, high=10**6)
    device: Literal["auto", "cpu", "cuda"] = "cpu"

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        faults = super().violations()
        low, start, high = self.min_temperature, self.temperature, self.max_temperature
        if not low <= start <= high:
            faults.append(f"temperature: must be from min_temperature {low} to max_temperature {high}, got {start}")
        if self.regulariser == "divergence" and self.target is not None and self.target < 0:
            faults.append(f"target: a divergence is never negative, got {self.target}")
        if self.regulariser == "entropy" and self.space == "latent":
            faults.append("space: latent is for a divergence from the prior; for an entropy no prior is needed")
        if self.return_bound and self.soft_values:
            faults.append("return_bound: rewards that followed bound values without costs only; set soft_values: false")
        return faults


@dataclass(frozen=True)
class Schedule:
    """Schedule of a weight in [0, 1] over the environment steps of training.

    Attributes:
        kind: ``linear`` rises from 0 at ``begin`` to 1 at ``end``; ``logistic``, as published, is 2 % at ``begin``, 1/2
            halfway and 98 % at ``end``.
        begin: start of the schedule in environment steps, summed over all environments.
        end: end of the schedule in environment steps; the same as ``begin`` for a jump to 1, at 0 for 1 from the start.
    """

    kind: Literal["linear", "logistic"] = "linear"
    begin: int = parameter(0, low=0, high=10**10)
    end: int = parameter(10_000, low=0, high=10**10)

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        return [] if self.begin <= self.end else [f"begin: must not be above end, got {self.begin} and {self.end}"]

    def weight(self, steps: int) -> float:
        """Return the weight after a number of environment steps."""
        if self.begin == self.end:
            return float(steps >= self.begin)
        progress = (steps - self.begin) / (self.end - self.begin)
        if self.kind == "linear":
            return min(max(progress, 0.0), 1.0)
        return 1.0 / (1.0 + math.exp(-8.0 * (progress - 0.5)))


@dataclass(frozen=True)
class AgentConfig:
    """Configuration of an agent and of the algorithms of its levels.

    Attributes:
        skills: whether skills are decoded. Without them the low level acts alone, as in plain reinforcement learning.
        features: features of an agent without a skill module; otherwise those of its skills are used.
        skill_steps: control steps until the next skill is chosen; None for the length of the skills in their training.
        latent_source: ``prior`` maps the high level's noise to a latent by the skill prior, ``standard_normal`` uses it
            as the latent.
        noise_limit: the high level's noise is limited to [-limit, limit].
        memory: what both levels remember of the last control steps, beside the features of the newest observation.
        residual: whether there is a residual policy.
        min_weight: below this weight the residual is not trained, because it has no visible effect.
        schedule: schedule of the residual's weight.
        privileged_critics: whether the critics of both levels also see what no robot can: the observation without delay
            and noise, and what the variation has drawn for the episode. Only training has critics.
        high_level: algorithm that chooses a skill every H steps; its other fields depend on ``algorithm``.
        low_level: algorithm of the residual, which acts in every step; likewise.
    """

    skills: bool = True
    features: FeatureConfig = field(default_factory=FeatureConfig)
    skill_steps: int | None = parameter(5, low=1, high=1000)
    latent_source: Literal["prior", "standard_normal"] = "prior"
    noise_limit: float = parameter(3.0, low=1e-3, high=10.0)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    residual: bool = True
    min_weight: float = parameter(0.05, low=0.0, high=1.0)
    schedule: Schedule = field(default_factory=Schedule)
    privileged_critics: bool = False
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
        """Check rules that involve several fields."""
        if not self.skills:
            return [] if self.residual else ["residual: must be true where skills is false: nothing acts"]
        latent = isinstance(self.high_level, SacConfig) and self.high_level.space == "latent"
        if latent and self.latent_source == "prior":
            return ["latent_source: must be standard_normal where high_level.space is latent: decisions are latents"]
        return []

    def steps_per_skill(self, horizon: int) -> int:
        """Return the control steps between choices of a skill, given the horizon of the skills."""
        return (self.skill_steps or horizon) if self.skills else 1

    def residual_weight(self, steps: int) -> float:
        """Return the residual's weight after a number of environment steps."""
        if not self.residual:
            return 0.0
        return self.schedule.weight(steps) if self.skills else 1.0


@dataclass(frozen=True)
class AgentTrainingConfig:
    """Configuration of an agent training run.

    Attributes:
        task: name of the task.
        out: run folder.
        skills: run folder or checkpoint of the skill module; ``none`` for an agent without one (agent.skills=false), or
            with those of ``initial``.
        variant: name of the run in tables and plots.
        seed: seed of initial weights, exploration and episodes.
        steps: total number of environment steps, summed over all environments.
        num_envs: number of environments.
        group_size: number of environments stepped together, by one thread.
        overlap: simulate during updates, if all levels learn off-policy: an iteration then acts by the policy at its
            beginning, and its data is learnt from in the next one. Otherwise both alternate.
        rollout_steps: control steps per environment in an iteration.
        initial: run folder or checkpoint of an agent with the same networks, to begin with its skills and weights, and
            to learn on with its state estimator, if it has one; empty for none.
        estimator: run folder or checkpoint of an agent with a state estimator, behind which a new agent acts; empty for
            none, or with that of ``initial``.
        demonstrations: data set of demonstrations, for imitation.
        imitation_updates: gradient steps of imitation by the low level of an agent without skills, before
            reinforcement learning.
        profile: fidelity profile of the simulator.
        variation: randomisation of physics, perception and latency, with the fields of ``reskill collect`` and
            ``reskill evaluate --vary``; None for none.
        curriculum: schedule of the variation's strength in training episodes, from 0, nominal, to 1, as configured;
            None for the whole variation from the beginning. Evaluations always have the whole one.
        horizons: length of the run's episodes in horizons of the task: a slow arm needs longer for the whole of it.
        nominal_share: share of the environments without any variation, so that an agent loses little where nothing
            varies.
        task_settings: settings of the task that differ from the default, as its family defines them.
        threads: number of acting and simulating threads; results do not depend on it.
        evaluate_every: environment steps between evaluations, each followed by a checkpoint; the last step always is.
        evaluation_episodes: episodes per evaluation.
        keep_checkpoints: numbered checkpoints kept in addition to the best one.
        agent: configuration of the agent.
    """

    task: str
    out: str
    skills: str = NO_SKILLS
    variant: str = "agent"
    seed: int = parameter(0, low=0, high=MAX_SEED)
    steps: int = parameter(1_500_000, low=1, high=10**10)
    num_envs: int = parameter(64, low=1, high=4096)
    group_size: int = parameter(32, low=1, high=4096)
    overlap: bool = True
    rollout_steps: int = parameter(50, low=1, high=10**4)
    initial: str = ""
    estimator: str = ""
    demonstrations: str = ""
    imitation_updates: int = parameter(0, low=0, high=10**7)
    profile: str = "fast"
    variation: dict[str, Any] | None = None
    curriculum: Schedule | None = None
    horizons: float = parameter(1.0, low=1.0, high=10.0)
    nominal_share: float = parameter(0.0, low=0.0, high=1.0)
    task_settings: dict[str, Any] = field(default_factory=dict)
    threads: int = parameter(2, low=0, high=256)
    evaluate_every: int = parameter(100_000, low=1, high=10**10)
    evaluation_episodes: int = parameter(64, low=1, high=10**5)
    keep_checkpoints: int = parameter(2, low=1, high=10**4)
    agent: AgentConfig = field(default_factory=AgentConfig)

    PROGRAM: ClassVar[str] = "train-agent"

    @property
    def skills_source(self) -> str:
        """Where its skills come from, for people."""
        return f"those of {self.initial}" if self.initial else self.skills

    def variation_strength(self, steps: int) -> float:
        """Return the strength of the variation in episodes that start after a number of environment steps."""
        return 1.0 if self.curriculum is None else self.curriculum.weight(steps)

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        # Both become names of folders and files, of studies and reports.
        names = {"task": self.task, "variant": self.variant}
        faults = [f"{key}: {fault}" for key, name in names.items() if (fault := plain_name_fault(name))]
        if (size := self.num_envs * self.rollout_steps) > _MAX_ROLLOUT:
            faults.append(f"num_envs times rollout_steps: must be at most {_MAX_ROLLOUT}, got {size}")
        if self.curriculum and not self.variation:
            faults.append("curriculum: needs a variation whose strength it raises, got none")
        if self.nominal_share and not self.variation:
            faults.append("nominal_share: needs a variation that the other environments have, got none")
        if self.initial and self.skills != NO_SKILLS:
            faults.append("skills: leave it out; those of the initial agent are used")
        if self.initial and self.estimator:
            faults.append("estimator: leave it out; that of the initial agent is used")
        if self.agent.skills and self.skills == NO_SKILLS and not self.initial:
            faults.append("skills: needs a skill module, or agent.skills=false to learn without one")
        if self.imitation_updates and self.agent.memory != MemoryConfig():
            faults.append("imitation_updates: not with agent.memory: demonstrations are learnt step by step")
        if self.imitation_updates and self.initial:
            faults.append(
                "imitation_updates: not with initial: an agent that has learnt already begins with its weights"
            )
        if self.imitation_updates and (self.agent.skills or not self.demonstrations):
            faults.append(
                "imitation_updates: needs demonstrations, and agent.skills=false: skills have learnt from them already"
            )
        return faults

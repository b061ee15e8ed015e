"""Soft actor-critic of one level: replay memory, warm-up, acting, and what a run is resumed from.

The algorithm itself is in :mod:`reskill_core.rl.sac_learner`, with the networks in :mod:`reskill_core.rl.sac_networks`.
Both need torch, which is imported when an agent learns, but not when it acts.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.errors import CheckpointError, ConfigError
from reskill_core.models.feature_columns import plain_columns
from reskill_core.rl.actor import Actor, Decision
from reskill_core.rl.config import SacConfig, annealed
from reskill_core.rl.gaussian import ACTOR
from reskill_core.rl.replay import Replay
from reskill_core.rl.returns_to_go import RETURN_TO_GO, ReturnsToGo
from reskill_core.rl.sac_actor import LOG_STD_RANGE, MEAN_LIMIT, SacActor
from reskill_core.rl.transitions import SkillTransition
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.seeding import run_integer, run_rng

if TYPE_CHECKING:
    from reskill_core.rl.sac_networks import Policy
    from reskill_core.rl.sac_prior import SkillModelPrior

_IMITATION_BATCH = 512
_FIRST_LAYER = "linear.0.weight"


class Sac:
    """SAC with twin critics; an :class:`~reskill_core.rl.algorithm.Algorithm`.

    Decisions are noise of the skill prior, latents, or, without skills, actions.

    Args:
        inputs: length I of the actor's input, which has to be the features.
        features: length F of the features.
        decisions: length D of a decision.
        config: hyper-parameters.
        seed: seed of the run, for weights, samples and minibatches.
        level: ``high_level`` or ``low_level``.
        limit: decisions are limited to [-limit, limit] when they are executed.
        skills: the skill module whose features it sees; None without skills.
        privileged: length P of what only the critics see.

    Raises:
        ConfigError: the level has no prior to diverge from, no features of a name, or inputs that are no features.
    """

    Config: ClassVar[type[SacConfig]] = SacConfig
    OFF_POLICY: ClassVar[bool] = True
    PRIVILEGED: ClassVar[bool] = True

    def __init__(
        self,
        *,
        inputs: int,
        features: int,
        decisions: int,
        config: SacConfig,
        seed: int,
        level: str = "high_level",
        limit: float = 1.0,
        skills: SkillModule | None = None,
        privileged: int = 0,
    ) -> None:
        from reskill_core.rl.sac_learner import SacLearner

        if inputs != features:
            raise ConfigError(
                f"{level}: sac learns from transitions between features, but a residual on skills sees the running "
                "skill, too; choose ppo for it"
            )
        if config.regulariser == "divergence" and skills is None:
            raise ConfigError(f"{level}: there is no prior without skills; choose regulariser: entropy")
        self.config, self._inputs = config, inputs
        self._columns = columns_of("actor_inputs", config.actor_inputs, features, skills)
        critic_columns = columns_of("critic_inputs", config.critic_inputs, features, skills)
        critic_columns += range(features, features + privileged)
        self._prior = _prior_of(config, skills)
        weights, samples = run_integer(seed, level), run_rng(seed, level, 0)
        self._learner = SacLearner(
            config, self._columns, critic_columns, decisions, limit, weights, samples, self._prior
        )
        self._rng = run_rng(seed, level, 1)
        widths = {"features": features, "next_features": features, "decision": decisions, "reward": 0, "discount": 0}
        self._privileged = bool(privileged)
        if privileged:
            widths |= {"privileged": privileged, "next_privileged": privileged}
        if self._prior is not None and self._prior.is_gaussian:
            widths |= {"prior": 2 * decisions, "next_prior": 2 * decisions}
        if config.return_bound:
            widths |= {RETURN_TO_GO: 0}
        self._replay = Replay(config.capacity, widths)
        self._returns = ReturnsToGo(self._replay.columns) if config.return_bound else None
        # Environment steps seen, and updates that are due.
        self._steps, self._due = 0, 0.0
        self._acting: SacActor | None = None

    # ------------------------------------------------------------------ acting

    @classmethod
    def actor_from(cls, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> SacActor:
        """See :class:`~reskill_core.rl.algorithm.Algorithm`."""
        return SacActor.from_weights(weights, prefix)

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """See :class:`~reskill_core.rl.actor.Actor`."""
        return self.actor().act(inputs, draws)

    def actor(self) -> Actor:
        """Return a copy of the policy that explores: the learning actor, or the prior during the warm-up."""
        if self._prior is not None and self._steps < self.config.warm_up:
            return self._prior
        if self._acting is None:
            self._acting = SacActor.from_weights(self._actor_weights(self._learner.actor))
        return self._acting

    # ------------------------------------------------------------------ learning

    def observe(self, transitions: SkillTransition) -> None:
        """Add transitions to the replay memory; after the warm-up, each is due some updates."""
        rows = {
            "features": transitions.features,
            "next_features": transitions.next_features,
            "decision": transitions.decision,
            "reward": transitions.reward,
            # A time limit is not a terminal state: values go on beyond it.
            "discount": np.where(transitions.terminated, np.float32(0), transitions.discount),
        }
        if self._privileged:
            rows |= {"privileged": transitions.privileged, "next_privileged": transitions.next_privileged}
        if self._prior is not None and self._prior.is_gaussian:
            rows |= {
                "prior": self._prior.moments(transitions.features),
                "next_prior": self._prior.moments(transitions.next_features),
            }
        if self._returns is None:
            self._replay.add(rows)
        else:
            stored = self._replay.add(rows | {RETURN_TO_GO: np.zeros_like(transitions.reward)})
            newest = slice(len(transitions) - len(stored), None)
            self._returns.extend(stored, transitions.place[newest], transitions.ended[newest])
        warm = self._steps >= self.config.warm_up
        self._steps += int(transitions.length.sum())
        if warm:
            self._due += self.config.updates * len(transitions)
        elif self._steps >= self.config.warm_up and self._prior is not None:
            count = self.config.initial_updates
            self._learner.approach_prior(self._replay.sample(self._rng, self.config.batch) for _ in range(count))
            self._acting = None

    def update(self, progress: float) -> dict[str, float]:
        """Take the updates that are due; see :class:`~reskill_core.rl.algorithm.Algorithm`.

        Returns:
            Means over the updates of ``critic_loss``, ``td_error``, ``q``, ``actor_loss``, ``cost``, ``temperature``
            and ``std``; ``updates_per_s`` and the number of decisions in the ``replay`` memory. Empty without updates.
        """
        count = int(self._due)
        if count == 0:
            return {}
        started_s = time.perf_counter()
        rate = annealed(self.config.final_learning_rate, progress)
        found = defaultdict(list)
        for _ in range(count):
            for name, value in self._learner.update(self._replay.sample(self._rng, self.config.batch), rate).items():
                found[name].append(value)
        self._due -= count
        self._acting = None
        duration_s = time.perf_counter() - started_s
        means = {name: math.fsum(values) / len(values) for name, values in found.items()}
        return {**means, "updates_per_s": count / duration_s, "replay": float(len(self._replay))}

    def imitate(self, inputs: Float32Array, decisions: Float32Array, updates: int) -> None:
        """Fit mean and standard deviation by maximum likelihood; see :class:`~reskill_core.rl.algorithm.Algorithm`."""
        self._learner.imitate(self._minibatches(inputs, decisions, updates))
        self._acting = None

    def _minibatches(
        self, inputs: Float32Array, decisions: Float32Array, count: int
    ) -> Iterator[tuple[Float32Array, Float32Array]]:
        for size in repeat(min(_IMITATION_BATCH, len(inputs)), count):
            rows = self._rng.integers(len(inputs), size=size)
            yield inputs[rows], decisions[rows].astype(np.float32)

    # ------------------------------------------------------------------ saving and restoring

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the parameters of the deployed actor; everything else is in :meth:`state`."""
        return self._actor_weights(self._learner.deployed)

    def state(self) -> dict[str, Any]:
        """Return networks, optimisers, random streams and the replay memory, for exact resume between updates."""
        return {
            **self._learner.state(),
            **{f"replay/{name}": value for name, value in self._replay.state().items()},
            **({} if self._returns is None else self._returns.state()),
            "minibatches": self._rng.bit_generator.state,
            "steps": self._steps,
            "due": self._due,
        }

    def restore(self, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Restore saved :meth:`weights` and :meth:`state`.

        Raises:
            CheckpointError: a weight is missing or has another shape.
        """
        for name, array in self.weights().items():
            if name not in weights or weights[name].shape != array.shape:
                raise CheckpointError(f"{name} of shape {array.shape} is not in the checkpoint")
        self._learner.restore(state)
        self._replay.restore({n.removeprefix("replay/"): v for n, v in state.items() if n.startswith("replay/")})
        if self._returns is not None:
            self._returns.restore(state)
        self._rng.bit_generator.state = state["minibatches"]
        self._steps, self._due = int(state["steps"]), float(state["due"])
        self._acting = None

    def _actor_weights(self, policy: Policy) -> dict[str, NDArray[Any]]:
        """Weights of an actor for :class:`SacActor`, which sees all inputs, those of no use to it with weight 0."""
        weights = {key: tensor.detach().cpu().numpy().copy() for key, tensor in policy.net.state_dict().items()}
        first = weights[_FIRST_LAYER]
        weights[_FIRST_LAYER] = np.zeros((len(first), self._inputs), np.float32)
        weights[_FIRST_LAYER][:, self._columns] = first
        return {
            **{f"{ACTOR}.{key}": array for key, array in weights.items()},
            MEAN_LIMIT: np.array([policy.mean_limit], np.float32),
            LOG_STD_RANGE: np.array(policy.log_std_range, np.float32),
        }


def columns_of(setting: str, names: Sequence[str], features: int, skills: SkillModule | None) -> list[int]:
    """Return the indices of features by what they are computed from, in ascending order.

    Args:
        setting: name of the setting, for the message.
        names: names of feature columns: ``vector``, its terms, or images; all features if there are none. The name of
            an image stands for the prior's own features of it, too.
        features: length F of the features.
        skills: the skill module whose features they are.

    Raises:
        ConfigError: there are no such features.
    """
    columns = plain_columns(features) if skills is None else skills.feature_columns
    spans = {name: [columns[key] for key in (name, f"prior_{name}") if key in columns] for name in names}
    if unknown := [name for name, found in spans.items() if not found]:
        raise ConfigError(f"{setting}: there are no features {', '.join(unknown)}; allowed: {', '.join(columns)}")
    if not names:
        return list(range(features))
    return sorted({column for found in spans.values() for span in found for column in range(*span)})


def _prior_of(config: SacConfig, skills: SkillModule | None) -> SkillModelPrior | None:
    """The skill model's prior over latents; None in its noise space, where it is N(0, I), and for an entropy."""
    if config.space == "noise" or skills is None:
        return None
    from reskill_core.rl.sac_prior import SkillModelPrior

    return SkillModelPrior(skills, config.device)

"""Proximal policy optimisation of one level: a Gaussian actor and a critic, and their update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.errors import CheckpointError, ConfigError, TrainingError
from reskill_core.rl.actor import Decision
from reskill_core.rl.advantages import Experience, experience_of
from reskill_core.rl.config import PpoConfig, annealed
from reskill_core.rl.gaussian import ACTOR, LOG_STD, GaussianActor, log_density
from reskill_core.rl.networks import Adam, Mlp, Parameters, mlp_shapes
from reskill_core.rl.transitions import SkillTransition, concatenate
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.seeding import run_rng

_IMITATION_RATE, _IMITATION_MINIBATCH = 1e-3, 512
CRITIC = "critic"


class _Learner:
    """Network with its optimiser and minibatches.

    Args:
        sizes: widths of the network, from input to output.
        learning_rate: initial learning rate.
        rng: generator of weights and minibatches.
        more: shapes of parameters in addition to those of the network.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        learning_rate: float,
        rng: np.random.Generator,
        more: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.rng = rng
        self.parameters = Parameters(mlp_shapes(sizes) | dict(more or {}))
        self.network = Mlp(self.parameters, self.rng)
        self.optimiser = Adam(self.parameters, learning_rate)
        self._learning_rate = learning_rate

    def minibatches(self, columns: Sequence[Float32Array], size: int) -> Iterator[tuple[Float32Array, ...]]:
        """Yield minibatches of one epoch over the rows of the columns, in random order."""
        order = self.rng.permutation(len(columns[0]))
        # An incomplete last minibatch is dropped; its rows occur in other epochs.
        whole = max(len(order) // size, 1) * size
        shuffled = [column.take(order[:whole], axis=0) for column in columns]
        for first in range(0, len(shuffled[0]), size):
            yield tuple(column[first : first + size] for column in shuffled)

    def scale_learning_rate(self, factor: float) -> None:
        """Set the learning rate to a share of the initial one."""
        self.optimiser.learning_rate = factor * self._learning_rate

    def weights(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the parameters by name; weights as (out, in), as in checkpoints."""
        return {
            f"{name}.{key}" if key.startswith("linear.") else key: array.T.copy()
            for key, array in self.parameters.values.items()
        }

    def state(self) -> dict[str, Any]:
        """Return the state of optimiser and random stream."""
        return {"rng": self.rng.bit_generator.state, **self.optimiser.state()}

    def take_over(self, name: str, weights: Mapping[str, NDArray[Any]]) -> None:
        """Take over saved :meth:`weights`."""
        for key, array in self.weights(name).items():
            if key not in weights or weights[key].shape != array.shape:
                raise CheckpointError(f"{key} of shape {array.shape} is not in the checkpoint")
            self.parameters.values[key.removeprefix(f"{name}.")][:] = weights[key].T

    def restore(self, name: str, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Restore saved :meth:`weights` and :meth:`state`."""
        self.take_over(name, weights)
        self.rng.bit_generator.state = state["rng"]
        self.optimiser.restore(state)


class Ppo:
    """PPO with a Gaussian actor and a critic; an :class:`~reskill_core.rl.algorithm.Algorithm`.

    The mean is initialised to zero. Actor and critic share no weights. The critic sees the features only, and what is
    privileged.

    Args:
        inputs: length I of the actor's input.
        features: length F of the features.
        decisions: length D of a decision.
        config: hyper-parameters.
        seed: seed of the run, for weights and minibatches.
        level: ``high_level`` or ``low_level``.
        limit: not used: PPO learns from decisions as drawn.
        skills: not used.
        privileged: length P of what only the critic sees.
    """

    Config: ClassVar[type[PpoConfig]] = PpoConfig

    OFF_POLICY: ClassVar[bool] = False
    PRIVILEGED: ClassVar[bool] = True
    TAKES_OVER: ClassVar[bool] = True

    def __init__(
        self,
        inputs: int,
        features: int,
        decisions: int,
        config: PpoConfig,
        seed: int,
        level: str = "high_level",
        limit: float = math.inf,
        skills: SkillModule | None = None,
        privileged: int = 0,
    ) -> None:
        if np.shape(config.std) not in ((), (decisions,)):
            raise ConfigError(f"std: must be one value or {decisions}, one for each entry of actions, got {config.std}")
        self.config, self._seed, self._level = config, seed, level
        rate, critic_rate = config.learning_rate, config.critic_learning_rate or config.learning_rate
        self._actor_sizes = (inputs, *config.hidden, decisions)
        self._actor = _Learner(self._actor_sizes, rate, run_rng(seed, level, 0), {LOG_STD: (decisions,)})
        self._critic = _Learner((features + privileged, *config.hidden, 1), critic_rate, run_rng(seed, level, 1))
        self._log_std = self._actor.parameters.values[LOG_STD]
        self._log_std[:] = np.log(config.std)
        self._acting: GaussianActor | None = None
        self._observed: list[SkillTransition] = []

    # ------------------------------------------------------------------ acting

    @classmethod
    def actor_from(cls, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> GaussianActor:
        """See :class:`~reskill_core.rl.algorithm.Algorithm`."""
        return GaussianActor.from_weights(weights, prefix)

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """See :class:`~reskill_core.rl.actor.Actor`."""
        if self._acting is None:
            self._acting = self.actor()
        return self._acting.act(inputs, draws)

    def actor(self) -> GaussianActor:
        """Return a copy of the current actor."""
        return GaussianActor.from_weights(self._actor.weights(ACTOR))

    def values(self, inputs: Float32Array) -> Float32Array:
        """Estimate (...,) values at inputs of the critic (..., F + P)."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        return self._critic.network(rows).reshape(inputs.shape[:-1])

    # ------------------------------------------------------------------ learning

    def observe(self, transitions: SkillTransition) -> None:
        """Add transitions of its decisions, for the next :meth:`update` only."""
        self._observed.append(transitions)

    def update(self, progress: float) -> dict[str, float]:
        """Update from the observed transitions; see :class:`~reskill_core.rl.algorithm.Algorithm`.

        Returns:
            Metrics of :meth:`learn_actor` and :meth:`learn_critic`; empty without transitions.
        """
        if not self._observed:
            return {}
        experience = self.experience(concatenate(self._observed))
        self._observed = []
        self.anneal(progress)
        return self.learn_actor(experience) | self.learn_critic(experience)

    def experience(self, transitions: SkillTransition) -> Experience:
        """Compute advantages and targets of transitions with the current value estimates."""
        value, next_value = self.values(transitions.critic_inputs), self.values(transitions.next_critic_inputs)
        return experience_of(transitions, value, next_value, self.config.discount, self.config.trace)

    def anneal(self, progress: float) -> None:
        """Set the learning rates for a progress of the training."""
        factor = annealed(self.config.final_learning_rate, progress)
        for learner in (self._actor, self._critic):
            learner.scale_learning_rate(factor)

    def learn_actor(self, experience: Experience) -> dict[str, float]:
        """Update the actor, in epochs over the experience until it has moved too far from the rollout policy.

        Returns:
            ``kl`` to the rollout policy and share of ``clipped`` decisions in the last epoch, number of epochs
            (``passes``), and ``std`` of actions.

        Raises:
            TrainingError: the objective is not finite.
        """
        config, actor = self.config, self._actor
        self._acting = None
        columns = (experience.actor_input, experience.action, experience.log_prob, experience.advantage)
        passes, kl, clipped = 0, 0.0, 0.0
        for _ in range(config.epochs):
            moved = []
            for inputs, *outcome in actor.minibatches(columns, config.minibatch):
                mean = actor.network(inputs)
                gain, log_ratio, mean_gradient, log_std_gradient = self._gain(mean, *outcome)
                _require_finite("gain", gain)
                actor.network.backward(-mean_gradient)
                np.negative(log_std_gradient, out=actor.parameters.gradients[LOG_STD])
                actor.optimiser.step(config.gradient_norm)
                np.maximum(self._log_std, np.float32(math.log(config.min_std)), out=self._log_std)
                moved.append(log_ratio)
            passes += 1
            log_ratios = np.concatenate(moved)
            ratios = np.exp(log_ratios)
            # Estimator that is never negative and has low variance (Schulman, "Approximating KL divergence", 2020).
            kl = float((ratios - 1 - log_ratios).mean())
            clipped = float((np.abs(ratios - 1) > config.clip).mean())
            if kl > config.target_kl:
                break
        return {"kl": kl, "clipped": clipped, "passes": float(passes), "std": float(np.exp(self._log_std).mean())}

    def learn_critic(self, experience: Experience) -> dict[str, float]:
        """Update the critic.

        Returns:
            ``value_loss`` in the last epoch, and ``explained`` share of the targets' variance before the first.

        Raises:
            TrainingError: the loss is not finite.
        """
        config, critic = self.config, self._critic
        before = self.values(experience.critic_input)
        explained = 1.0 - float(np.var(experience.target - before)) / max(float(np.var(experience.target)), 1e-12)
        columns = (experience.critic_input, experience.target)
        losses: list[float] = []
        for _ in range(config.epochs):
            losses = []
            for inputs, target in critic.minibatches(columns, config.minibatch):
                losses.append(_descend_squares(critic, inputs, target[:, None], config.gradient_norm))
        return {"value_loss": float(np.mean(losses)), "explained": explained}

    def imitate(self, inputs: Float32Array, decisions: Float32Array, updates: int) -> None:
        """Train the mean by least squares; see :class:`~reskill_core.rl.algorithm.Algorithm`."""
        learner = _Learner(self._actor_sizes, _IMITATION_RATE, run_rng(self._seed, self._level, 2))
        columns = (inputs, decisions.astype(np.float32))
        batches = (pair for _ in count() for pair in learner.minibatches(columns, _IMITATION_MINIBATCH))
        for batch, label in islice(batches, updates):
            _descend_squares(learner, batch, label, self.config.gradient_norm)
        for name, array in learner.parameters.values.items():
            self._actor.parameters.values[name][:] = array
        self._acting = None

    def take_over(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Begin with the weights of another run; see :class:`~reskill_core.rl.algorithm.Algorithm`."""
        self._actor.take_over(ACTOR, weights)
        self._critic.take_over(CRITIC, weights)
        self._acting = None

    def _gain(
        self, mean: Float32Array, action: Float32Array, log_prob: Float32Array, advantage: Float32Array
    ) -> tuple[float, Float32Array, Float32Array, Float32Array]:
        """Objective to maximise, (B,) log ratios to the rollout policy, and gradients by mean and log std."""
        config, log_std = self.config, self._log_std
        inverse_std = np.exp(-log_std)
        scaled = (action - mean) * inverse_std
        log_ratio = log_density(scaled, log_std) - log_prob
        ratio = np.exp(log_ratio)
        standard = (advantage - advantage.mean()) / (advantage.std() + np.float32(1e-8))
        free = ratio * standard
        held = np.clip(ratio, np.float32(1 - config.clip), np.float32(1 + config.clip)) * standard
        gain = float(np.minimum(free, held).mean()) + config.entropy * float(log_std.sum())
        # The derivative is zero where the ratio is clipped; elsewhere d ratio / d log ratio is the ratio itself.
        by_log_ratio = np.where(free <= held, free, np.float32(0)) / np.float32(len(free))
        by_mean = scaled * inverse_std * by_log_ratio[:, None]
        by_log_std = by_log_ratio @ (scaled * scaled - 1) + np.float32(config.entropy)
        return gain, log_ratio, by_mean, by_log_std

    # ------------------------------------------------------------------ saving and restoring

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the parameters by name."""
        return self._actor.weights(ACTOR) | self._critic.weights(CRITIC)

    def state(self) -> dict[str, Any]:
        """Return optimisers and random streams, for exact resume between updates, without the weights."""
        return {
            f"{name}/{key}": value
            for name, learner in ((ACTOR, self._actor), (CRITIC, self._critic))
            for key, value in learner.state().items()
        }

    def restore(self, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Restore saved :meth:`weights` and :meth:`state`.

        Raises:
            CheckpointError: a weight is missing or has another shape.
        """
        for name, learner in ((ACTOR, self._actor), (CRITIC, self._critic)):
            prefix = f"{name}/"
            mine = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            learner.restore(name, weights, mine)
        self._acting, self._observed = None, []


def _descend_squares(learner: _Learner, inputs: Float32Array, target: Float32Array, gradient_norm: float) -> float:
    """Take an optimisation step on the squared error (summed over outputs, mean over rows); returns its value."""
    error = learner.network(inputs) - target
    loss = float(np.vdot(error, error)) / len(error)
    _require_finite("squared error", loss)
    learner.network.backward(error * np.float32(2 / len(error)))
    learner.optimiser.step(gradient_norm)
    return loss


def _require_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise TrainingError(f"the {name} is not finite: {value}")

"""PPO of one level: a Gaussian actor and a critic, and their update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reskill_core.errors import ConfigError, TrainingError
from reskill_core.models.io import load_optimiser_arrays, load_state_arrays, optimiser_arrays, state_arrays
from reskill_core.models.networks import Mlp
from reskill_core.rl.config import PpoConfig
from reskill_core.runtime.networks import Mlp as NumpyMlp

FloatArray = NDArray[np.float32]
T = TypeVar("T")

_IMITATION_RATE, _IMITATION_MINIBATCH = 1e-3, 512
ACTOR, CRITIC, LOG_STD = "actor", "critic", "log_std"


@dataclass(frozen=True)
class Experience(Generic[T]):
    """Decisions to learn from, B of them in any order, as arrays or tensors.

    Attributes:
        actor_input: (B, I) what the actor saw.
        critic_input: (B, C) what the critic saw.
        action: (B, A) what was decided.
        log_prob: (B,) log density of it under the policy that acted [nats].
        advantage: (B,).
        target: (B,) for the critic.
    """

    actor_input: T
    critic_input: T
    action: T
    log_prob: T
    advantage: T
    target: T


class ActorCritic(nn.Module):
    """A Gaussian with a mean that depends on the input, and a value.

    The mean starts at zero everywhere.
    """

    def __init__(self, actor_dim: int, critic_dim: int, action_dim: int, config: PpoConfig) -> None:
        super().__init__()
        self.actor = Mlp((actor_dim, *config.hidden, action_dim), zero_last=True)
        self.critic = Mlp((critic_dim, *config.hidden, 1), zero_last=True)
        if np.shape(config.std) not in ((), (action_dim,)):
            raise ConfigError(
                f"std: must be one value or {action_dim}, one for each entry of actions, got {config.std}"
            )
        self.log_std = nn.Parameter(torch.tensor(np.broadcast_to(np.log(config.std), action_dim), dtype=torch.float32))

    def log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        """(B,) log density of actions (B, A) [nats]."""
        scaled = (action - mean) / self.log_std.exp()
        return (-0.5 * scaled.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


class Ppo:
    """One level of the agent.

    Actor and critic share nothing, so that they may learn side by side in two threads.

    Args:
        actor_dim: entries I of the actor's input.
        critic_dim: entries C of the critic's input.
        action_dim: entries A of a decision.
        config: how it learns.
        seed: of weights and minibatches.
    """

    def __init__(self, actor_dim: int, critic_dim: int, action_dim: int, config: PpoConfig, seed: int) -> None:
        self.config, self._seed = config, seed
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = ActorCritic(actor_dim, critic_dim, action_dim, config)
        self._learners = {
            ACTOR: _Learner([*self.model.actor.parameters(), self.model.log_std], config.learning_rate, [seed, 2]),
            CRITIC: _Learner(
                list(self.model.critic.parameters()), config.critic_learning_rate or config.learning_rate, [seed, 4]
            ),
        }

    # ------------------------------------------------------------------ acting

    def actor(self) -> tuple[NumpyMlp, FloatArray]:
        """The actor as it is now: its mean in numpy, and the standard deviation (A,) of its actions."""
        weights = self.weights()
        return NumpyMlp.from_weights(weights, ACTOR), np.exp(weights[LOG_STD])

    def values(self, critic_input: FloatArray) -> FloatArray:
        """(...,) values of inputs (..., C)."""
        with torch.no_grad():
            values: FloatArray = self.model.critic(torch.from_numpy(critic_input))[..., 0].numpy()
        return values

    # ------------------------------------------------------------------ learning

    def anneal(self, progress: float) -> None:
        """Set the learning rates for a share of the training that is over."""
        factor = 1.0 + progress * (self.config.final_learning_rate - 1.0)
        for learner in self._learners.values():
            learner.scale_learning_rate(factor)

    def update(self, experience: Experience[FloatArray]) -> dict[str, float]:
        """Learn from what the current policy did: :meth:`learn_actor`, then :meth:`learn_critic`."""
        return self.learn_actor(experience) | self.learn_critic(experience)

    def learn_actor(self, experience: Experience[FloatArray]) -> dict[str, float]:
        """Improve the policy, in passes over the experience until it has moved away from the one that acted.

        Returns:
            ``kl`` to the policy that acted and share of ``clipped`` decisions in the last pass, ``passes``, and ``std``
            of actions.

        Raises:
            TrainingError: a loss is not finite.
        """
        config, learner = self.config, self._learners[ACTOR]
        columns = _tensors(experience.actor_input, experience.action, experience.log_prob, experience.advantage)
        passes, kl, clipped = 0, 0.0, 0.0
        for _ in range(config.epochs):
            moved = []
            for batch in learner.minibatches(columns, config.minibatch):
                gain, log_ratio = self._gain(*batch)
                learner.descend(-gain, "gain", config.gradient_norm)
                with torch.no_grad():
                    self.model.log_std.clamp_(min=math.log(config.min_std))
                moved.append(log_ratio.detach())
            passes += 1
            log_ratios = torch.cat(moved)
            ratios = log_ratios.exp()
            # Never negative, and of little variance (Schulman, "Approximating KL divergence", 2020).
            kl = float((ratios - 1 - log_ratios).mean())
            clipped = float(((ratios - 1).abs() > config.clip).float().mean())
            if kl > config.target_kl:
                break
        std = float(self.model.log_std.detach().exp().mean())
        return {"kl": kl, "clipped": clipped, "passes": float(passes), "std": std}

    def learn_critic(self, experience: Experience[FloatArray]) -> dict[str, float]:
        """Improve the estimate of values.

        Returns:
            ``value_loss`` in the last pass, and ``explained`` share of the targets' variance before the first.

        Raises:
            TrainingError: a loss is not finite.
        """
        config, learner = self.config, self._learners[CRITIC]
        before = self.values(experience.critic_input)
        explained = 1.0 - float(np.var(experience.target - before)) / max(float(np.var(experience.target)), 1e-12)
        columns = _tensors(experience.critic_input, experience.target)
        losses: list[float] = []
        for _ in range(config.epochs):
            losses = []
            for inputs, target in learner.minibatches(columns, config.minibatch):
                loss = (self.model.critic(inputs)[..., 0] - target).square().mean()
                losses.append(learner.descend(loss, "value loss", config.gradient_norm))
        return {"value_loss": float(np.mean(losses)), "explained": explained}

    def imitate(self, actor_input: FloatArray, action: FloatArray, updates: int) -> None:
        """Learn to act as demonstrated, by least squares.

        Args:
            actor_input: (B, I).
            action: (B, A).
            updates: number of gradient steps.
        """
        learner = _Learner(list(self.model.actor.parameters()), _IMITATION_RATE, [self._seed, 5])
        columns = _tensors(actor_input, action)
        batches = (batch for _ in count() for batch in learner.minibatches(columns, _IMITATION_MINIBATCH))
        for inputs, label in islice(batches, updates):
            loss = (self.model.actor(inputs) - label).square().sum(dim=-1).mean()
            learner.descend(loss, "imitation loss", self.config.gradient_norm)

    def _gain(self, inputs: Tensor, action: Tensor, log_prob: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """What is to be maximised, and (B,) log ratios to the policy that acted."""
        config = self.config
        log_ratio = self.model.log_prob(self.model.actor(inputs), action) - log_prob
        ratio = log_ratio.exp()
        scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        gain = torch.minimum(ratio * scaled, clipped * scaled).mean() + config.entropy * self.model.log_std.sum()
        return gain, log_ratio

    # ------------------------------------------------------------------ keeping

    def weights(self) -> dict[str, NDArray[Any]]:
        """Parameters by name."""
        return state_arrays(self.model)

    def state(self) -> dict[str, Any]:
        """Optimiser and random stream, to continue from exactly; the weights are not in it."""
        state: dict[str, Any] = {}
        for name, learner in self._learners.items():
            state[f"{name}_rng"] = learner.rng.bit_generator.state
            state |= optimiser_arrays(self.model, learner.optimiser)
        return state

    def restore(self, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`weights` and :meth:`state`."""
        load_state_arrays(self.model, weights)
        for name, learner in self._learners.items():
            learner.rng.bit_generator.state = state[f"{name}_rng"]
            load_optimiser_arrays(self.model, learner.optimiser, state)


class _Learner:
    """Gradient descent on some of the parameters, with minibatches of its own.

    Args:
        parameters: that learn.
        learning_rate: of Adam.
        seed: of the minibatches.
    """

    def __init__(self, parameters: list[nn.Parameter], learning_rate: float, seed: Sequence[int]) -> None:
        self._parameters, self._learning_rate = parameters, learning_rate
        self.rng = np.random.default_rng(seed)
        self.optimiser = torch.optim.Adam(parameters, lr=learning_rate, eps=1e-5, fused=True)

    def minibatches(self, columns: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, ...]]:
        """One pass over rows of the columns in random order."""
        order = torch.from_numpy(self.rng.permutation(len(columns[0])))
        # What is left over at the end would make a batch of its own size; it comes up in another pass.
        whole = max(len(order) // size, 1)
        shuffled = [column[order[: whole * size]] for column in columns]
        yield from zip(*(column.split(size) for column in shuffled), strict=True)

    def scale_learning_rate(self, factor: float) -> None:
        """Learn with a share of the learning rate from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = factor * self._learning_rate

    def descend(self, loss: Tensor, name: str, gradient_norm: float) -> float:
        """Take a step down a loss; returns its value."""
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(f"the {name} is not finite: {value}")
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, gradient_norm)
        self.optimiser.step()
        return value


def _tensors(*arrays: FloatArray) -> list[Tensor]:
    return [torch.tensor(array) for array in arrays]

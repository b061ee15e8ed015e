"""PPO of one level: a Gaussian actor and a critic, and their update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reskill_core.errors import TrainingError
from reskill_core.models.io import load_optimiser_arrays, load_state_arrays, optimiser_arrays, state_arrays
from reskill_core.models.networks import Mlp
from reskill_core.rl.config import PpoConfig
from reskill_core.runtime.networks import Mlp as NumpyMlp

FloatArray = NDArray[np.float32]
T = TypeVar("T")

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
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(config.std)))

    def log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        """(B,) log density of actions (B, A) [nats]."""
        scaled = (action - mean) / self.log_std.exp()
        return (-0.5 * scaled.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


class Ppo:
    """One level of the agent.

    Args:
        actor_dim: entries I of the actor's input.
        critic_dim: entries C of the critic's input.
        action_dim: entries A of a decision.
        config: how it learns.
        seed: of weights and minibatches.
    """

    def __init__(self, actor_dim: int, critic_dim: int, action_dim: int, config: PpoConfig, seed: int) -> None:
        self.config = config
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = ActorCritic(actor_dim, critic_dim, action_dim, config)
        self._rng = np.random.default_rng([seed, 2])
        self._optimiser = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, eps=1e-5)

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

    def update(self, experience: Experience[FloatArray]) -> dict[str, float]:
        """Learn from what the current policy did.

        Returns:
            ``kl`` to the policy that acted, share of ``clipped`` decisions, ``value_loss``, ``std`` of actions,
            ``explained`` share of the targets' variance before the update, and ``passes`` over the experience.

        Raises:
            TrainingError: a loss is not finite.
        """
        before = self.values(experience.critic_input)
        variance = float(np.var(experience.target))
        explained = 1.0 - float(np.var(experience.target - before)) / max(variance, 1e-12)
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in vars(experience).values()]
        passes, epoch = 0, [{"kl": 0.0}]
        for _ in range(self.config.epochs):
            epoch = [
                self._step(Experience(*(tensor[chosen] for tensor in tensors)))
                for chosen in self._minibatches(len(experience.action))
            ]
            passes += 1
            if np.mean([row["kl"] for row in epoch]) > self.config.target_kl:
                break
        metrics = {name: float(np.mean([row[name] for row in epoch])) for name in epoch[0]}
        std = float(self.model.log_std.detach().exp().mean())
        return {**metrics, "std": std, "explained": explained, "passes": float(passes)}

    def _minibatches(self, count: int) -> Iterator[Tensor]:
        order = torch.from_numpy(self._rng.permutation(count))
        # What is left over at the end would make a batch of its own size; it comes up in another pass.
        whole = max(count // self.config.minibatch, 1)
        yield from order[: whole * self.config.minibatch].split(self.config.minibatch)

    def _step(self, batch: Experience[Tensor]) -> dict[str, float]:
        config = self.config
        log_ratio = self.model.log_prob(self.model.actor(batch.actor_input), batch.action) - batch.log_prob
        ratio = log_ratio.exp()
        advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        gain = torch.minimum(ratio * advantage, clipped * advantage).mean() + config.entropy * self.model.log_std.sum()
        value_loss = (self.model.critic(batch.critic_input)[..., 0] - batch.target).square().mean()
        loss = value_loss - gain
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the loss is not finite: gain {gain.item()}, value loss {value_loss.item()}")
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.actor.parameters(), config.gradient_norm)
        nn.utils.clip_grad_norm_(self.model.critic.parameters(), config.gradient_norm)
        self._optimiser.step()
        with torch.no_grad():
            self.model.log_std.clamp_(min=math.log(config.min_std))
            # Never negative, and of little variance (Schulman, "Approximating KL divergence", 2020).
            kl = (ratio - 1 - log_ratio).mean().item()
            share = ((ratio - 1).abs() > config.clip).float().mean().item()
        return {"kl": kl, "clipped": share, "value_loss": value_loss.item()}

    # ------------------------------------------------------------------ keeping

    def weights(self) -> dict[str, NDArray[Any]]:
        """Parameters by name."""
        return state_arrays(self.model)

    def state(self) -> dict[str, Any]:
        """Optimiser and random stream, to continue from exactly; the weights are not in it."""
        return {"rng": self._rng.bit_generator.state, **optimiser_arrays(self.model, self._optimiser)}

    def restore(self, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`weights` and :meth:`state`."""
        load_state_arrays(self.model, weights)
        self._rng.bit_generator.state = state["rng"]
        load_optimiser_arrays(self.model, self._optimiser, state)

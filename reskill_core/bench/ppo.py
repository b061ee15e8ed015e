"""Time of PPO updates, in numpy as implemented here, and in torch for comparison."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reskill_core.arrays import Float32Array
from reskill_core.rl.advantages import Experience
from reskill_core.rl.config import AgentConfig, PpoConfig
from reskill_core.rl.ppo import Ppo

# Sizes of the two levels of an agent for one object, with 64 environments and 50 control steps in an iteration.
_FEATURES, _RESIDUAL_INPUTS, _DECISIONS, _STEPS, _SKILL_STEPS = 40, 52, 4, 3200, 10
# A limit on the divergence that is never reached, so that all epochs are run.
_NEVER = 1e9


@dataclass(frozen=True)
class UpdateTimes:
    """CPU time of the updates of one iteration, as medians.

    Attributes:
        level: level of the agent.
        decisions: number of decisions to learn from.
        minibatches: number of gradient steps, of actor and critic together.
        numpy_ms: time of :class:`~reskill_core.rl.ppo.Ppo` [ms].
        torch_ms: time of the same updates in torch, eager, one thread, fused Adam [ms].
        ratio: median of torch by numpy, taken in turns.
    """

    level: str
    decisions: int
    minibatches: int
    numpy_ms: float
    torch_ms: float
    ratio: float


def measure_updates(rounds: int = 7) -> list[UpdateTimes]:
    """Time the updates of both levels in numpy and torch, in turns."""
    agent = AgentConfig()
    levels = (
        ("high_level", agent.high_level, _FEATURES, _STEPS // _SKILL_STEPS),
        ("low_level", agent.low_level, _RESIDUAL_INPUTS, _STEPS),
    )
    return [_measure(level, _complete(config), inputs, count, rounds) for level, config, inputs, count in levels]


def _complete(config: object) -> PpoConfig:
    assert isinstance(config, PpoConfig)
    return PpoConfig(**{**vars(config), "target_kl": _NEVER})


def _measure(level: str, config: PpoConfig, inputs: int, count: int, rounds: int) -> UpdateTimes:
    experience = _experience(inputs, count)
    mine = Ppo(inputs, _FEATURES, _DECISIONS, config, seed=0)
    in_torch = _torch_update(config, inputs)

    def in_numpy(batch: Experience) -> None:
        mine.learn_actor(batch)
        mine.learn_critic(batch)

    # The first round is a warm-up.
    times = np.array([[_cpu_ms(update, experience) for update in (in_numpy, in_torch)] for _ in range(rounds + 1)])[1:]
    return UpdateTimes(
        level=level,
        decisions=count,
        minibatches=2 * config.epochs * max(count // config.minibatch, 1),
        numpy_ms=float(np.median(times[:, 0])),
        torch_ms=float(np.median(times[:, 1])),
        ratio=float(np.median(times[:, 1] / times[:, 0])),
    )


def _cpu_ms(update: Callable[[Experience], None], experience: Experience) -> float:
    started = time.process_time()
    update(experience)
    return (time.process_time() - started) * 1e3


def _experience(inputs: int, count: int) -> Experience:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Float32Array:
        return rng.standard_normal(shape).astype(np.float32)

    return Experience(
        actor_input=normal(count, inputs),
        critic_input=normal(count, _FEATURES),
        action=0.1 * normal(count, _DECISIONS),
        log_prob=np.full(count, -1.0, np.float32),
        advantage=normal(count),
        target=normal(count),
    )


def _torch_update(config: PpoConfig, inputs: int) -> Callable[[Experience], None]:
    """The same updates with torch modules and automatic differentiation."""
    import torch
    from torch import nn

    torch.set_num_threads(1)

    def network(first: int, last: int) -> nn.Sequential:
        sizes = (first, *config.hidden, last)
        layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.Tanh())]
        return nn.Sequential(*layers[:-1])

    actor, critic = network(inputs, _DECISIONS), network(_FEATURES, 1)
    log_std = nn.Parameter(torch.full((_DECISIONS,), -1.0))
    of_actor, of_critic = [*actor.parameters(), log_std], list(critic.parameters())
    optimisers = [torch.optim.Adam(each, config.learning_rate, fused=True) for each in (of_actor, of_critic)]

    def actor_loss(
        rows: torch.Tensor, action: torch.Tensor, log_prob: torch.Tensor, advantage: torch.Tensor
    ) -> torch.Tensor:
        scaled = (action - actor(rows)) * torch.exp(-log_std)
        constant = 0.5 * _DECISIONS * math.log(2 * math.pi)
        ratio = torch.exp(-0.5 * scaled.square().sum(-1) - log_std.sum() - constant - log_prob)
        standard = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        held = ratio.clamp(1 - config.clip, 1 + config.clip) * standard
        return -torch.minimum(ratio * standard, held).mean() - config.entropy * log_std.sum()

    def critic_loss(rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (critic(rows)[:, 0] - target).square().mean()

    def update(experience: Experience) -> None:
        batches = (
            (experience.actor_input, experience.action, experience.log_prob, experience.advantage),
            (experience.critic_input, experience.target),
        )
        losses: tuple[Callable[..., torch.Tensor], ...] = (actor_loss, critic_loss)
        for loss, columns, parameters, optimiser in zip(
            losses, batches, (of_actor, of_critic), optimisers, strict=True
        ):
            tensors = [torch.from_numpy(column) for column in columns]
            size = len(tensors[0])
            for _ in range(config.epochs):
                shuffled = [tensor[torch.randperm(size)] for tensor in tensors]
                for first in range(0, max(size // config.minibatch, 1) * config.minibatch, config.minibatch):
                    optimiser.zero_grad()
                    loss(*(tensor[first : first + config.minibatch] for tensor in shuffled)).backward()
                    nn.utils.clip_grad_norm_(parameters, config.gradient_norm)
                    optimiser.step()

    return update

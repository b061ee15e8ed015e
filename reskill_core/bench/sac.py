"""Time of updates of soft actor-critic, beside those of the published networks and loss."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from reskill_core.rl.config import SacConfig
from reskill_core.rl.replay import Replay

T = TypeVar("T")

# Features and latents of the kitchen.
_FEATURES, _DECISIONS, _ROWS = 59, 10, 20_000
_LIMIT = 3.0
# SPiRL's (Pertsch et al. 2020): critics of five layers, an actor as large as the prior, the divergence by ten samples,
# every network in every update. In our latent space the prior is evaluated once per decision, here twice per update.
PUBLISHED = SacConfig(
    space="latent",
    samples=10,
    hidden=(128,) * 6,
    critic_hidden=(256,) * 5,
    layer_norm=False,
    actor_every=1,
    averaging_rate=1.0,
    gradient_norm=1e9,
)


@dataclass(frozen=True)
class SacTimes:
    """CPU time of updates on one thread, as medians over rounds in turns.

    Attributes:
        networks: ``default`` or ``published``.
        updates_per_s: updates per second of CPU time.
        ratio: speed relative to the published ones.
        sampling_ms: time per update to draw a minibatch [ms].
        targets_ms: time to compute the targets [ms].
        critics_ms: time of the critics' gradient step, without the targets [ms].
        actor_ms: time of the actor's gradient step, a share of it where it does not learn in every update [ms].
    """

    networks: str
    updates_per_s: float
    ratio: float
    sampling_ms: float
    targets_ms: float
    critics_ms: float
    actor_ms: float


def measure_updates(rounds: int = 5, updates: int = 20) -> list[SacTimes]:
    """Time updates of both configurations in turns.

    Args:
        rounds: number of rounds, after one to warm up.
        updates: updates of each configuration in a round.
    """
    measured = {"default": _Timed(SacConfig()), "published": _Timed(PUBLISHED)}
    times = np.array([[timed(updates) for timed in measured.values()] for _ in range(rounds + 1)])[1:]
    totals = times.sum(axis=2)
    rows = []
    for index, name in enumerate(measured):
        parts = np.median(times[:, index], axis=0)
        ratio = float(np.median(totals[:, -1] / totals[:, index]))
        rows.append(SacTimes(name, 1e3 / float(np.median(totals[:, index])), ratio, *map(float, parts)))
    return rows


class _Timed:
    """Updates of a learner on random decisions, timed part by part."""

    def __init__(self, config: SacConfig) -> None:
        import torch

        from reskill_core.models.distributions import DiagonalGaussian
        from reskill_core.models.networks import Mlp
        from reskill_core.rl.sac_learner import SacLearner

        torch.set_num_threads(1)
        self._rng = np.random.default_rng(0)
        network = Mlp((_FEATURES, *(128,) * 6, 2 * _DECISIONS)).requires_grad_(False)
        columns = range(_FEATURES)
        self._learner = SacLearner(
            config,
            columns,
            columns,
            _DECISIONS,
            _LIMIT,
            0,
            self._rng,
            (lambda features: DiagonalGaussian(*network(features).chunk(2, dim=-1))) if config.samples else None,
        )
        widths = {"features": _FEATURES, "next_features": _FEATURES, "decision": _DECISIONS, "reward": 0, "discount": 0}
        self._replay = Replay(_ROWS, widths)
        self._replay.add(
            {name: self._rng.standard_normal((_ROWS, *([width] if width else []))) for name, width in widths.items()}
        )
        self._updates = 0

    def __call__(self, updates: int) -> list[float]:
        """CPU times per update of sampling, targets, critics and actor [ms]."""
        config, learner, spent = self._learner.config, self._learner, np.zeros(4)
        for _ in range(updates):
            batch, sampling_ms = _timed(self._replay.sample, self._rng, config.batch)
            rows = learner.tensors(batch)
            target, targets_ms = _timed(learner.target, rows)
            _, critics_ms = _timed(learner.learn_critics, rows, target)
            learns = self._updates % config.actor_every == 0
            actor_ms = _timed(learner.learn_actor, rows)[1] if learns else 0.0
            self._updates += 1
            spent += (sampling_ms, targets_ms, critics_ms, actor_ms)
        return (spent / updates).tolist()


def _timed(function: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """Call a function; returns its result and the CPU time [ms]."""
    started = time.process_time()
    result = function(*arguments)
    return result, (time.process_time() - started) * 1e3

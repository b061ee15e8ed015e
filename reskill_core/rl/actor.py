"""Actors: policies of one level of an agent, in training and deployment."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from reskill_core.arrays import Float32Array


class Decision(NamedTuple):
    """Decisions of one level for N places.

    Attributes:
        value: (N, D) decisions.
        log_prob: (N,) their log densities [nats]; None if they were not sampled.
    """

    value: Float32Array
    log_prob: Float32Array | None


class Actor(Protocol):
    """Policy of one level; it may be called by several threads concurrently."""

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """Decide for N places.

        Args:
            inputs: (N, I), or (N, 1, I) for batch-invariant results.
            draws: (N, D) standard normal draws, the only source of randomness; None gives the most likely decisions.
        """


class StandardNormalActor:
    """High level without training: noise from N(0, I), or its mode.

    Args:
        dim: length D of a decision.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """See :class:`Actor`. The skill of the mode is arbitrary, but always the same."""
        return Decision(np.zeros((len(inputs), self._dim), np.float32) if draws is None else draws, None)

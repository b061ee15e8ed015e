"""Actors: what decides at one level of an agent, while it learns and when it is deployed."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Decision(NamedTuple):
    """Decisions of one level in N places.

    Attributes:
        value: (N, D).
        log_prob: (N,) log densities of them [nats]; None where nothing was drawn.
    """

    value: FloatArray
    log_prob: FloatArray | None


class Actor(Protocol):
    """Decides at one level; several threads may ask it at the same time."""

    def act(self, inputs: FloatArray, draws: FloatArray | None = None) -> Decision:
        """Decide for N places.

        Args:
            inputs: (N, I), or (N, 1, I) where each row must come out as if it were alone.
            draws: (N, D) standard normal, from which whatever is random follows; None takes the most likely decisions.
        """


class StandardNormalActor:
    """The high level where no agent has learnt to choose: noise from N(0, I), or its mode.

    Args:
        dim: entries D of a decision.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim

    def act(self, inputs: FloatArray, draws: FloatArray | None = None) -> Decision:
        """See :class:`Actor`. The skill that the mode stands for is arbitrary, but always the same."""
        return Decision(np.zeros((len(inputs), self._dim), np.float32) if draws is None else draws, None)

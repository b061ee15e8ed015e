"""Advantages of decisions that may last several control steps, with time limits kept apart from real ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Decisions:
    """Decisions of N environments in order, T of each; every array is (T, N).

    Attributes:
        reward: what a decision earned, discounted to its beginning.
        discount: of what follows it: the discount per control step to the power of the steps it lasted.
        value: estimate where it was made.
        next_value: estimate where it led; also of the last state of an episode that a time limit cut off, so that a
            time limit does not look like an end.
        terminated: whether the episode really ended there: nothing follows.
        ended: whether the episode was over there for any reason: the next decision belongs to another one.
    """

    reward: FloatArray
    discount: FloatArray
    value: FloatArray
    next_value: FloatArray
    terminated: NDArray[np.bool_]
    ended: NDArray[np.bool_]


def generalised_advantages(decisions: Decisions, trace: float) -> FloatArray:
    """(T, N) advantages by generalised advantage estimation (Schulman et al. 2016).

    Args:
        decisions: in order of time.
        trace: lambda, per decision.
    """
    follows = decisions.next_value * ~decisions.terminated
    surprise = decisions.reward + decisions.discount * follows - decisions.value
    carried = decisions.discount * trace * ~decisions.ended
    advantages = np.empty_like(surprise)
    accumulated = np.zeros_like(surprise[0])
    for step in reversed(range(len(surprise))):
        accumulated = surprise[step] + carried[step] * accumulated
        advantages[step] = accumulated
    return advantages

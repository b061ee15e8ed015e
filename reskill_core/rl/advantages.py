"""Advantages of decisions that may last several control steps, with time limits kept apart from real ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.rl.transitions import SkillTransition

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Experience:
    """Decisions to learn from, B of them in any order.

    Attributes:
        actor_input: (B, I) what the actor saw.
        critic_input: (B, C) what the critic saw.
        action: (B, A) what was decided.
        log_prob: (B,) log density of it under the policy that acted [nats].
        advantage: (B,).
        target: (B,) for the critic.
    """

    actor_input: FloatArray
    critic_input: FloatArray
    action: FloatArray
    log_prob: FloatArray
    advantage: FloatArray
    target: FloatArray


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


def experience_of(
    transitions: SkillTransition, value: FloatArray, next_value: FloatArray, discount: float, trace: float
) -> Experience:
    """Transitions with their advantages and targets.

    Rewards are scaled by one minus the discount, so that values are of the size of a single reward.

    Args:
        transitions: those of one place in order of time.
        value: (B,) estimates where decisions were made.
        next_value: (B,) estimates where they led.
        discount: of rewards, per control step.
        trace: lambda of the advantage estimate, per decision.
    """
    reward = transitions.reward * np.float32(1 - discount)
    cells = _cells(transitions.place)
    decisions = Decisions(
        reward=_grid(reward, cells),
        discount=_grid(transitions.discount, cells),
        value=_grid(value, cells),
        next_value=_grid(next_value, cells),
        terminated=_grid(transitions.terminated, cells),
        ended=_grid(transitions.ended, cells),
    )
    advantage = generalised_advantages(decisions, trace)[cells]
    return Experience(
        transitions.inputs,
        transitions.features,
        transitions.decision,
        transitions.log_prob,
        advantage,
        advantage + value,
    )


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


def _cells(place: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of B decisions, which one of its place each is, and which of the places it is in."""
    _, column, counts = np.unique(place, return_inverse=True, return_counts=True)
    order = np.argsort(column, kind="stable")
    number = np.empty(len(place), np.intp)
    number[order] = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    return number, column


def _grid(column: NDArray[Any], cells: tuple[NDArray[np.intp], NDArray[np.intp]]) -> NDArray[Any]:
    """Decisions (B,) as (T, N). Cells after the last decision of a place are zero: they add nothing to those before."""
    grid = np.zeros(tuple(index.max(initial=-1) + 1 for index in cells), column.dtype)
    grid[cells] = column
    return grid

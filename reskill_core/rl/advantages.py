"""Advantages of decisions of variable duration, with a distinction between time limits and terminal states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.rl.transitions import SkillTransition


@dataclass(frozen=True)
class Experience:
    """Training batch of B decisions, in any order.

    Attributes:
        actor_input: (B, I) inputs of the actor.
        critic_input: (B, C) inputs of the critic.
        action: (B, A) decisions.
        log_prob: (B,) their log densities under the rollout policy [nats].
        advantage: (B,) advantages.
        target: (B,) targets of the critic.
    """

    actor_input: Float32Array
    critic_input: Float32Array
    action: Float32Array
    log_prob: Float32Array
    advantage: Float32Array
    target: Float32Array


@dataclass(frozen=True)
class Decisions:
    """Decisions of N environments in order of time, T of each; every array is (T, N).

    Attributes:
        reward: reward during a decision, discounted to its start.
        discount: discount of the following value: the discount per control step to the power of the duration.
        value: value estimate at the start of a decision.
        next_value: value estimate at its end; also for the last state of an episode cut off by a time limit, which is
            not a terminal state.
        terminated: whether the episode ended in a terminal state.
        ended: whether the episode ended for any reason, so that the next decision belongs to another one.
    """

    reward: Float32Array
    discount: Float32Array
    value: Float32Array
    next_value: Float32Array
    terminated: NDArray[np.bool_]
    ended: NDArray[np.bool_]


def experience_of(
    transitions: SkillTransition, value: Float32Array, next_value: Float32Array, discount: float, trace: float
) -> Experience:
    """Compute advantages and targets of transitions.

    Rewards are scaled by one minus the discount, so that values have the magnitude of a single reward.

    Args:
        transitions: transitions, in order of time for each place.
        value: (B,) value estimates at the start of decisions.
        next_value: (B,) value estimates at their end.
        discount: discount of rewards per control step.
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
        transitions.critic_inputs,
        transitions.decision,
        transitions.log_prob,
        advantage,
        advantage + value,
    )


def generalised_advantages(decisions: Decisions, trace: float) -> Float32Array:
    """Compute (T, N) advantages by generalised advantage estimation (Schulman et al. 2016).

    Args:
        decisions: decisions in order of time.
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
    """For B decisions, the index of each within its place, and the index of its place."""
    _, column, counts = np.unique(place, return_inverse=True, return_counts=True)
    order = np.argsort(column, kind="stable")
    number = np.empty(len(place), np.intp)
    number[order] = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    return number, column


def _grid(column: NDArray[Any], cells: tuple[NDArray[np.intp], NDArray[np.intp]]) -> NDArray[Any]:
    """Decisions (B,) as (T, N). Cells after the last decision of a place are zero, without effect on earlier ones."""
    grid = np.zeros(tuple(index.max(initial=-1) + 1 for index in cells), column.dtype)
    grid[cells] = column
    return grid

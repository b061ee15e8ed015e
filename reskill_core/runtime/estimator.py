"""State estimator in numpy, for acting; :mod:`reskill_core.estimation.network` trains it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, IntArray
from reskill_core.runtime.networks import Linear, Mlp, Weights
from reskill_core.runtime.shrinkage import Shrinkage

# Of observations: mean and standard deviation; of corrections: the standard deviation.
MEAN, SCALE, CORRECTION_SCALE = "mean", "scale", "correction_scale"
_HIDDEN, _ACTIONS = "estimator_hidden", "estimator_actions"


class Member:
    """Network of one member: a gated recurrent unit (Cho et al. 2014), as torch computes it, between two others.

    Args:
        weights: its arrays, without prefix.
    """

    def __init__(self, weights: Weights) -> None:
        self.input, self.output = Mlp.from_weights(weights, "input"), Mlp.from_weights(weights, "output")
        # Stacked for reset gate, update gate and candidate.
        self._of_input = _linear(weights, "recurrent.weight_ih_l0", "recurrent.bias_ih_l0")
        self._of_hidden = _linear(weights, "recurrent.weight_hh_l0", "recurrent.bias_hh_l0")

    @property
    def hidden_dim(self) -> int:
        """Width of the recurrent state."""
        return len(self._of_hidden.weight)

    def __call__(self, inputs: Float32Array, hidden: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Map inputs (..., I) and hidden (..., H) to normalised corrections (..., O) and the new hidden."""
        entered = _elu(self.input(inputs))
        new = self._recur(entered, hidden)
        return self.output(np.concatenate([new, entered], axis=-1)), new

    def _recur(self, inputs: Float32Array, hidden: Float32Array) -> Float32Array:
        reset_i, update_i, candidate_i = np.split(self._of_input(inputs), 3, axis=-1)
        reset_h, update_h, candidate_h = np.split(self._of_hidden(hidden), 3, axis=-1)
        update = _sigmoid(update_i + update_h)
        candidate = np.tanh(candidate_i + _sigmoid(reset_i + reset_h) * candidate_h)
        return (1 - update) * candidate + update * hidden


class Estimator:
    """Recurrent filter of the observations in N places, an ensemble of M members.

    From an observation and the last K actions each member updates its state, and corrects the observation to the one
    that the next action will meet when it takes effect: undelayed, without noise, and after all actions that are still
    under way. The less the members agree, the smaller is the correction (:mod:`reskill_core.runtime.shrinkage`).

    Args:
        weights: arrays of a checkpoint, without prefix.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.

    Attributes:
        actions_dim: length K · A of the last actions.
        hidden_dim: width M · H of the recurrent state of all members.
    """

    def __init__(self, weights: Weights, batch_invariant: bool = True) -> None:
        self._mean, self._scale = weights[MEAN], weights[SCALE]
        self._correction_scale = weights[CORRECTION_SCALE]
        self._members = [Member(each) for each in members_of(weights)]
        self._shrinkage = Shrinkage(weights)
        self.hidden_dim = sum(member.hidden_dim for member in self._members)
        self.actions_dim = len(self._members[0].input.layers[0].weight) - len(self._mean)
        self._batch_invariant = batch_invariant
        self.start(0)

    def start(self, count: int) -> None:
        """Start episodes in ``count`` places."""
        self._hidden = np.zeros((count, self.hidden_dim), np.float32)
        # Newest first.
        self._actions = np.zeros((count, self.actions_dim), np.float32)

    def reset(self, places: IntArray) -> None:
        """Start episodes in some places."""
        self._hidden[places] = self._actions[places] = 0.0

    def estimate(self, observations: NDArray[Any], places: IntArray) -> NDArray[Any]:
        """Correct the observations (n, O) of a control step, and take them into account.

        An observation that is not finite gives one that is not, and leaves the state as it was.
        """
        normalised = ((observations - self._mean) / self._scale).astype(np.float32)
        inputs = self._rows(np.concatenate([normalised, self._actions[places]], axis=1))
        hidden = self._hidden[places]
        parts = np.split(self._rows(hidden), len(self._members), axis=-1)
        found = [member(inputs, part) for member, part in zip(self._members, parts, strict=True)]
        corrections = np.stack([correction.reshape(normalised.shape) for correction, _ in found])
        new = np.concatenate([part for _, part in found], axis=-1).reshape(hidden.shape)
        is_finite = np.isfinite(normalised).all(axis=1, keepdims=True)
        self._hidden[places] = np.where(is_finite, new, hidden)
        return observations + self._shrinkage(corrections * self._correction_scale)

    def remember(self, actions: Float32Array, places: IntArray) -> None:
        """Take the actions (n, A) of the control step."""
        earlier = self._actions[places, : self.actions_dim - actions.shape[1]]
        self._actions[places] = np.concatenate([np.where(np.isfinite(actions), actions, 0.0), earlier], axis=1)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state for :meth:`restore`."""
        return {_HIDDEN: self._hidden.copy(), _ACTIONS: self._actions.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved :meth:`state`; other entries are ignored."""
        self._hidden, self._actions = np.array(state[_HIDDEN]), np.array(state[_ACTIONS])

    def _rows(self, array: Float32Array) -> Float32Array:
        # As in NumpySkills: numpy multiplies (N, 1, K) row by row.
        return array[:, None] if self._batch_invariant else array


def members_of(weights: Weights) -> list[dict[str, NDArray[np.float32]]]:
    """Arrays of each member, without prefix."""
    prefixes = (f"members.{number}." for number in count())
    present = takewhile(lambda prefix: any(name.startswith(prefix) for name in weights), prefixes)
    return [
        {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        for prefix in present
    ]


def _linear(weights: Weights, weight: str, bias: str) -> Linear:
    return Linear(np.ascontiguousarray(weights[weight].T), weights[bias].copy())


def _elu(values: Float32Array) -> Float32Array:
    return np.maximum(values, 0) + np.expm1(np.minimum(values, 0))


def _sigmoid(values: Float32Array) -> Float32Array:
    # By tanh, which does not overflow.
    return np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + np.float32(1.0))

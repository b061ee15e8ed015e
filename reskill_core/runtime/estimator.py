"""State estimator in numpy, for acting; :mod:`reskill_core.estimation.network` trains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, IntArray
from reskill_core.runtime.fading import Fading
from reskill_core.runtime.networks import Linear, Mlp, Weights

# Of observations: mean and standard deviation; of corrections: the standard deviation.
MEAN, SCALE, CORRECTION_SCALE = "mean", "scale", "correction_scale"
_HIDDEN, _ACTIONS = "estimator_hidden", "estimator_actions"


class Estimator:
    """Recurrent filter of the observations in N places.

    From an observation and the last K actions it updates its state, and corrects the observation to the one that the
    next action will meet when it takes effect: undelayed, without noise, and after all actions that are still under
    way. The recurrent layer is a gated recurrent unit (Cho et al. 2014), as torch computes it.
    Small corrections may fade out (:mod:`reskill_core.runtime.fading`).

    Args:
        weights: arrays of a checkpoint, without prefix.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.

    Attributes:
        actions_dim: length K · A of the last actions.
    """

    def __init__(self, weights: Weights, batch_invariant: bool = True) -> None:
        self._mean, self._scale = weights[MEAN], weights[SCALE]
        self._correction_scale = weights[CORRECTION_SCALE]
        self._input, self._output = Mlp.from_weights(weights, "input"), Mlp.from_weights(weights, "output")
        # Stacked for reset gate, update gate and candidate.
        self._of_input = _linear(weights, "recurrent.weight_ih_l0", "recurrent.bias_ih_l0")
        self._of_hidden = _linear(weights, "recurrent.weight_hh_l0", "recurrent.bias_hh_l0")
        self._fading = Fading(weights)
        self.actions_dim = len(self._input.layers[0].weight) - len(self._mean)
        self._batch_invariant = batch_invariant
        self.start(0)

    @property
    def hidden_dim(self) -> int:
        """Width of the recurrent state."""
        return len(self._of_hidden.weight)

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
        entered = _elu(self._input(inputs))
        new = self._recur(entered, self._rows(hidden))
        correction = self._output(np.concatenate([new, entered], axis=-1)).reshape(len(places), -1)
        is_finite = np.isfinite(normalised).all(axis=1, keepdims=True)
        self._hidden[places] = np.where(is_finite, new.reshape(hidden.shape), hidden)
        return observations + self._fading(correction * self._correction_scale)

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

    def _recur(self, inputs: Float32Array, hidden: Float32Array) -> Float32Array:
        reset_i, update_i, candidate_i = np.split(self._of_input(inputs), 3, axis=-1)
        reset_h, update_h, candidate_h = np.split(self._of_hidden(hidden), 3, axis=-1)
        update = _sigmoid(update_i + update_h)
        candidate = np.tanh(candidate_i + _sigmoid(reset_i + reset_h) * candidate_h)
        return (1 - update) * candidate + update * hidden

    def _rows(self, array: Float32Array) -> Float32Array:
        # As in NumpySkills: numpy multiplies (N, 1, K) row by row.
        return array[:, None] if self._batch_invariant else array


def _linear(weights: Weights, weight: str, bias: str) -> Linear:
    return Linear(np.ascontiguousarray(weights[weight].T), weights[bias].copy())


def _elu(values: Float32Array) -> Float32Array:
    return np.maximum(values, 0) + np.expm1(np.minimum(values, 0))


def _sigmoid(values: Float32Array) -> Float32Array:
    # By tanh, which does not overflow.
    return np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + np.float32(1.0))

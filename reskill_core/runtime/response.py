"""Response of an arm to commanded velocities, identified while it moves: how much, how late, with which overshoot.

The motion m of a control step is modelled as the response to the last K actions a, the same along every axis:

    m[k] = Σ_j h[j] a[k - 1 - j],   j = 0 … K - 1

The coefficients h follow by recursive least squares (Ljung, "System Identification", 1999, section 11.2), with a
covariance that relaxes to the initial one, so that a response may change, as where something is in the way. The motion
that is still to come from past actions is Σ_j a[k - 1 - j] Σ_{i > j} h[i].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_FRAME, TaskSpec

# Initial coefficient of the newest action, as share of the commanded displacement; the others are 0.
_FIRST = 0.6
# Initial variance of the coefficients, as multiple of that of what they do not explain.
_VARIANCE = 100.0
# Share by which the covariance relaxes to the initial one in a control step.
_RELAXATION = 0.003
# In weights: columns of displacements in observations and of velocities in actions, displacements of full actions [m],
# and the number of coefficients.
_MOVED, _COMMANDED, _FULL, _TAPS = "response.moved", "response.commanded", "response.full", "response.taps"
_AXES = 3


def response_weights(task: TaskSpec, taps: int) -> dict[str, NDArray[Any]]:
    """Weights of a response with K coefficients: what responds to what; none if a task has no such terms.

    A response needs the displacement of the end-effector in observations, and its velocities in actions.
    """
    quantities = task.action.quantities
    terms = [term for term in task.obs.terms if (term.kind, term.of) == ("displacement", (GRIPPER_FRAME,))]
    if not terms or any(axis not in quantities for axis in END_EFFECTOR_VELOCITY):
        return {}
    moved, commanded = task.obs.slice(terms[0].name), [quantities.index(axis) for axis in END_EFFECTOR_VELOCITY]
    full = np.array(task.action.scale)[commanded] * task.control_period_s
    return {
        _MOVED: np.arange(moved.start, moved.stop),
        _COMMANDED: np.array(commanded),
        _FULL: full.astype(np.float32),
        _TAPS: np.array([taps]),
    }


class Response:
    """Identification of the response in N places.

    It computes with numpy arrays, or with torch tensors in graphs that are exported.

    Args:
        weights: of :func:`response_weights`, among others; without them, there are no features.
        convert: makes constants from numpy arrays.
        concatenate: ``np.concatenate`` or ``torch.cat``.

    Attributes:
        state_size: length R of the state: deviations from the initial one, so all zero at the start.
        feature_size: length F of the features.
        names: names of its weights.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[Any]],
        convert: Callable[[NDArray[np.float32]], Any] = np.asarray,
        concatenate: Callable[[list[Any], int], Any] = np.concatenate,
    ) -> None:
        self._concatenate = concatenate
        self.names = tuple(name for name in (_MOVED, _COMMANDED, _FULL, _TAPS) if name in weights)
        self._taps = taps = int(weights[_TAPS][0]) if _TAPS in weights else 0
        self.state_size, self.feature_size = taps + taps * taps, (2 * _AXES + taps if taps else 0)
        if not taps:
            return
        self._moved, self._commanded = weights[_MOVED].tolist(), weights[_COMMANDED].tolist()
        self._full = convert(weights[_FULL])
        first = np.zeros((1, taps), np.float32)
        first[0, 0] = _FIRST
        self._first, self._initial = convert(first), convert(_VARIANCE * np.eye(taps, dtype=np.float32))
        # Sums of a coefficient and all that follow.
        self._sums = convert(np.tril(np.ones((taps - 1, taps - 1), np.float32)))

    def follow(self, state: Any, observations: Any, actions: Any) -> tuple[Any, Any]:
        """Take an observation into account.

        Args:
            state: (N, R) state.
            observations: (N, O) observations.
            actions: (N, K · A) last actions before them, newest first.

        Returns:
            The state (N, R), and features (N, F): motion that is still to come (3), of it that of the next control step
            (3), both as shares of the displacement of a full action, and the coefficients (K).
        """
        taps = self._taps
        if not taps:
            return state, observations[:, :0]
        moved = observations[:, self._moved] / self._full
        commanded = actions.reshape(-1, taps, actions.shape[1] // taps)[:, :, self._commanded].swapaxes(1, 2)
        coefficients = state[:, :taps] + self._first
        covariance = (1.0 - _RELAXATION) * state[:, taps:].reshape(-1, taps, taps) + self._initial
        for axis in range(_AXES):
            actions = commanded[:, axis]
            towards = (covariance @ actions[:, :, None])[:, :, 0]
            gain = towards / (1.0 + (actions * towards).sum(-1)[:, None])
            unexplained = moved[:, axis] - (coefficients * actions).sum(-1)
            coefficients = coefficients + gain * unexplained[:, None]
            covariance = covariance - gain[:, :, None] * towards[:, None, :]
        deviations = [coefficients - self._first, (covariance - self._initial).reshape(-1, taps * taps)]
        earlier, later = commanded[:, :, :-1], coefficients[:, None, 1:]
        to_come = (earlier * (later @ self._sums)).sum(-1)
        soon = (earlier * later).sum(-1)
        return self._concatenate(deviations, 1), self._concatenate([to_come, soon, coefficients], 1)

    def features(self, observations: Float32Array, actions: Float32Array) -> Float32Array:
        """(N, T, F) features in episodes from their start, of observations (N, T, O) and last actions (N, T, K · A)."""
        state, steps = np.zeros((len(observations), self.state_size), np.float32), []
        for step in range(observations.shape[1]):
            state, features = self.follow(state, observations[:, step], actions[:, step])
            steps.append(features)
        return np.stack(steps, axis=1)

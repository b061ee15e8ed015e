"""Fading of small corrections of observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.spec import ObsSpec

# In weights: which columns of observations are one term, and the size of corrections of which half is left.
_TERMS, _BELOW = "fading.terms", "fading.below"


def fading_weights(obs: ObsSpec, below: float) -> dict[str, NDArray[Any]]:
    """Weights of a fading below this size; none if it is 0."""
    if not below:
        return {}
    terms = np.zeros((obs.dim, len(obs.terms)), np.float32)
    for number, term in enumerate(obs.terms):
        terms[obs.slice(term.name), number] = 1.0
    return {_TERMS: terms, _BELOW: np.array([below], np.float32)}


class Fading:
    """Fading of corrections c of each term of observations: c |c|⁴ / (|c|⁴ + b⁴), with the Euclidean norm.

    It computes with numpy arrays, or with torch tensors in graphs that are exported.

    Args:
        weights: of :func:`fading_weights`, among others; without them, corrections stay as they are.
        convert: makes constants from numpy arrays.

    Attributes:
        names: names of its weights.
    """

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], convert: Callable[[NDArray[np.float32]], Any] = np.asarray
    ) -> None:
        self.names = tuple(name for name in (_TERMS, _BELOW) if name in weights)
        if self.names:
            self._terms, self._below = convert(weights[_TERMS]), float(weights[_BELOW][0])

    def __call__(self, corrections: Any) -> Any:
        """Fade corrections (N, O)."""
        if not self.names:
            return corrections
        shares = corrections / self._below
        # Row by row, so that results do not depend on the batch.
        squares = (shares * shares)[:, None] @ self._terms
        kept = squares * squares / (squares * squares + 1.0)
        return corrections * (kept @ self._terms.swapaxes(0, 1))[:, 0]

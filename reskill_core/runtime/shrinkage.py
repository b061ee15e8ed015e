"""Corrections of an ensemble of state estimators, smaller where its members disagree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.spec import ObsSpec

# In weights: which columns of observations are one term, and the weight of disagreement.
_TERMS, _WEIGHT = "shrinkage.terms", "shrinkage.weight"
# [m² or rad²]: below it, corrections are nothing.
_LEAST_SQUARE = 1e-14


def shrinkage_weights(obs: ObsSpec, weight: float) -> dict[str, NDArray[Any]]:
    """Weights of a shrinkage by this weight of disagreement; none if it is 0."""
    if not weight:
        return {}
    terms = np.zeros((obs.dim, len(obs.terms)), np.float32)
    for number, term in enumerate(obs.terms):
        terms[obs.slice(term.name), number] = 1.0
    return {_TERMS: terms, _WEIGHT: np.array([weight], np.float32)}


class Shrinkage:
    """Mean c of the members' corrections, shrunk by term of observations: c |c|² / (|c|² + k² s²).

    With the Euclidean norm, the weight k of disagreement, and s² the sample variance of the members' corrections,
    summed over the term. Members agree on what they were trained with, and disagree elsewhere (Lakshminarayanan et al.
    2017); the form is that of a Wiener filter, which leaves of a signal what exceeds the noise.
    It computes with numpy arrays, or with torch tensors in graphs that are exported.

    Args:
        weights: of :func:`shrinkage_weights`, among others; without them, the mean stays as it is.
        convert: makes constants from numpy arrays.

    Attributes:
        names: names of its weights.
    """

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], convert: Callable[[NDArray[np.float32]], Any] = np.asarray
    ) -> None:
        self.names = tuple(name for name in (_TERMS, _WEIGHT) if name in weights)
        if self.names:
            self._terms, self._weight = convert(weights[_TERMS]), float(weights[_WEIGHT][0])

    def __call__(self, corrections: Any) -> Any:
        """Combine corrections (M, N, O) of M members to one (N, O)."""
        mean = corrections.mean(0)
        if not self.names or len(corrections) == 1:
            return mean
        deviations = corrections - mean
        variances = (deviations * deviations).sum(0) / (len(corrections) - 1)
        squares, doubts = self._by_term(mean * mean), self._by_term(variances) * self._weight**2
        kept = squares / (squares + doubts + _LEAST_SQUARE)
        return mean * (kept @ self._terms.swapaxes(0, 1))[:, 0]

    def _by_term(self, values: Any) -> Any:
        # Row by row, so that results do not depend on the batch.
        return values[:, None] @ self._terms

"""How widely rollouts spread over the states of a task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reskill_core.data import Episode
from reskill_core.intervals import Estimate
from reskill_core.seeding import run_rng

_DRAWS = 500
# Entries that vary less than this, in their unit, are constants.
_CONSTANT = 1e-6


class Spread:
    """Moments of the observations that each source's rollouts visit."""

    def __init__(self) -> None:
        self._moments: dict[str, list[NDArray[np.float64]]] = {}

    def add(self, source: str, episode: Episode) -> None:
        """Add an episode."""
        visited = np.concatenate((episode.observation, episode.final_observation[None])).astype(np.float64)
        moments = np.stack((np.ones(visited.shape[1]), visited.mean(axis=0), np.square(visited).mean(axis=0)))
        self._moments.setdefault(source, []).append(len(visited) * moments)

    def estimates(self) -> Mapping[str, Estimate]:
        """Standard deviation of the observations that each source visits, with a bootstrap interval over episodes.

        Every entry of the observation is divided by its standard deviation over all sources together, and variances
        are averaged over the entries that vary: sources that spread equally are all at about 1.
        """
        together = _variance(np.concatenate([np.stack(of) for of in self._moments.values()]).sum(axis=0))
        varies = together > _CONSTANT**2
        rng, found = run_rng(0, "bootstrap"), {}
        for source, listed in self._moments.items():
            moments = np.stack(listed)[:, :, varies]
            drawn = rng.integers(len(moments), size=(_DRAWS, len(moments)))
            values = [_root(moments[rows].sum(axis=0), together[varies]) for rows in drawn]
            low, high = np.percentile(values, (2.5, 97.5))
            centre = _root(moments.sum(axis=0), together[varies])
            found[source] = Estimate(centre, min(float(low), centre), max(float(high), centre), len(moments))
        return found


def _variance(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """(O,) variances from count, sum and sum of squares (3, O)."""
    count, total, squares = moments
    return np.maximum(squares / count - np.square(total / count), 0.0)


def _root(moments: NDArray[np.float64], unit: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(_variance(moments) / unit))) if unit.size else 0.0

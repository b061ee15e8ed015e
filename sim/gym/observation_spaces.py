"""Spaces of observations and actions, from their layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from reskill_core.spec import ObsSpec, ObsTerm, TaskSpec

FloatArray = NDArray[np.float64]

# Observations end somewhere, as Gymnasium asks of a space. An object that a hook flings away stays within 10 m in an
# episode; this is cut off only where physics is about to break down.
FAR_M = 100.0


def action_space(spec: TaskSpec) -> spaces.Box:
    """The space of actions (A,)."""
    return spaces.Box(-1.0, 1.0, (spec.action.dim,), np.float32)


def observation_space(spec: ObsSpec) -> spaces.Space[Any]:
    """The space of observations (O,)."""
    return box(bounds(spec))


def bounds(spec: ObsSpec) -> FloatArray:
    """(O,) absolute values that the entries of an observation do not exceed."""
    return np.concatenate([np.full(term.size, _bound(term)) for term in spec.terms])


def box(bound: FloatArray) -> spaces.Box:
    """The space between ``-bound`` and ``bound``."""
    return spaces.Box(-bound, bound, dtype=np.float64)


def _bound(term: ObsTerm) -> float:
    if term.kind == "zeros":
        return 1.0
    return np.pi if term.unit == "rad" else FAR_M

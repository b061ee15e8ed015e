"""Spaces of observations and actions, from their layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from reskill_core.spec import VECTOR, ObsSpec, ObsTerm, TaskSpec

FloatArray = NDArray[np.float64]

# Vectors end somewhere, as Gymnasium asks of a space. An object that a hook flings away stays within 10 m in an
# episode; this is cut off only where physics is about to break down.
FAR = 100.0


def action_space(spec: TaskSpec) -> spaces.Box:
    """The space of actions (A,)."""
    return spaces.Box(-1.0, 1.0, (spec.action.dim,), np.float32)


def observation_space(spec: ObsSpec) -> spaces.Space[Any]:
    """The space of observations: a box (O,); where the layout has images, a dictionary of that and one box for each."""
    vector = box(bounds(spec))
    if not spec.images:
        return vector
    images = {image.name: spaces.Box(0, 255, image.shape, np.uint8) for image in spec.images}
    return spaces.Dict({VECTOR: vector, **images})


def bounds(spec: ObsSpec) -> FloatArray:
    """(O,) absolute values that the entries of an observation's vector do not exceed."""
    return np.array([_bound(term) for term in spec.terms for _ in range(term.size)])


def box(bound: FloatArray) -> spaces.Box:
    """The space between ``-bound`` and ``bound``."""
    return spaces.Box(-bound, bound, dtype=np.float64)


def _bound(term: ObsTerm) -> float:
    if term.kind == "zeros":
        return 1.0
    return np.pi if term.kind in ("euler", "rotation_displacement") else FAR

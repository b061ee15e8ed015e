"""Gymnasium spaces of observations and actions, from their layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from reskill_core.arrays import Float64Array
from reskill_core.spec import VECTOR, ObsSpec, ObsTerm, TaskSpec

# Bound of vectors, which Gymnasium requires. An object thrown by a hook stays within 10 m in an episode; larger values
# only occur before a divergence.
FAR = 100.0


def action_space(spec: TaskSpec) -> spaces.Box:
    """Return the space of actions (A,)."""
    return spaces.Box(-1.0, 1.0, (spec.action.dim,), np.float32)


def observation_space(spec: ObsSpec) -> spaces.Space[Any]:
    """Return the space of observations: a box (O,), or with images a dictionary with this and one box per image."""
    vector = box(bounds(spec))
    if not spec.images:
        return vector
    images = {image.name: spaces.Box(0, 255, image.shape, np.uint8) for image in spec.images}
    return spaces.Dict({VECTOR: vector, **images})


def bounds(spec: ObsSpec) -> Float64Array:
    """Return (O,) bounds of the absolute values of an observation's vector."""
    return np.array([_bound(term) for term in spec.terms for _ in range(term.size)])


def box(bound: Float64Array) -> spaces.Box:
    """Return the space between ``-bound`` and ``bound``."""
    return spaces.Box(-bound, bound, dtype=np.float64)


def _bound(term: ObsTerm) -> float:
    if term.kind == "zeros":
        return 1.0
    return np.pi if term.kind in ("euler", "rotation_displacement") else FAR

"""Objects of many shapes for the hook task, and their uneven tables, generated from a number.

Each object consists of three convex parts, stacked like a chess piece or side by side like an angle or a cross; shape,
size, mass, friction and damping vary. All have the same number of vertices and faces, so that the compiled models have
the same layout and one batch can mix them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from reskill_sim.fetch import constants
from reskill_sim.fetch.scene import EllipsoidGeom, MeshGeom, Scene, SceneObject
from reskill_sim.fetch.tasks.hook import GOAL_POS_W, HOOK, HOOK_TABLE, OBJECT_HALF_SIZE_M

# Training and held-out objects are disjoint.
TRAINING_IDS = range(100)
HELD_OUT_IDS = range(100, 130)
# Mean start of the object, and its largest radius, which bumps do not reach [m].
SPAWN_CENTRE_W = (1.8, 0.75)
LARGEST_FOOTPRINT_M = 0.06
NUM_BUMPS = 8

_FAMILY = 7
_SIDES = 8
_PARTS = 3


def hook_scene(number: int) -> Scene:
    """Create object, hook and bumps with this number; a number always gives the same scene."""
    rng = np.random.default_rng([_FAMILY, number])
    target = _object(rng)
    return Scene(HOOK_TABLE, (target, HOOK), fixtures=_bumps(rng))


def _object(rng: np.random.Generator) -> SceneObject:
    parts = _stack(rng) if rng.random() < 0.5 else _cluster(rng)
    mass = rng.uniform(0.5, 3.0)
    return SceneObject(
        "object",
        tuple(MeshGeom(_tuples(vertices), _faces(), mass / _PARTS) for vertices in parts),
        rgba=(*rng.uniform(0.25, 0.85, 3).round(3).tolist(), 1.0),
        friction=float(rng.uniform(0.5, 1.0)),
        damping=float(rng.uniform(0.5, 2.0)),
    )


def _stack(rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Three parts on top of each other, the lowest being the widest, so that the object stands."""
    radius, height = rng.uniform(0.025, 0.045), rng.uniform(0.04, 0.10)
    heights = height * rng.dirichlet([4.0] * _PARTS)
    widths = radius * np.array([1.0, *rng.uniform(0.4, 0.95, _PARTS - 1)])
    bottom, parts = -OBJECT_HALF_SIZE_M, []
    for width, part_height in zip(widths, heights, strict=True):
        parts.append(_frustum(rng, width, part_height, bottom))
        bottom += part_height
    return parts


def _cluster(rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Three parts standing side by side, touching in the middle."""
    parts = []
    turn = rng.uniform(0.0, 2.0 * np.pi)
    for number in range(_PARTS):
        radius, height = rng.uniform(0.018, 0.028), rng.uniform(0.03, 0.07)
        angle = turn + number * rng.uniform(1.4, 2.1)
        offset = 0.8 * radius * np.array([np.cos(angle), np.sin(angle), 0.0])
        parts.append(_frustum(rng, radius, height, -OBJECT_HALF_SIZE_M) + offset)
    return parts


def _frustum(rng: np.random.Generator, radius: float, height: float, bottom: float) -> NDArray[np.float64]:
    """(2 x sides, 3) vertices of a tapered column with a cross-section between round, square and flat [m]."""
    exponent, flatness, taper = rng.uniform(1.2, 6.0), rng.uniform(0.6, 1.0), rng.uniform(0.55, 1.0)
    angle = 2.0 * np.pi * np.arange(_SIDES) / _SIDES
    along, across = np.cos(angle), np.sin(angle)
    # A superellipse within the radius.
    reach = (np.abs(along) ** exponent + np.abs(across) ** exponent) ** (-1.0 / exponent)
    ring = (reach / reach.max() * np.stack([along, flatness * across])).T
    turn = rng.uniform(0.0, np.pi)
    ring = radius * ring @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    levels = [np.column_stack([ring * scale, np.full(_SIDES, z)]) for scale, z in ((1.0, 0.0), (taper, height))]
    return np.concatenate(levels) + np.array([0.0, 0.0, bottom])


def _faces() -> tuple[tuple[int, int, int], ...]:
    """Triangles of a frustum: its sides, its bottom and its top."""
    sides = []
    for this in range(_SIDES):
        following = (this + 1) % _SIDES
        sides += [(this, following, following + _SIDES), (this, following + _SIDES, this + _SIDES)]
    lower = [(0, second + 1, second) for second in range(1, _SIDES - 1)]
    upper = [(_SIDES, _SIDES + second, _SIDES + second + 1) for second in range(1, _SIDES - 1)]
    return tuple(sides + lower + upper)


def _tuples(vertices: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in vertices)


def _bumps(rng: np.random.Generator) -> tuple[EllipsoidGeom, ...]:
    """Flat bumps between the hook's start and the far end of the table, up to 6 mm high."""
    bumps: list[EllipsoidGeom] = []
    while len(bumps) < NUM_BUMPS:
        x, y = rng.uniform((1.50, 0.58), (2.00, 1.02))
        radius, height = rng.uniform(0.02, 0.04), rng.uniform(0.002, 0.006)
        clear = [(SPAWN_CENTRE_W, LARGEST_FOOTPRINT_M), (tuple(GOAL_POS_W[:2]), OBJECT_HALF_SIZE_M)]
        if all(math.dist((x, y), place) > radius + reach for place, reach in clear):
            bumps.append(EllipsoidGeom((radius, radius, height), 0.0, (float(x), float(y), constants.TABLE_TOP_M)))
    return tuple(bumps)

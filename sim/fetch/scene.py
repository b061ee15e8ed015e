"""Scenes in front of the Fetch, as data; :mod:`reskill_sim.fetch.model` compiles them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from reskill_sim.engine.variation import World

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True)
class BoxGeom:
    """Box, a part of an object.

    Attributes:
        half_size: half edge lengths [m].
        mass: [kg].
        pos: centre in the object's frame [m].
        quat_wxyz: orientation in the object's frame.
    """

    half_size: Vector
    mass: float
    pos: Vector = (0.0, 0.0, 0.0)
    quat_wxyz: Quaternion = (1.0, 0.0, 0.0, 0.0)

    @property
    def lowest_m(self) -> float:
        """Height of its lowest point in the object's frame, if not tilted [m]."""
        return self.pos[2] - self.half_size[2]

    @property
    def footprint_m(self) -> float:
        """Radius of the enclosing circle around the frame's origin, seen from above, if not tilted [m]."""
        return math.hypot(*(abs(self.pos[axis]) + self.half_size[axis] for axis in (0, 1)))

    def scaled(self, size: float, mass: float) -> BoxGeom:
        """Return a copy with scaled lengths and mass."""
        return replace(self, half_size=_times(self.half_size, size), pos=_times(self.pos, size), mass=self.mass * mass)


class EllipsoidGeom(BoxGeom):
    """Ellipsoid; ``half_size`` are its semi-axes."""


@dataclass(frozen=True)
class MeshGeom:
    """Convex polyhedron, a part of an object.

    Attributes:
        vertices: vertices in the object's frame [m].
        faces: triangles, as indices of vertices, counter-clockwise seen from outside.
        mass: [kg].
    """

    vertices: tuple[Vector, ...]
    faces: tuple[tuple[int, int, int], ...]
    mass: float

    @property
    def lowest_m(self) -> float:
        """Height of its lowest point in the object's frame [m]."""
        return min(vertex[2] for vertex in self.vertices)

    @property
    def footprint_m(self) -> float:
        """Radius of the enclosing circle around the frame's origin, seen from above [m]."""
        return max(math.hypot(x, y) for x, y, _ in self.vertices)

    def scaled(self, size: float, mass: float) -> MeshGeom:
        """Return a copy with scaled lengths and mass."""
        return replace(self, vertices=tuple(_times(vertex, size) for vertex in self.vertices), mass=self.mass * mass)


Geom = BoxGeom | MeshGeom


def _times(vector: Vector, factor: float) -> Vector:
    x, y, z = vector
    return (x * factor, y * factor, z * factor)


@dataclass(frozen=True)
class SceneObject:
    """Free body.

    Attributes:
        name: name of the body, and of its frame in observations unless ``frame`` is set.
        geoms: parts of the body.
        frame_offset: position of the observed frame in the body's frame [m].
        frame: name of its frame in observations; empty for the body's name.
        rgba: colour.
        friction: sliding friction with any other surface; with None, the higher friction of the two surfaces counts.
        damping: damping of its free motion, per axis [N s/m and N m s/rad].
    """

    name: str
    geoms: tuple[Geom, ...]
    frame_offset: Vector = (0.0, 0.0, 0.0)
    frame: str = ""
    rgba: tuple[float, float, float, float] = (0.20, 0.45, 0.75, 1.0)
    friction: float | None = None
    damping: float = 0.01

    @property
    def observed_as(self) -> str:
        """Name of its frame in observations."""
        return self.frame or self.name

    @cached_property
    def rest_height_m(self) -> float:
        """Height of its origin over the supporting surface [m]."""
        return -min(part.lowest_m for part in self.geoms)

    @cached_property
    def footprint_m(self) -> float:
        """Radius of the smallest enclosing circle around its origin, seen from above [m]."""
        return max(part.footprint_m for part in self.geoms)

    def scaled(self, size: float, mass: float) -> SceneObject:
        """Return a copy with scaled lengths and mass."""
        return replace(
            self,
            geoms=tuple(part.scaled(size, mass) for part in self.geoms),
            frame_offset=_times(self.frame_offset, size),
        )


@dataclass(frozen=True)
class Table:
    """Table with its top at ``TABLE_TOP_M``.

    Attributes:
        centre: centre of the top, in world coordinates [m].
        half_size: half edge lengths of the top [m].
    """

    centre: tuple[float, float]
    half_size: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """Table and objects in front of the robot.

    Attributes:
        table: the table.
        objects: free bodies, in the order of their coordinates in the simulator's state.
        fixtures: bodies fixed to the table; ``pos`` in world coordinates.
        friction: sliding, torsional and rolling friction of every surface; None for the model's own.
        friction_factor: factor on the sliding friction of every surface.
    """

    table: Table
    objects: tuple[SceneObject, ...]
    fixtures: tuple[BoxGeom, ...] = ()
    friction: Vector | None = None
    friction_factor: float = 1.0

    def in_world(self, world: World) -> Scene:
        """Apply friction, mass and size of a variation; the first object is the manipulated one."""
        if world == World():
            return self
        first, *others = self.objects
        return replace(
            self,
            objects=(first.scaled(world.size, world.mass), *others),
            friction_factor=self.friction_factor * world.friction,
        )


EMPTY = Scene(Table((1.3, 0.75), (0.25, 0.35)), ())

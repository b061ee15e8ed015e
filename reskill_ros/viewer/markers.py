"""Markers of a scene, as RViz and Foxglove show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from reskill_core.frames import RigidTransform
from reskill_ros.viewer.scene import Colour, Scene

_FRAME_M, _PATH_M, _BOX_M, _TEXT_M = 0.03, 0.005, 0.004, 0.04
_COLOURS: dict[str, Colour] = {"gripper": (0.9, 0.5, 0.1), "goal": (0.1, 0.7, 0.2)}
_OBJECT: Colour = (0.2, 0.45, 0.75)
# Edges of a box, as pairs of corners; bit i of a corner says whether it is high along axis i.
_EDGES = [(a, a | 1 << axis) for axis in range(3) for a in range(8) if not a & 1 << axis]


def markers(scene: Scene, stamp: Time, frame_id: str, to_frame: RigidTransform) -> MarkerArray:
    """Create the markers of a scene.

    Args:
        scene: the scene.
        stamp: stamp of the markers.
        frame_id: frame that they are in.
        to_frame: transform from the task's world to that frame.
    """
    array = MarkerArray()
    for number, marker in enumerate(_markers(scene, to_frame)):
        marker.header.stamp, marker.header.frame_id = stamp, frame_id
        marker.id, marker.pose.orientation.w = number, 1.0
        array.markers.append(marker)
    return array


def _markers(scene: Scene, to_frame: RigidTransform) -> Iterator[Marker]:
    for name, point in scene.frames.items():
        marker = _marker(name, Marker.SPHERE, _FRAME_M, _COLOURS.get(name, _OBJECT))
        marker.pose.position = _point(to_frame, point)
        yield marker
    path = _marker("path", Marker.LINE_STRIP, _PATH_M, scene.colour)
    path.points = [_point(to_frame, place.point) for place in scene.path]
    path.colors = [_colour(place.colour) for place in scene.path]
    yield path
    if scene.box is not None:
        low, high = scene.box
        corners = [[(high if corner >> axis & 1 else low)[axis] for axis in range(3)] for corner in range(8)]
        box = _marker("workspace", Marker.LINE_LIST, _BOX_M, (0.8, 0.1, 0.1))
        box.points = [_point(to_frame, corners[end]) for edge in _EDGES for end in edge]
        yield box
    if scene.moving_frame:
        text = _marker("state", Marker.TEXT_VIEW_FACING, _TEXT_M, (0.1, 0.1, 0.1))
        x, y, z = scene.frames[scene.moving_frame]
        text.pose.position = _point(to_frame, (x, y, z + 0.15))
        text.text = ", ".join(f"{name} {state}" for name, state in scene.states.items())
        yield text


def _marker(namespace: str, kind: int, size_m: float, colour: Colour) -> Marker:
    marker = Marker(ns=namespace, type=kind, action=Marker.ADD, color=_colour(colour))
    marker.scale.x = marker.scale.y = marker.scale.z = size_m
    return marker


def _point(to_frame: RigidTransform, point: Sequence[float]) -> Point:
    x, y, z = to_frame.point(point)
    return Point(x=x, y=y, z=z)


def _colour(colour: Colour) -> ColorRGBA:
    red, green, blue = colour
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)

"""What a live view shows of a run, as plain values: places of frames, paths, the workspace box, the running skill.

Pure logic without ROS; places are in the task's world [m].
"""

from __future__ import annotations

import colorsys
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reskill_core.arrays import Float64Array
from reskill_core.gate import GateConfig
from reskill_core.spec import GRIPPER_FRAME, TaskSpec

Point = tuple[float, float, float]
Colour = tuple[float, float, float]

_GREY: Colour = (0.55, 0.55, 0.55)
_BASE = "base"


@dataclass(frozen=True)
class Place:
    """Place on a path.

    Attributes:
        point: position [m].
        colour: colour of the skill that led there, red, green and blue from 0 to 1.
    """

    point: Point
    colour: Colour


@dataclass
class Scene:
    """State of a run.

    Attributes:
        task: the task.
        gate: limits of the driver file.
        length: number of places on the path.
        frames: position of each frame whose position is observed.
        path: places of the moving frame, the gripper or a mobile base.
        actions: newest actions (T, A), oldest first.
        colour: colour of the running skill.
        episode: number of the episode.
        step: control step within it.
        states: state of each node that publishes a status, by name.
    """

    task: TaskSpec
    gate: GateConfig
    length: int = 500
    frames: dict[str, Point] = field(default_factory=dict)
    path: deque[Place] = field(default_factory=deque)
    actions: deque[list[float]] = field(default_factory=deque)
    colour: Colour = _GREY
    episode: int = 0
    step: int = 0
    states: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._columns = {
            term.of[0]: self.task.obs.slice(term.name) for term in self.task.obs.terms if term.kind == "position"
        }
        # A base in the plane has no frame, but the joints of its odometry.
        self._planar = [
            self.task.obs.slice(term.name)
            for term in self.task.obs.terms
            if term.kind == "joint_position" and term.unit == "m" and term.size == 2
            if GRIPPER_FRAME not in self._columns
        ]
        self.path = deque(maxlen=self.length)
        self.actions = deque(maxlen=self.length)

    @property
    def moving_frame(self) -> str:
        """Name of the frame whose path is shown; empty if none is observed."""
        return next((name for name in (GRIPPER_FRAME, _BASE) if name in self.frames), "")

    def observe(self, vector: Float64Array, episode: int, step: int) -> None:
        """Take an observation (O,); a new episode starts a new path."""
        if episode != self.episode or step == 0:
            self.path.clear()
            self.actions.clear()
        self.episode, self.step = episode, step
        self.frames = {name: _point(vector[columns]) for name, columns in self._columns.items()}
        for columns in self._planar:
            self.frames[_BASE] = _point([*vector[columns], 0.0])
        if self.moving_frame:
            self.path.append(Place(self.frames[self.moving_frame], self.colour))

    def act(self, action: Sequence[float], latent: Sequence[float]) -> None:
        """Take an action and the latent of the skill that it belongs to; without a latent, the colour is grey."""
        self.actions.append([round(float(value), 4) for value in action])
        self.colour = skill_colour(latent)

    @property
    def box(self) -> tuple[Point, Point] | None:
        """Corners of the workspace box; None if there is none."""
        low, high = self.gate.workspace_low, self.gate.workspace_high
        return (_point(low), _point(high)) if low and high else None

    def document(self) -> dict[str, Any]:
        """Return everything as JSON values, for the page."""
        box = self.box
        return {
            "task": self.task.name,
            "frames": {name: list(point) for name, point in self.frames.items()},
            "moving": self.moving_frame,
            "path": [[*place.point, _hex(place.colour)] for place in self.path],
            "box": [list(corner) for corner in box] if box else None,
            "components": list(self.task.action.names),
            "actions": list(self.actions),
            "colour": _hex(self.colour),
            "episode": self.episode,
            "step": self.step,
            "states": dict(self.states),
        }


def skill_colour(latent: Sequence[float]) -> Colour:
    """Return a colour for a latent; equal latents have equal colours, others mostly different ones."""
    if not len(latent):
        return _GREY
    digest = hashlib.sha256(",".join(f"{value:.4f}" for value in latent).encode()).digest()
    red, green, blue = colorsys.hls_to_rgb(digest[0] / 255, 0.45, 0.8)
    return red, green, blue


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _point(values: Sequence[float] | Float64Array) -> Point:
    x, y, z = (round(float(value), 5) for value in values)
    return x, y, z

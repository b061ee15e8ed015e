"""Scripts of the subtasks: phases with a place for the hand, which end when it is there or when something has moved."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_sim.kitchen.subtasks import SUBTASKS

OPEN, CLOSED = 1.0, -1.0
FREE_TURN = (0.1, 1.0, 1.0)
# About a vertical handle between the fingers, the hand turns as the arm likes.
ROUND_HANDLE = (0.05, 1.0, 0.3)


# A movement in joint space ends when all joints are this close [rad].
ARRIVED_RAD = 0.08


@dataclass(frozen=True)
class Phase:
    """Phase of a script.

    Attributes:
        offset: place of the grip from the handle, in world axes [m].
        back: then backwards along the direction in which the fingers point [m].
        along_hand: backwards from where the fingers point now, not from where they should.
        yaw: turn of the hand to the left, from pointing straight at the cabinets [rad].
        pitch: then upwards [rad].
        follow: turn of the hand per turn of what it moves.
        turn: weights of the orientation about the hand's axes (up, to the right, forward at yaw and pitch 0).
        fingers: action of the fingers.
        step_m: largest movement in a control step [m].
        near_m: the phase ends this close to the place [m]; 0 never.
        near_rad: and this close to the orientation, or to the joint positions [rad].
        ahead: the handle is where it would be this much further [rad, m].
        until: the phase ends when the coordinate is there instead, counted from 0 in the direction of the subtask.
        lost_m: the phase ends when the handle is this far from where the hand should hold it [m].
        force_n: force in the direction of the handle's movement [N].
        by_joints: straight in joint space, to the joint positions for that place in the kitchen as it is at the start.
        steps: the phase ends after this many control steps at the latest.
    """

    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    back: float = 0.0
    along_hand: bool = False
    yaw: float = 0.0
    pitch: float = 0.0
    follow: float = 0.0
    turn: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fingers: float = CLOSED
    step_m: float = 0.05
    near_m: float = 0.0
    near_rad: float = 0.3
    ahead: float = 0.0
    until: float = float("nan")
    lost_m: float = float("inf")
    force_n: float = 0.0
    by_joints: bool = False
    steps: int = 10


def _microwave() -> tuple[Phase, ...]:
    """Grip the handle as deep as it goes, pull the door along its arc."""
    return (
        Phase(back=0.10, yaw=0.25, fingers=OPEN, by_joints=True, near_rad=ARRIVED_RAD, steps=45),
        Phase(back=-0.03, yaw=0.25, fingers=OPEN, near_m=0.015, steps=12),
        Phase(back=-0.03, yaw=0.25, steps=4),
        Phase(
            back=-0.03,
            yaw=0.25,
            follow=0.25,
            turn=ROUND_HANDLE,
            ahead=0.3,
            until=0.62,
            lost_m=0.06,
            step_m=0.04,
            force_n=12,
            steps=30,
        ),
        Phase(yaw=0.25, follow=0.25, turn=ROUND_HANDLE, fingers=OPEN, steps=3),
        Phase(back=0.09, yaw=0.25, follow=0.25, turn=ROUND_HANDLE, fingers=OPEN, near_m=0.03, near_rad=9, steps=8),
    )


def _hinge_cabinet() -> tuple[Phase, ...]:
    """The same with the cabinet's door; then down, so that the door is not in the way."""
    low = (0.0, 0.0, -0.06)
    return (
        Phase(low, back=0.10, fingers=OPEN, by_joints=True, near_rad=ARRIVED_RAD, steps=45),
        Phase(low, fingers=OPEN, near_m=0.015, steps=12),
        Phase(low, steps=4),
        Phase(low, follow=0.5, turn=ROUND_HANDLE, ahead=0.4, until=1.19, lost_m=0.06, steps=40),
        Phase(low, follow=0.5, turn=ROUND_HANDLE, fingers=OPEN, steps=3),
        Phase(
            low,
            back=0.10,
            along_hand=True,
            follow=0.5,
            turn=ROUND_HANDLE,
            fingers=OPEN,
            near_m=0.04,
            near_rad=9,
            steps=8,
        ),
        Phase((0.08, -0.08, -0.32), fingers=OPEN, near_m=0.08, steps=12),
    )


def _knob(pitch: float, until: float) -> tuple[Phase, ...]:
    """Push the upper end of the knob to the right with closed fingers.

    Their side is parallel to the knob's: an edge against its front would hold it by friction.
    """
    yaw = -0.25
    return (
        # From before it, so that the hand does not run along below the knobs on its way.
        Phase((-0.035, -0.20, -0.08), yaw=yaw, pitch=pitch, by_joints=True, near_rad=0.35, steps=45),
        Phase((-0.035, -0.06, 0.0), yaw=yaw, pitch=pitch, by_joints=True, near_rad=ARRIVED_RAD, steps=20),
        Phase((-0.035, -0.02, 0.0), yaw=yaw, pitch=pitch, near_m=0.015, steps=8),
        Phase((-0.018, -0.02, 0.0), yaw=yaw, pitch=pitch, ahead=0.9, until=until, force_n=40, steps=30),
        Phase((-0.05, -0.16, 0.0), yaw=yaw, pitch=pitch, near_m=0.08, steps=6),
    )


def _light_switch() -> tuple[Phase, ...]:
    """Push the switch to the left with closed fingers."""
    return (
        Phase((0.065, -0.09, 0.0), by_joints=True, near_rad=ARRIVED_RAD, steps=45),
        Phase((0.05, 0.0, 0.0), near_m=0.015, steps=8),
        Phase((0.03, 0.0, 0.0), ahead=0.5, until=0.6, force_n=20, steps=20),
        Phase((0.05, -0.16, 0.0), near_m=0.08, steps=6),
    )


def _kettle() -> tuple[Phase, ...]:
    """Push the kettle to the back with open fingers, which keep it straight."""
    return (
        # From above and before it, so that the hand does not strike the kettle on its way.
        Phase((-0.08, -0.24, 0.40), pitch=-0.2, fingers=OPEN, by_joints=True, near_rad=0.35, steps=45),
        Phase((0.0, -0.21, 0.08), pitch=-0.4, fingers=OPEN, by_joints=True, near_rad=ARRIVED_RAD, steps=20),
        Phase((0.0, -0.14, 0.08), pitch=-0.4, fingers=OPEN, ahead=0.06, until=0.62, step_m=0.04, steps=30),
        Phase((0.0, -0.30, 0.22), pitch=-0.3, fingers=OPEN, near_m=0.08, steps=10),
    )


def _slide_cabinet() -> tuple[Phase, ...]:
    """Take the handle between open fingers and move it to the right."""
    return (
        Phase((0.0, -0.12, -0.05), yaw=0.05, fingers=OPEN, by_joints=True, near_rad=ARRIVED_RAD, steps=45),
        Phase((0.0, 0.01, -0.05), yaw=0.05, fingers=OPEN, near_m=0.015, steps=10),
        Phase((0.03, 0.01, -0.05), yaw=0.05, turn=FREE_TURN, fingers=OPEN, ahead=0.15, until=0.17, steps=20),
        Phase((0.0, -0.16, -0.05), yaw=0.05, fingers=OPEN, near_m=0.06, steps=8),
    )


def _slide_cabinet_from_the_right() -> tuple[Phase, ...]:
    """The same past the open door of the other cabinet: below it, up on the right, and back."""
    return (
        Phase((0.14, -0.25, -0.33), yaw=0.3, fingers=OPEN, by_joints=True, near_rad=ARRIVED_RAD, steps=45),
        Phase((0.10, -0.12, -0.05), yaw=0.6, fingers=OPEN, by_joints=True, near_rad=ARRIVED_RAD, steps=30),
        Phase((0.02, -0.05, -0.05), yaw=0.6, fingers=OPEN, near_m=0.02, steps=10),
        Phase((0.0, 0.01, -0.05), yaw=0.6, fingers=OPEN, near_m=0.015, steps=10),
        Phase((0.03, 0.01, -0.05), yaw=0.6, turn=FREE_TURN, fingers=OPEN, ahead=0.15, until=0.17, steps=20),
        Phase((0.06, -0.12, -0.05), yaw=0.6, fingers=OPEN, near_m=0.06, steps=6),
        Phase((0.10, -0.25, -0.35), yaw=0.3, fingers=OPEN, near_m=0.12, steps=10),
    )


# By subtask, in the order of ``SUBTASKS``; then the second way to the sliding cabinet.
SCRIPTS: dict[str, tuple[Phase, ...]] = {
    "microwave": _microwave(),
    "kettle": _kettle(),
    "bottom_burner": _knob(pitch=0.0, until=0.72),
    # From below, so that the hand fits under an open door.
    "top_burner": _knob(pitch=0.35, until=0.76),
    "light_switch": _light_switch(),
    "slide_cabinet": _slide_cabinet(),
    "hinge_cabinet": _hinge_cabinet(),
}
FROM_THE_RIGHT = _slide_cabinet_from_the_right()
# Angle of the door of the hinge cabinet from which it is in the way [rad].
DOOR_OPEN_RAD = 0.5

# Postures with the elbow low on the right, from which the arm gets to all places without turning over [rad].
POSTURES: dict[str, tuple[float, ...]] = {
    "microwave": (-1.2, -1.70, 1.95, -1.4, -0.8, 1.05, 2.4),
    "kettle": (-0.6, -1.70, 2.45, -2.4, 0.5, 1.6, 1.75),
    "bottom_burner": (-1.1, -1.35, 1.4, -2.25, -0.1, 1.6, 1.4),
    "top_burner": (-1.1, -1.15, 1.25, -2.1, -0.1, 1.5, 1.2),
    "light_switch": (-1.1, -1.2, 1.4, -2.3, 0.1, 1.85, 1.1),
    "slide_cabinet": (-0.6, -0.5, 0.7, -2.0, 0.0, 1.7, 0.3),
    "hinge_cabinet": (-1.2, -1.0, 1.35, -1.5, 0.05, 1.15, 0.9),
}
assert list(SCRIPTS) == list(POSTURES) == list(SUBTASKS)

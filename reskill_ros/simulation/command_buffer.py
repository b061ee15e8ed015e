"""The newest command that each command topic brought, put together into what the robot is to do now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reskill_core.sensing import MessageError
from reskill_ros.simulation.sim_session import Command, Setpoint
from reskill_sim.fetch.constants import FINGER_JOINTS


@dataclass(frozen=True)
class _Part:
    setpoint: Setpoint
    stamp_ns: int
    received_s: float


class CommandBuffer:
    """Holds the newest arm and finger command. A stamp of 0 stands for "now", as in joint trajectories."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all commands: what was meant for the last episode must not move the next."""
        self._arm: _Part | None = None
        self._fingers: _Part | None = None

    def set_arm(self, setpoint: Setpoint, stamp_ns: int, received_s: float) -> None:
        """Take a command to the arm that arrived at ``received_s`` of the steady clock."""
        self._arm = _Part(setpoint, stamp_ns, received_s)

    def set_fingers(self, setpoint: Setpoint, stamp_ns: int, received_s: float) -> None:
        """Take a command to the fingers that arrived at ``received_s`` of the steady clock."""
        self._fingers = _Part(setpoint, stamp_ns, received_s)

    def take_answer(self, stamp_ns: int) -> Command | None:
        """The command that answers the state of that stamp, once: None until both parts of it are there."""
        arm, fingers = self._arm, self._fingers
        if arm is None or fingers is None:
            return None
        if any(part.stamp_ns not in (0, stamp_ns) for part in (arm, fingers)):
            return None
        self.clear()
        return Command(arm.setpoint, fingers.setpoint)

    def newest(self, earliest_ns: int, received_since_s: float) -> Command:
        """The newest command, with standstill in place of a part that is missing or too old.

        Args:
            earliest_ns: stamp of the episode's start: what is older was meant for the episode before.
            received_since_s: steady time from which on commands count as fresh.
        """

        def fresh(part: _Part | None, otherwise: Setpoint) -> Setpoint:
            if part is None or 0 < part.stamp_ns < earliest_ns:
                return otherwise
            # A position once given stays the goal; a velocity needs somebody who keeps looking.
            return part.setpoint if part.setpoint.is_position or part.received_s >= received_since_s else otherwise

        still = Command()
        return Command(fresh(self._arm, still.arm), fresh(self._fingers, still.fingers))


def finger_setpoint(positions: Mapping[str, float], velocities: Mapping[str, float]) -> Setpoint:
    """What a trajectory commands the fingers, which always move alike: a velocity if it has one, else a position.

    Raises:
        MessageError: ``unknown_joint``: it commands neither finger.
    """
    for joint in FINGER_JOINTS:
        if joint in velocities:
            return Setpoint((velocities[joint],))
        if joint in positions:
            return Setpoint((positions[joint],), is_position=True)
    named = ", ".join({**positions, **velocities}) or "none"
    raise MessageError("unknown_joint", f"gripper command names no finger ({', '.join(FINGER_JOINTS)}), but {named}")

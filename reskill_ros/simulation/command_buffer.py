"""Buffer of the newest setpoint of each action component from the command topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Setpoint:
    """Setpoint of one action component for one control period.

    Attributes:
        value: setpoint in the unit of the component, or for a velocity component a final position [m or rad].
        is_place: whether the setpoint is a position.
    """

    value: float
    is_place: bool = False


# Setpoints by component; a component without one does not move.
Command = Mapping[str, Setpoint]


@dataclass(frozen=True)
class _Received:
    setpoint: Setpoint
    stamp_ns: int
    received_s: float


class CommandBuffer:
    """Buffer of the newest setpoint of each component. A stamp of 0 means "now", as in joint trajectories."""

    def __init__(self) -> None:
        self._received: dict[str, _Received] = {}

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components with a setpoint."""
        return tuple(self._received)

    def clear(self) -> None:
        """Remove all setpoints, so that commands of the last episode do not affect the next one."""
        self._received.clear()

    def take(self, setpoints: Command, stamp_ns: int, received_s: float) -> None:
        """Add setpoints that arrived at ``received_s`` of the steady clock."""
        for name, setpoint in setpoints.items():
            self._received[name] = _Received(setpoint, stamp_ns, received_s)

    def pop_answer(self, stamp_ns: int, components: Sequence[str]) -> Command | None:
        """Remove and return the command in response to the state of a stamp; None until it is complete."""
        received = [self._received.get(name) for name in components]
        if any(item is None or item.stamp_ns not in (0, stamp_ns) for item in received):
            return None
        answer = {name: self._received[name].setpoint for name in components}
        self.clear()
        return answer

    def newest(self, earliest_ns: int, received_since_s: float) -> Command:
        """Return the newest command without outdated setpoints.

        Args:
            earliest_ns: stamp of the episode's start: what is older was meant for the episode before.
            received_since_s: steady time from which on commands count as fresh.
        """

        def fresh(item: _Received) -> bool:
            if 0 < item.stamp_ns < earliest_ns:
                return False
            # A position setpoint remains valid; a velocity setpoint must be refreshed.
            return item.setpoint.is_place or item.received_s >= received_since_s

        return {name: item.setpoint for name, item in self._received.items() if fresh(item)}

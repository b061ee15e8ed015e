"""The newest setpoint that the command topics brought for each component of the action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Setpoint:
    """What one component of the action is to do over one control period.

    Attributes:
        value: in the unit of the component, or, of a velocity, the place to be at in the end [m or rad].
        is_place: which of the two.
    """

    value: float
    is_place: bool = False


# Setpoints by component; a component without one is to stand still.
Command = Mapping[str, Setpoint]


@dataclass(frozen=True)
class _Received:
    setpoint: Setpoint
    stamp_ns: int
    received_s: float


class CommandBuffer:
    """Holds the newest setpoint of each component. A stamp of 0 stands for "now", as in joint trajectories."""

    def __init__(self) -> None:
        self._received: dict[str, _Received] = {}

    @property
    def components(self) -> tuple[str, ...]:
        """The components that there are setpoints of."""
        return tuple(self._received)

    def clear(self) -> None:
        """Forget all setpoints: what was meant for the last episode must not move the next."""
        self._received.clear()

    def take(self, setpoints: Command, stamp_ns: int, received_s: float) -> None:
        """Take setpoints that arrived at ``received_s`` of the steady clock."""
        for name, setpoint in setpoints.items():
            self._received[name] = _Received(setpoint, stamp_ns, received_s)

    def pop_answer(self, stamp_ns: int, components: Sequence[str]) -> Command | None:
        """The command that answers the state of that stamp, once: None until all components of it are there."""
        received = [self._received.get(name) for name in components]
        if any(item is None or item.stamp_ns not in (0, stamp_ns) for item in received):
            return None
        answer = {name: self._received[name].setpoint for name in components}
        self.clear()
        return answer

    def newest(self, earliest_ns: int, received_since_s: float) -> Command:
        """The newest command, without what is too old.

        Args:
            earliest_ns: stamp of the episode's start: what is older was meant for the episode before.
            received_since_s: steady time from which on commands count as fresh.
        """

        def fresh(item: _Received) -> bool:
            if 0 < item.stamp_ns < earliest_ns:
                return False
            # A place once given stays the goal; a velocity needs somebody who keeps looking.
            return item.setpoint.is_place or item.received_s >= received_since_s

        return {name: item.setpoint for name, item in self._received.items() if fresh(item)}

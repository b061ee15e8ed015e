"""States of the gate and their transitions."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from reskill_core.errors import ReskillError
from reskill_core.gate.config import GateConfig


class GateError(ReskillError):
    """A request is not allowed in the gate's state."""


class GateState(str, Enum):
    """State of the gate.

    DISARMED: nothing passes until the gate is armed. HOLDING: armed; the robot stands still until enough fresh commands
    have arrived, and the gate disarms if that takes too long. ACTIVE: commands pass. ESTOPPED and ABORTED: latched; a
    reset leads back to DISARMED.
    """

    DISARMED = "disarmed"
    HOLDING = "holding"
    ACTIVE = "active"
    ESTOPPED = "estopped"
    ABORTED = "aborted"


class GateStates:
    """State machine of a gate, with the transitions caused by users, the e-stop and time.

    Attributes:
        config: limits of the gate.
        state: the current state.
        explanation: reason for the state, for messages.
        interrupted: whether it holds or has disarmed because of missing input, not on request.
        counters: numbers of events.
    """

    config: GateConfig

    def __init__(self) -> None:
        """Start disarmed."""
        self.state = GateState.DISARMED
        self.explanation = "waiting to be armed"
        self.interrupted = False
        self.counters: Counter[str] = Counter()
        self._estop_pressed = False
        self._estop_heard_s: float | None = None
        self._held_since_s: float | None = None
        self._armed_since_s = 0.0

    @property
    def latched(self) -> bool:
        """Whether the gate is stopped until an explicit reset."""
        return self.state in (GateState.ESTOPPED, GateState.ABORTED)

    def inherit(self, previous: GateStates) -> None:
        """Take over a latched stop and the state of the e-stop from the gate that this one replaces."""
        self._estop_pressed = previous._estop_pressed
        if previous.latched:
            self._enter(previous.state, previous.explanation)

    def arm(self, steady_s: float) -> None:
        """Let commands pass once enough fresh ones have arrived.

        Raises:
            GateError: a latched stop has not been reset, or the e-stop source is silent.
        """
        if self.latched:
            raise GateError(f"cannot arm while {self.state.value} ({self.explanation}); call reset first")
        if self._estop_silent(steady_s):
            raise GateError("cannot arm: the e-stop topic is silent; start its source or set estop_timeout_s to 0")
        if self.state is GateState.DISARMED:
            self._armed_since_s = steady_s
            self._hold(f"armed, waiting for {self.config.resume_after} fresh commands")

    def disarm(self) -> None:
        """Disarm; a latched stop stays latched. The caller has to send the safe command."""
        if not self.latched:
            self._enter(GateState.DISARMED, "stopped on request")

    def estop(self, pressed: bool, steady_s: float) -> bool:
        """Record the state of the e-stop button, or a heartbeat of its topic.

        Returns:
            True if the safe command must be sent now.
        """
        self._estop_pressed = pressed
        self._estop_heard_s = steady_s
        if pressed and self.state is not GateState.ESTOPPED:
            self._enter(GateState.ESTOPPED, "emergency stop pressed")
        return pressed

    def reset(self) -> None:
        """Release a latched stop; the gate is disarmed afterwards. The caller has to send the safe command.

        Raises:
            GateError: the e-stop is still pressed.
        """
        if self._estop_pressed:
            raise GateError("cannot reset: the emergency stop is still pressed")
        self._enter(GateState.DISARMED, "reset, waiting to be armed")

    def _watch_duration(self, steady_s: float) -> bool:
        """Disarm at the end of a timed run; returns True if the safe command must be sent now."""
        limit_s, was_active = self.config.max_duration_s, self.state is GateState.ACTIVE
        armed = self.state in (GateState.ACTIVE, GateState.HOLDING)
        if not armed or not 0 < limit_s < steady_s - self._armed_since_s:
            return False
        self._enter(GateState.DISARMED, f"{limit_s:g} s are over, as long as a run may take; arm again to go on")
        return was_active

    def _watch_holding(self, steady_s: float) -> None:
        # No safe command: the robot is at rest already, and it would reach a driver that has come back meanwhile.
        limit_s = self.config.disarm_after_s
        if self._held_since_s is None:
            self._held_since_s = steady_s
        elif 0 < limit_s < steady_s - self._held_since_s:
            self.counters["disarmed_after_holding"] += 1
            self._enter(GateState.DISARMED, f"held for {limit_s:g} s ({self.explanation}); arm again to go on")
            self.interrupted = True

    def _estop_silent(self, steady_s: float) -> bool:
        timeout_s = self.config.estop_timeout_s
        return timeout_s > 0 and (self._estop_heard_s is None or steady_s - self._estop_heard_s > timeout_s)

    def _hold(self, explanation: str) -> None:
        self._enter(GateState.HOLDING, explanation)
        self._held_since_s = None

    def _enter(self, state: GateState, explanation: str) -> None:
        self.state, self.explanation, self.interrupted = state, explanation, False

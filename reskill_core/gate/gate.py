"""Gate of one robot: checks, limits and monitors its commands."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from reskill_core.errors import SpecError
from reskill_core.gate.config import GateConfig
from reskill_core.gate.limits import ActionLimits
from reskill_core.gate.states import GateState, GateStates
from reskill_core.spec import ActionSpec

_NS = 1e9


@dataclass(frozen=True)
class Decision:
    """Decision on a command.

    Attributes:
        action: the action to execute now, float32; None to send nothing.
        stop: whether to send the safe command now.
        reason: reason of a refusal; empty if the action is executed.
    """

    action: array[float] | None = None
    stop: bool = False
    reason: str = ""


class Gate(GateStates):
    """Gate that checks, limits and monitors the commands to one robot.

    Attributes:
        actions: layout of the actions.
        counters: numbers of commands offered, passed, changed, and refused by reason.
        absent_driver: the command topics without a subscribed driver; empty if each has one.
        missing_feedback: what commands need and the driver does not provide; empty if nothing.
        last_refusal: reason of the last refusal.
    """

    def __init__(
        self, config: GateConfig, action_spec: ActionSpec, control_period_s: float, needs_position: bool = False
    ) -> None:
        """Start disarmed.

        Args:
            config: the limits.
            action_spec: layout of the actions.
            control_period_s: time for which an action is held [s].
            needs_position: whether commands are relative to the robot's position, so that nothing passes without a
                recent one.

        Raises:
            SpecError: the limits do not fit the actions.
        """
        super().__init__()
        self.actions = action_spec
        self._dim = action_spec.dim
        self._period_s = control_period_s
        self._adapter_needs_position = needs_position
        self.configure(config)
        self.last_refusal = ""
        self.absent_driver = ""
        self.missing_feedback = ""
        self._driver_unknown = False
        self._executed = array("f", [0.0] * self._dim)
        self._forget()

    def _forget(self) -> None:
        self._newest_stamp_ns: int | None = None
        self._executed_stamp_ns: int | None = None
        self._counted_stamp_ns: int | None = None
        self._newest_executed_ns = 0
        self._received_s = -math.inf
        self._position: tuple[float, ...] | None = None
        self._position_stamp_ns = 0
        self._fresh = self._bad_in_a_row = self._clamped_in_a_row = 0

    def configure(self, config: GateConfig) -> None:
        """Change the limits.

        Raises:
            SpecError: they do not fit the actions.
        """
        faults = config.misfits(self.actions)
        if faults:
            raise SpecError("; ".join(faults))
        self.config = config
        self._limits = ActionLimits(self.actions, self._period_s, config)

    @property
    def needs_position(self) -> bool:
        """Whether commands are refused without a recent position of the end effector or joints that they move."""
        return self._adapter_needs_position or self._limits.need_place

    @property
    def clamp_ratio(self) -> float:
        """Share of the executed commands that had to be clamped to their limits."""
        return self.counters["clamped"] / max(self.counters["passed"], 1)

    def forget(self) -> bool:
        """Forget all stamps after a clock jump; an active gate holds until fresh commands arrive.

        Returns:
            True if the safe command must be sent now.
        """
        moving = self.state is GateState.ACTIVE
        if moving:
            self._hold("the clock jumped")
        self._forget()
        return moving

    def observe_position(self, measured: Sequence[float], stamp_ns: int) -> None:
        """Record the measured position that each action component changes [m or rad]."""
        self._position = tuple(measured) if all(map(math.isfinite, measured)) else None
        self._position_stamp_ns = stamp_ns

    def observe_driver(self, absent: str, unknown: bool = False, returned: bool = False) -> bool:
        """Record whether a driver is subscribed; call before each :meth:`offer` and :meth:`watch`.

        Without a driver nothing passes, and commands from before its arrival do not count as fresh.

        Args:
            absent: the command topics without a subscribed driver, for messages; empty if each has one.
            unknown: whether there is a new subscriber that may be a restarted driver: meanwhile nothing passes.
            returned: whether a new driver has replaced the one that received the commands.

        Returns:
            True if the safe command must be sent now.
        """
        self.absent_driver, self._driver_unknown = absent, unknown
        if not absent and not returned:
            return False
        self._fresh = 0
        if self.state is not GateState.ACTIVE:
            return False
        self.counters["driver_losses"] += 1
        self._hold(f"no driver listens on {absent}" if absent else "the driver was started again")
        self.interrupted = True
        return True

    def observe_feedback(self, missing: str) -> bool:
        """Record what the driver's commands need and it does not provide; call like :meth:`observe_driver`.

        Args:
            missing: for messages; empty if nothing is missing.

        Returns:
            True if the safe command must be sent now.
        """
        self.missing_feedback = missing
        if not missing or self.state is not GateState.ACTIVE:
            return False
        self.counters["feedback_losses"] += 1
        self._hold(f"no {missing}")
        self.interrupted = True
        return True

    def offer(self, action: Sequence[float], stamp_ns: int, steady_s: float, now_ns: int) -> Decision:
        """Decide on a command.

        Args:
            action: the action, one number per component.
            stamp_ns: stamp of the answered observation, on the ROS clock.
            steady_s: receive time, on a steady clock.
            now_ns: current time, on the ROS clock.
        """
        # Checked first, because comparisons with NaN are false and no later check or clamp would catch it.
        if not all(map(math.isfinite, action)):
            return self._refuse_bad("non_finite")
        if len(action) != self._dim:
            return self._refuse_bad("wrong_size")
        reason = self._untimely(stamp_ns, now_ns)
        if reason:
            return self._refuse(reason)
        self._newest_stamp_ns = stamp_ns
        self._bad_in_a_row = 0
        if self.state not in (GateState.ACTIVE, GateState.HOLDING):
            return self._refuse(self.state.value)
        if self.absent_driver or self._driver_unknown:
            return self._refuse("no_driver" if self.absent_driver else "driver_unknown")
        if self.missing_feedback:
            return self._refuse("no_feedback")
        if stamp_ns == self._executed_stamp_ns:
            # The same action again, for a driver in lockstep that asked again: it does not feed the watchdog.
            self.counters["repeated"] += 1
            return Decision(action=self._executed)
        if self.state is GateState.HOLDING and not self._warm(stamp_ns, steady_s):
            return self._refuse("warming_up")
        return self._execute(action, stamp_ns, steady_s)

    def watch(self, steady_s: float, now_ns: int) -> bool:
        """Check time-outs; call at least once per control period.

        Returns:
            True if the safe command must be sent now.
        """
        if self.state in (GateState.ACTIVE, GateState.HOLDING) and self._estop_silent(steady_s):
            self._enter(GateState.ESTOPPED, f"no e-stop heartbeat for {self.config.estop_timeout_s:g} s")
            return True
        if self._watch_duration(steady_s):
            return True
        timeout_s = self.config.command_timeout_s
        silence_s = steady_s - self._received_s
        if self.state is GateState.HOLDING:
            self._watch_holding(steady_s)
            if silence_s > timeout_s:
                self._fresh = 0
        if self.state is not GateState.ACTIVE:
            return False
        age_s = max(silence_s, (now_ns - self._newest_executed_ns) / _NS)
        if age_s <= timeout_s:
            return False
        self.counters["timeouts"] += 1
        self._hold(f"no fresh command for {timeout_s:g} s")
        self.interrupted = True
        return True

    def _untimely(self, stamp_ns: int, now_ns: int) -> str:
        age_s = (now_ns - stamp_ns) / _NS
        if -age_s > self.config.future_tolerance_s:
            return "future"
        if age_s > self.config.command_timeout_s:
            return "stale"
        if self._newest_stamp_ns is not None and stamp_ns < self._newest_stamp_ns:
            return "reordered"
        return ""

    def _warm(self, stamp_ns: int, steady_s: float) -> bool:
        if stamp_ns != self._counted_stamp_ns:
            self._fresh += 1
            self._counted_stamp_ns = stamp_ns
        self._received_s = steady_s
        return self._fresh >= self.config.resume_after

    def _execute(self, action: Sequence[float], stamp_ns: int, steady_s: float) -> Decision:
        place = self._position if self.needs_position else None
        if self.needs_position and (place is None or self._position_age_s(stamp_ns) > self.config.command_timeout_s):
            return self._refuse("position_unknown")
        # Motion starts from standstill.
        previous = self._executed if self.state is GateState.ACTIVE else self._limits.start(place)
        limited = self._limits.limit(action, previous, place)
        self.counters["step_limited"] += limited.step
        self.counters["workspace_limited"] += limited.workspace
        self.counters["clamped"] += limited.clamped
        self._clamped_in_a_row = self._clamped_in_a_row + 1 if limited.clamped else 0
        if 0 < self.config.abort_after_clamped <= self._clamped_in_a_row:
            return self._abort(f"{self._clamped_in_a_row} commands in a row beyond [-1, 1]")
        self.counters["passed"] += 1
        self._executed = array("f", limited.action)
        self._executed_stamp_ns = self._newest_executed_ns = stamp_ns
        self._received_s = steady_s
        if self.state is GateState.HOLDING:
            self.state, self.explanation, self.interrupted = GateState.ACTIVE, "commands pass", False
        return Decision(action=self._executed)

    def _position_age_s(self, stamp_ns: int) -> float:
        return abs(stamp_ns - self._position_stamp_ns) / _NS

    def _refuse(self, reason: str) -> Decision:
        self.counters[f"refused_{reason}"] += 1
        self.last_refusal = reason
        return Decision(reason=reason)

    def _refuse_bad(self, reason: str) -> Decision:
        self._bad_in_a_row += 1
        decision = self._refuse(reason)
        armed = self.state in (GateState.ACTIVE, GateState.HOLDING)
        if armed and self._bad_in_a_row >= self.config.abort_after_bad:
            return self._abort(f"{self._bad_in_a_row} bad commands in a row, the last one {reason}")
        return decision

    def _abort(self, explanation: str) -> Decision:
        self.counters["aborts"] += 1
        self._enter(GateState.ABORTED, explanation)
        return Decision(stop=True, reason="aborted")

    def _hold(self, explanation: str) -> None:
        super()._hold(explanation)
        self._fresh = 0
        self._counted_stamp_ns = self._executed_stamp_ns = None

    def _enter(self, state: GateState, explanation: str) -> None:
        super()._enter(state, explanation)
        self._bad_in_a_row = self._clamped_in_a_row = 0

"""The gate of one robot: checks, limits and watches the commands to it."""

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
    """What to do about a command.

    Attributes:
        action: the action to execute now, float32; None to send nothing.
        stop: send the safe command now.
        reason: why nothing is executed; empty if something is.
    """

    action: array[float] | None = None
    stop: bool = False
    reason: str = ""


class Gate(GateStates):
    """Checks, limits and watches the commands to one robot.

    Attributes:
        actions: layout of the actions that it takes.
        counters: how many commands were offered, passed, changed, and refused for which reason.
        absent_driver: the command topics on which no driver listens; empty if there is a driver.
        last_refusal: the last reason for which a command was refused.
    """

    def __init__(
        self, config: GateConfig, action_spec: ActionSpec, control_period_s: float, needs_position: bool = False
    ) -> None:
        """Start disarmed.

        Args:
            config: its limits.
            action_spec: layout of the actions.
            control_period_s: time one action is held [s].
            needs_position: commands start from where the robot is: without a recent position nothing passes.

        Raises:
            SpecError: the limits do not fit the actions.
        """
        super().__init__(config)
        self.actions = action_spec
        self._dim = action_spec.dim
        self._period_s = control_period_s
        self._adapter_needs_position = needs_position
        self.configure(config)
        self.last_refusal = ""
        self.absent_driver = ""
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
        """Use other limits from now on.

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
        """Whether nothing passes without a recent position of what the components move."""
        return self._adapter_needs_position or self._limits.need_place

    @property
    def clamp_ratio(self) -> float:
        """Share of the executed commands that had to be clamped to their limits."""
        return self.counters["clamped"] / max(self.counters["passed"], 1)

    def forget(self) -> bool:
        """Forget all stamps because the clock jumped; an active gate holds until fresh commands come.

        Returns:
            True if the safe command must be sent now.
        """
        moving = self.state is GateState.ACTIVE
        if moving:
            self._hold("the clock jumped")
        self._forget()
        return moving

    def observe_position(self, measured: Sequence[float], stamp_ns: int) -> None:
        """Take note of where what each action component moves is [m or rad]."""
        self._position = tuple(measured) if all(map(math.isfinite, measured)) else None
        self._position_stamp_ns = stamp_ns

    def observe_driver(self, absent: str, unknown: bool = False, returned: bool = False) -> bool:
        """Take note of whether a driver listens; call before each command and each watch.

        Without one nothing passes, and commands before it came do not count as fresh.

        Args:
            absent: the command topics on which no driver listens, for people; empty if one listens on each.
            unknown: somebody listens of whom it is not known yet whether it is a driver that has come back: meanwhile
                nothing passes, either.
            returned: a driver has taken the place of the one that commands went to.

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

    def offer(self, action: Sequence[float], stamp_ns: int, steady_s: float, now_ns: int) -> Decision:
        """Decide about a command.

        Args:
            action: the action, one number per component.
            stamp_ns: stamp of the observation it answers, on the ROS clock.
            steady_s: when it was received, on a steady clock.
            now_ns: the ROS clock now.
        """
        # Finite comes first: comparisons with NaN are false, so no later check or clamp would catch it.
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
        if stamp_ns == self._executed_stamp_ns:
            # The same answer again, because a driver in lockstep asked again: no sign of life.
            self.counters["repeated"] += 1
            return Decision(action=self._executed)
        if self.state is GateState.HOLDING and not self._warm(stamp_ns, steady_s):
            return self._refuse("warming_up")
        return self._execute(action, stamp_ns, steady_s)

    def watch(self, steady_s: float, now_ns: int) -> bool:
        """Notice silence, and that it lasts; call at least once per control period.

        Returns:
            True if the safe command must be sent now.
        """
        if self.state in (GateState.ACTIVE, GateState.HOLDING) and self._estop_silent(steady_s):
            self._enter(GateState.ESTOPPED, f"no e-stop heartbeat for {self.config.estop_timeout_s:g} s")
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

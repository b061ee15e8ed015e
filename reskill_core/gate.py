"""The gate: the last code before a driver. It decides which commands reach a robot, and when it must stop.

Pure logic without clocks: every time is handed in, both the steady receive time [s], which no clock change
can touch, and stamps on the ROS clock [ns]. What it decides, the command node carries out.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from reskill_core.errors import ReskillError, SpecError
from reskill_core.parameters import parameter
from reskill_core.spec import GRIPPER_VELOCITY, ActionSpec

_NS = 1e9


class GateError(ReskillError):
    """A request that the gate's state does not allow."""


class GateState(str, Enum):
    """Whether commands pass.

    DISARMED: nothing passes until somebody arms. HOLDING: armed, the robot stands still until enough fresh
    commands have come, and disarms when that takes too long. ACTIVE: commands pass. ESTOPPED and ABORTED: latched; a
    reset leads back to DISARMED.
    """

    DISARMED = "disarmed"
    HOLDING = "holding"
    ACTIVE = "active"
    ESTOPPED = "estopped"
    ABORTED = "aborted"


@dataclass(frozen=True)
class GateConfig:
    """Limits of the gate. Actions are in [-1, 1]; the action specification says what velocity that is."""

    command_timeout_s: float = parameter(
        0.12,
        "age of the newest command, by receive time or stamp, at which the robot holds still [s]",
        low=0.001,
        high=3600.0,
    )
    future_tolerance_s: float = parameter(
        0.1, "a command stamped further than this in the future is refused [s]", low=0.0, high=60.0
    )
    resume_after: int = parameter(3, "fresh commands needed before motion starts or resumes [-]", low=1, high=1000)
    disarm_after_s: float = parameter(
        5.0,
        "time of holding after which somebody has to arm again; 0 never disarms, for a simulator that may wait [s]",
        low=0.0,
        high=3600.0,
    )
    abort_after_bad: int = parameter(10, "non-finite or malformed commands in a row that abort [-]", low=1, high=10**6)
    abort_after_clamped: int = parameter(
        50, "commands in a row beyond [-1, 1] that abort the run; 0 never does [-]", low=0, high=10**6
    )
    max_step: tuple[float, ...] = parameter(
        (2.0,),
        "largest change of an action per command; one value, or one per component [-]",
        low=0.0,
        high=10.0,
    )
    speed_scale: float = parameter(
        1.0, "factor on all velocities but those of the fingers, whichever component they are [-]", low=0.0, high=1.0
    )
    workspace_low: tuple[float, ...] = parameter(
        (),
        "lower corner of the box the gripper frame stays in, as observed; empty: no box [m]",
        low=-1e3,
        high=1e3,
        read_only=True,
    )
    workspace_high: tuple[float, ...] = parameter((), "upper corner of the box [m]", low=-1e3, high=1e3, read_only=True)
    estop_timeout_s: float = parameter(
        0.0, "silence of the e-stop topic that counts as a stop; 0 needs no such topic [s]", low=0.0, high=3600.0
    )

    def violations(self) -> list[str]:
        """No step at all, and a box that is not one."""
        faults = []
        low, high = self.workspace_low, self.workspace_high
        if not self.max_step:
            faults.append("max_step: needs at least one value")
        if len(low) != len(high) or len(low) not in (0, 3):
            faults.append(f"workspace_low, workspace_high: both empty or three numbers, got {low}, {high}")
        elif any(a >= b for a, b in zip(low, high, strict=True)):
            faults.append(f"workspace_low {low} must be below workspace_high {high}")
        return faults

    def misfits(self, actions: ActionSpec) -> list[str]:
        """Limits that do not fit a layout of actions."""
        faults = []
        if len(self.max_step) not in (1, actions.dim):
            faults.append(
                f"max_step: has {len(self.max_step)} values, but the actions are {', '.join(actions.names)}; give one "
                "value, or one per action"
            )
        if self.workspace_low and len(actions.end_effector) != 3:
            faults.append(
                "workspace_low, workspace_high: a box needs actions that move the end effector along x, y and z; the "
                f"task's are {', '.join(actions.quantities)}"
            )
        return faults


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


class Gate:
    """Checks, limits and watches the commands to one robot.

    Attributes:
        actions: layout of the actions that it takes.
        state: whether commands pass.
        explanation: why it is in that state, for people.
        counters: how many commands were offered, passed, changed, and refused for which reason.
        interrupted: it holds or has disarmed because something stopped coming, not because somebody asked for it.
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
        self._scale = action_spec.scale
        self._period_s = control_period_s
        self.actions = action_spec
        self._dim = action_spec.dim
        self._moves = [quantity != GRIPPER_VELOCITY for quantity in action_spec.quantities]
        self._axes = action_spec.end_effector
        self._needs_position = needs_position
        self.configure(config)
        self.state = GateState.DISARMED
        self.explanation = "waiting to be armed"
        self.counters: Counter[str] = Counter()
        self.interrupted = False
        self.last_refusal = ""
        self.absent_driver = ""
        self._driver_unknown = False
        self._estop_pressed = False
        self._estop_heard_s: float | None = None
        self._held_since_s: float | None = None
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
        self._max_step = config.max_step if len(config.max_step) == self._dim else config.max_step * self._dim

    @property
    def clamp_ratio(self) -> float:
        """Share of the executed commands that had to be clamped to [-1, 1]."""
        return self.counters["clamped"] / max(self.counters["passed"], 1)

    @property
    def latched(self) -> bool:
        """Whether it has stopped until an explicit reset."""
        return self.state in (GateState.ESTOPPED, GateState.ABORTED)

    def inherit(self, previous: Gate) -> None:
        """Take over a latched stop, and whether the e-stop is pressed, from the gate that this one replaces."""
        self._estop_pressed = previous._estop_pressed
        if previous.latched:
            self._enter(previous.state, previous.explanation)

    def arm(self, steady_s: float) -> None:
        """Let commands pass once enough fresh ones have come.

        Raises:
            GateError: a latched stop has not been reset, or the e-stop source is silent.
        """
        if self.latched:
            raise GateError(f"cannot arm while {self.state.value} ({self.explanation}); call reset first")
        if self._estop_silent(steady_s):
            raise GateError("cannot arm: the e-stop topic is silent; start its source or set estop_timeout_s to 0")
        if self.state is GateState.DISARMED:
            self._hold(f"armed, waiting for {self.config.resume_after} fresh commands")

    def disarm(self) -> None:
        """Let nothing pass; a latched stop stays latched. The safe command has to follow."""
        if not self.latched:
            self._enter(GateState.DISARMED, "stopped on request")

    def estop(self, pressed: bool, steady_s: float) -> bool:
        """Take note of the e-stop button or of a heartbeat of its topic.

        Returns:
            True if the safe command must be sent now.
        """
        self._estop_pressed = pressed
        self._estop_heard_s = steady_s
        if pressed and self.state is not GateState.ESTOPPED:
            self._enter(GateState.ESTOPPED, "emergency stop pressed")
        return pressed

    def reset(self) -> None:
        """Release a latched stop; the gate is disarmed afterwards. The safe command has to follow.

        Raises:
            GateError: the e-stop is still pressed.
        """
        if self._estop_pressed:
            raise GateError("cannot reset: the emergency stop is still pressed")
        self._enter(GateState.DISARMED, "reset, waiting to be armed")

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

    def _watch_holding(self, steady_s: float) -> None:
        # The robot is at rest already; another safe command would reach a driver that has come back meanwhile.
        limit_s = self.config.disarm_after_s
        if self._held_since_s is None:
            self._held_since_s = steady_s
        elif 0 < limit_s < steady_s - self._held_since_s:
            self.counters["disarmed_after_holding"] += 1
            self._enter(GateState.DISARMED, f"held for {limit_s:g} s ({self.explanation}); arm again to go on")
            self.interrupted = True

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
        wanted = [min(max(value, -1.0), 1.0) for value in action]
        clamped = any(abs(value) > 1.0 for value in action)
        if self.config.speed_scale != 1.0:
            scale = self.config.speed_scale
            wanted = [value * scale if moves else value for value, moves in zip(wanted, self._moves, strict=True)]
        wanted = self._limit_step(wanted)
        if self.config.workspace_low or self._needs_position:
            if self._position is None or abs(stamp_ns - self._position_stamp_ns) / _NS > self.config.command_timeout_s:
                return self._refuse("position_unknown")
            if self.config.workspace_low:
                wanted = self._limit_workspace(wanted, self._position)
        self.counters["clamped"] += clamped
        self._clamped_in_a_row = self._clamped_in_a_row + 1 if clamped else 0
        if 0 < self.config.abort_after_clamped <= self._clamped_in_a_row:
            return self._abort(f"{self._clamped_in_a_row} commands in a row beyond [-1, 1]")
        self.counters["passed"] += 1
        self._executed = array("f", wanted)
        self._executed_stamp_ns = self._newest_executed_ns = stamp_ns
        self._received_s = steady_s
        if self.state is GateState.HOLDING:
            self.state, self.explanation, self.interrupted = GateState.ACTIVE, "commands pass", False
        return Decision(action=self._executed)

    def _limit_step(self, wanted: list[float]) -> list[float]:
        # Values within the limit are not touched, so that they pass bit for bit. Motion starts from standstill.
        previous: Sequence[float] = self._executed
        if self.state is not GateState.ACTIVE:
            previous = (0.0,) * self._dim
        limited = [
            value if abs(value - last) <= step else last + math.copysign(step, value - last)
            for value, last, step in zip(wanted, previous, self._max_step, strict=True)
        ]
        self.counters["step_limited"] += limited != wanted
        return limited

    def _limit_workspace(self, wanted: list[float], position: Sequence[float]) -> list[float]:
        limited = list(wanted)
        for axis, low, high in zip(self._axes, self.config.workspace_low, self.config.workspace_high, strict=True):
            place, reach = position[axis], self._scale[axis] * self._period_s
            # Outside the box only motion back towards it remains.
            upper = max((high - place) / reach, 0.0)
            lower = min((low - place) / reach, 0.0)
            limited[axis] = min(max(wanted[axis], lower), upper)
        self.counters["workspace_limited"] += limited != wanted
        return limited

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

    def _estop_silent(self, steady_s: float) -> bool:
        timeout_s = self.config.estop_timeout_s
        return timeout_s > 0 and (self._estop_heard_s is None or steady_s - self._estop_heard_s > timeout_s)

    def _hold(self, explanation: str) -> None:
        self._enter(GateState.HOLDING, explanation)
        self._fresh = 0
        self._held_since_s = None
        self._counted_stamp_ns = self._executed_stamp_ns = None

    def _enter(self, state: GateState, explanation: str) -> None:
        self.state, self.explanation, self.interrupted = state, explanation, False
        self._bad_in_a_row = self._clamped_in_a_row = 0

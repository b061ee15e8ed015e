"""Configuration of the gate."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.parameters import parameter
from reskill_core.spec import ActionSpec


@dataclass(frozen=True)
class GateConfig:
    """Limits of the gate. Actions are in [-1, 1]; the action specification defines the commands they stand for."""

    command_timeout_s: float = parameter(
        0.12,
        "age of the newest command, by receive time or stamp, after which the robot holds its position [s]",
        low=0.001,
        high=3600.0,
    )
    future_tolerance_s: float = parameter(
        0.1, "tolerance for command stamps in the future; later ones are refused [s]", low=0.0, high=60.0
    )
    resume_after: int = parameter(3, "fresh commands needed before motion starts or resumes [-]", low=1, high=1000)
    disarm_after_s: float = parameter(
        5.0,
        "time of holding after which the gate disarms; 0: never, for a simulator that may wait [s]",
        low=0.0,
        high=3600.0,
    )
    max_duration_s: float = parameter(
        0.0, "time after arming at which the gate disarms, for timed runs; 0: never [s]", low=0.0, high=86400.0
    )
    abort_after_bad: int = parameter(10, "consecutive invalid commands that abort [-]", low=1, high=10**6)
    abort_after_clamped: int = parameter(
        50, "consecutive commands beyond [-1, 1] that abort the run; 0: never [-]", low=0, high=10**6
    )
    max_step: tuple[float, ...] = parameter(
        (2.0,),
        "largest change of an action per command, for joint positions their speed; one value, or one per "
        "component; not for raw components [-]",
        low=0.0,
        high=10.0,
    )
    speed_scale: float = parameter(
        1.0,
        "factor on all velocities except those of the fingers, and on the speed of joint positions; not for raw "
        "components [-]",
        low=0.0,
        high=1.0,
    )
    workspace_low: tuple[float, ...] = parameter(
        (),
        "lower corner of the workspace box of the observed gripper frame; empty: no box [m]",
        low=-1e3,
        high=1e3,
        read_only=True,
    )
    workspace_high: tuple[float, ...] = parameter((), "upper corner of the box [m]", low=-1e3, high=1e3, read_only=True)
    estop_timeout_s: float = parameter(
        0.0,
        "timeout of the e-stop heartbeat that stops the robot; 0: none needed [s]",
        low=0.0,
        high=3600.0,
    )

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
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
        """List the limits that do not fit an action layout."""
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

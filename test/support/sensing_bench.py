"""A driver whose readings and times a test makes up: a task of one joint and two frames."""

from __future__ import annotations

from reskill_core.sensing import Sensing, SensingConfig, Tick
from reskill_core.spec import ObsSpec, TaskSpec, frame_term, joint_term

PERIOD_S = 0.04
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
TASK = TaskSpec(
    "probe",
    ObsSpec(
        frames=("gripper", "goal"),
        joints=("finger",),
        terms=(
            joint_term("finger", "joint_position", ("finger",)),
            joint_term("finger_displacement", "joint_displacement", ("finger",)),
            frame_term("gripper_position", "position", "gripper"),
            frame_term("gripper_displacement", "displacement", "gripper"),
        ),
    ),
    control_period_s=PERIOD_S,
)
ROBOT = SensingConfig(trigger="timer", timeout_s=0.12)
SIMULATOR = SensingConfig(trigger="synchronised", episodes=True, timeout_s=0.12)


class Driver:
    """Offers readings at times of its own choosing."""

    def __init__(self, config: SensingConfig, time_s: float = 100.0) -> None:
        self.sensing = Sensing(TASK, config)
        self.time_s = time_s

    @property
    def now_ns(self) -> int:
        return round(self.time_s * 1e9)

    def joints(self, age_s: float = 0.0, publisher: str = "", **positions: float) -> bool:
        stamp_ns = round((self.time_s - age_s) * 1e9)
        return self.sensing.offer_joints(positions, stamp_ns, self.time_s, self.now_ns, publisher)

    def pose(self, frame: str, x: float, age_s: float = 0.0) -> bool:
        stamp_ns = round((self.time_s - age_s) * 1e9)
        return self.sensing.offer_pose(frame, ((x, 0.0, 0.0), UPRIGHT), stamp_ns, self.time_s, self.now_ns)

    def all(self, finger: float, x: float) -> None:
        self.joints(finger=finger)
        self.pose("gripper", x)
        self.pose("goal", 9.0)

    def tick(self, awaits_execution: bool = False) -> Tick | None:
        return self.sensing.tick_if_fresh(self.time_s, self.now_ns, awaits_execution)

    def outdated(self) -> list[str]:
        return list(self.sensing.outdated(self.time_s, self.now_ns))


def values(tick: Tick | None) -> list[float]:
    assert tick is not None
    return [round(value, 9) for value in tick.values[0]]

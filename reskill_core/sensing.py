"""From single sensor messages to observations: which readings belong together, and when they make a tick.

Pure logic without ROS and without clocks: times are handed in, receive times on a steady clock [s], stamps on the
ROS clock [ns].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import ReskillError
from reskill_core.frames import RigidTransform, Vector, rotation_fault
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.parameters import parameter
from reskill_core.spec import GRIPPER_FRAME, TaskSpec

JOINTS = "joint_states"
_NS = 1e9
_DISPLACEMENTS = ("displacement", "relative_displacement", "joint_displacement", "rotation_displacement")
# Stamps this close to one control period apart, relative to it, are exactly one apart.
_PERIOD_TOLERANCE = 1e-3


class MessageError(ReskillError):
    """A message must not be used.

    Attributes:
        reason: short name of the fault, the key under which it is counted.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class JointSource:
    """Where a joint of the observation comes from: ``sign * position + offset`` of a joint of the driver."""

    name: str = parameter("", "the joint as the driver calls it; empty: as the observation does")
    sign: float = parameter(1.0, "1, or -1 where the driver counts the other way round", low=-1.0, high=1.0)
    offset: float = parameter(
        0.0, "position in the observation where the driver's is zero [m or rad]", low=-1e3, high=1e3
    )

    def violations(self) -> list[str]:
        """A sign that is none."""
        return [] if abs(self.sign) == 1.0 else [f"sign: must be 1 or -1, got {self.sign!r}"]

    def to_observation(self, position: float) -> float:
        """A position of the driver's joint, as observed."""
        return self.sign * position + self.offset

    def to_driver(self, position: float) -> float:
        """A position as observed, of the driver's joint; inverse of :meth:`to_observation`."""
        return self.sign * (position - self.offset)


@dataclass(frozen=True)
class SensingConfig:
    """How a driver's sensors become observations."""

    trigger: str = parameter(
        "timer",
        "when to observe: `synchronised`, once all sensors carry the same stamp (simulator), or `timer`, at the "
        "control rate with the newest of each (robot)",
        choices=("synchronised", "timer"),
    )
    gripper: str = parameter(
        "topic", "gripper pose from its `topic` or by `kinematics` of the joints", choices=("topic", "kinematics")
    )
    episodes: bool = parameter(False, "whether the driver publishes `episode`")
    timeout_s: float = parameter(0.12, "age at which a reading is too old to observe with [s]", low=0.001, high=3600.0)
    future_tolerance_s: float = parameter(0.1, "a stamp further in the future is refused [s]", low=0.0, high=60.0)
    zero_stamp: str = parameter(
        "reject", "a zero stamp is a fault, or means the time of reception", choices=("reject", "receive_time")
    )
    static_frames: tuple[str, ...] = parameter((), "frames that do not move, whose readings never get too old")
    base_position_w: tuple[float, float, float] = parameter(
        (0.0, 0.0, 0.0),
        "where the origin of the driver's base frame is in the task's world; sensors and commands alike [m]",
        low=-1e3,
        high=1e3,
    )
    base_quat_wxyz: tuple[float, float, float, float] = parameter(
        (1.0, 0.0, 0.0, 0.0),
        "how the driver's base frame is turned in the task's world; a unit quaternion w, x, y, z",
        low=-1.0,
        high=1.0,
    )
    joints: dict[str, JointSource] = field(
        default_factory=dict,
        metadata={"description": "by joint of the observation, the driver's `name` of it, `sign` and `offset`"},
    )

    def violations(self) -> list[str]:
        """A rotation that is none."""
        fault = rotation_fault(self.base_quat_wxyz)
        return [f"base_quat_wxyz: {fault}"] if fault else []

    @property
    def base(self) -> RigidTransform:
        """From the driver's base frame to the task's world."""
        return RigidTransform(self.base_position_w, self.base_quat_wxyz)

    def joint(self, name: str) -> JointSource:
        """Where a joint of the observation comes from."""
        source = self.joints.get(name, JointSource())
        return source if source.name else replace(source, name=name)


@dataclass(frozen=True)
class EpisodeStep:
    """Which step of which episode a stamp belongs to; seed -1 where there is none."""

    episode_id: int = 0
    seed: int = -1
    step: int = 0


@dataclass(frozen=True)
class Tick:
    """One observation: values (1, O) float64, its stamp [ns] and place in the episode."""

    stamp_ns: int
    values: NDArray[np.float64]
    episode: EpisodeStep


@dataclass(frozen=True)
class _Reading:
    value: tuple[Vector, Vector]
    stamp_ns: int
    received_s: float


class Sensing:
    """Collects the newest reading of each source and turns them into ticks.

    Sources are ``joint_states`` and the frames of the observation. The first one needed leads: timer ticks need a
    new reading of it, so that a driver slower than the control rate is never observed twice at the same instant.
    """

    def __init__(
        self,
        task: TaskSpec,
        config: SensingConfig,
        arm_joints: Sequence[str] = (),
        kinematics: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None,
    ) -> None:
        """Set up for one task.

        Args:
            task: what to observe.
            config: how the driver's sensors behave.
            arm_joints: the joints that decide where the gripper is; for ``gripper: kinematics`` only.
            kinematics: position and quaternion (w, x, y, z) of the gripper frame in the driver's base frame, from the
                positions of those.
        """
        self.config = config
        self._spec = task.obs
        self._period_s = task.control_period_s
        self._builder = ObservationBuilder(task.obs)
        self._kinematics = kinematics if config.gripper == "kinematics" else None
        needed = (*task.obs.joints, *(arm_joints if self._kinematics is not None else ()))
        self._joints = [config.joint(name) for name in needed]
        self.sources = (*((JOINTS,) if needed else ()), *task.obs.frames)
        displacement = [term.kind in _DISPLACEMENTS for term in task.obs.terms for _ in range(term.size)]
        self._is_displacement = np.array(displacement)
        self._base = config.base
        self.forget()

    def forget(self) -> None:
        """Start over as if nothing had been received yet, as after a jump of the clock."""
        self._readings: dict[str, _Reading] = {}
        self._episode: tuple[int, EpisodeStep] | None = None
        self._previous: SensorFrame | None = None
        self.last_tick: Tick | None = None

    def offer_joints(self, positions: Mapping[str, float], stamp_ns: int, steady_s: float, now_ns: int) -> None:
        """Take joint positions by name [m or rad]; more than needed do not matter.

        Raises:
            MessageError: ``missing_joint``, or the time is wrong.
        """
        stamp_ns = self._check_time(JOINTS, stamp_ns, now_ns)
        missing = [source.name for source in self._joints if source.name not in positions]
        if missing:
            raise MessageError("missing_joint", f"joint state lacks {', '.join(missing)}")
        values = tuple(source.to_observation(positions[source.name]) for source in self._joints)
        observed, arm = values[: len(self._spec.joints)], values[len(self._spec.joints) :]
        self._readings[JOINTS] = _Reading((observed, ()), stamp_ns, steady_s)
        if self._kinematics is not None:
            position, quat_wxyz = self._kinematics(np.array(arm))
            pose = self._base.pose(position.tolist(), quat_wxyz.tolist())
            self._readings[GRIPPER_FRAME] = _Reading(pose, stamp_ns, steady_s)

    def offer_pose(self, frame: str, pose: tuple[Vector, Vector], stamp_ns: int, steady_s: float, now_ns: int) -> None:
        """Take the pose of a frame in the driver's base frame: position [m] and unit quaternion (w, x, y, z).

        Raises:
            MessageError: the time is wrong.
        """
        stamp_ns = self._check_time(frame, stamp_ns, now_ns)
        self._readings[frame] = _Reading(self._base.pose(*pose), stamp_ns, steady_s)

    def offer_episode(self, episode: EpisodeStep, stamp_ns: int) -> None:
        """Take note of which step of which episode a stamp belongs to."""
        self._episode = (stamp_ns, episode)

    def is_repeated(self, source: str, stamp_ns: int) -> bool:
        """Whether the leading source repeats the stamp of the last tick, because somebody waits for its answer."""
        return source == self.sources[0] and self.last_tick is not None and stamp_ns == self.last_tick.stamp_ns

    def tick_if_complete(self) -> Tick | None:
        """A tick if all sources, and the episode if there is one, carry the same new stamp."""
        lead = self._readings.get(self.sources[0])
        if lead is None or (self.last_tick is not None and lead.stamp_ns <= self.last_tick.stamp_ns):
            return None
        for source in self.sources[1:]:
            reading = self._readings.get(source)
            if reading is None or reading.stamp_ns != lead.stamp_ns:
                return None
        if self.config.episodes and (self._episode is None or self._episode[0] != lead.stamp_ns):
            return None
        return self._tick(lead.stamp_ns)

    def tick_if_fresh(self, steady_s: float, now_ns: int) -> Tick | None:
        """A tick from the newest readings, unless one is too old or the leading source has nothing new."""
        if self.outdated(steady_s, now_ns):
            return None
        stamp_ns = self._readings[self.sources[0]].stamp_ns
        if self.last_tick is not None and stamp_ns <= self.last_tick.stamp_ns:
            return None
        return self._tick(stamp_ns)

    def outdated(self, steady_s: float, now_ns: int) -> list[str]:
        """The sources without a reading young enough, by receive time and by stamp."""
        return [source for source in self.sources if not self._is_fresh(source, steady_s, now_ns)]

    def _is_fresh(self, source: str, steady_s: float, now_ns: int) -> bool:
        reading = self._readings.get(source)
        if reading is None:
            return False
        age_s = max(steady_s - reading.received_s, (now_ns - reading.stamp_ns) / _NS)
        return source in self.config.static_frames or age_s <= self.config.timeout_s

    def _check_time(self, source: str, stamp_ns: int, now_ns: int) -> int:
        if stamp_ns == 0:
            if self.config.zero_stamp == "receive_time":
                return now_ns
            # Simulated time does start at zero, in which case there is no age to check either.
            if now_ns != 0:
                raise MessageError(
                    "zero_stamp",
                    f"{source} has a zero stamp; fix its driver, check use_sim_time, or allow it by zero_stamp",
                )
        age_s = (now_ns - stamp_ns) / _NS
        if -age_s > self.config.future_tolerance_s:
            raise MessageError("future", f"{source} is stamped {-age_s:.3f} s in the future; check use_sim_time")
        if age_s > self.config.timeout_s and source not in self.config.static_frames:
            raise MessageError("stale", f"{source} is {age_s:.3f} s old, limit {self.config.timeout_s:g} s")
        reading = self._readings.get(source)
        if reading is not None and stamp_ns < reading.stamp_ns:
            raise MessageError("reordered", f"{source} is older than the one before it")
        return stamp_ns

    def _tick(self, stamp_ns: int) -> Tick:
        frame = self._frame()
        last = self.last_tick
        elapsed_s = (stamp_ns - last.stamp_ns) / _NS if last is not None else 0.0
        episode = self._episode_at(last)
        connected = last is not None and episode.step > 0 and elapsed_s <= self.config.timeout_s
        previous = self._previous if connected and self._previous is not None else frame
        values = self._builder.build(frame, previous)
        if previous is not frame and abs(elapsed_s / self._period_s - 1.0) > _PERIOD_TOLERANCE:
            # What is learnt from is displacement over exactly one control period.
            values[:, self._is_displacement] *= self._period_s / elapsed_s
        self._previous = frame
        self.last_tick = Tick(stamp_ns, values, episode)
        return self.last_tick

    def _episode_at(self, last: Tick | None) -> EpisodeStep:
        if self.config.episodes:
            return self._episode[1] if self._episode is not None else EpisodeStep()
        return EpisodeStep() if last is None else replace(last.episode, step=last.episode.step + 1)

    def _frame(self) -> SensorFrame:
        joints = self._readings[JOINTS].value[0] if self._spec.joints else ()
        poses = [self._readings[name].value for name in self._spec.frames]
        return SensorFrame(
            joint_pos=np.array([joints], dtype=np.float64),
            frame_pos_w=np.array([[position for position, _ in poses]], dtype=np.float64),
            frame_quat_wxyz=np.array([[quat for _, quat in poses]], dtype=np.float64),
        )

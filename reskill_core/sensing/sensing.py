"""Conversion of single sensor messages to observations: synchronisation of readings into ticks.

Pure logic without ROS and clocks: times are arguments, receive times on a steady clock [s], stamps on the ROS
clock [ns].
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SpecError
from reskill_core.frames import Vector
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.rivals import Rivals
from reskill_core.sensing.config import JointSource, MessageError, SensingConfig
from reskill_core.sensing.ticks import EpisodeStep, Tick
from reskill_core.spec import GRIPPER_FRAME, TaskSpec

_NS = 1e9
_DISPLACEMENTS = ("displacement", "relative_displacement", "joint_displacement", "rotation_displacement")
# Relative tolerance within which the time between stamps counts as exactly one control period.
_PERIOD_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _Reading:
    """Reading of one message: positions by the driver's joint names, a pose, values or an image.

    All sources in the message share it.
    """

    value: Any
    stamp_ns: int
    received_s: float
    publisher: Hashable


class Sensing:
    """Collector of the newest reading of each source, which combines them into ticks.

    Sources are the joints (each with its own age, in one message or several), and the frames, named terms and images of
    the observation. Some sources are leading: the joints that determine the gripper's pose, or else the observed
    joints, or else the first of the others. The stamp of a tick is that of the oldest leading reading, and timer ticks
    need a new reading of each leading source, so that a driver slower than the control rate is never observed twice at
    the same time.

    Attributes:
        joints: the driver's names of the needed joints.
        frames: the frames whose poses are needed.
        terms: the named terms of the observation.
        velocities: by named term that is read from joint states, the joints whose velocities it has.
        images: its images.
        sources: all of these, by their names in messages: sources other than frames have a prefix, such as joint.
        leading: the leading sources.
        counts: number of readings, by source.
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
            task: the task.
            config: configuration of the driver's sensors.
            arm_joints: joints that determine the gripper's pose; only for ``gripper: kinematics``.
            kinematics: function from their positions to position and quaternion (w, x, y, z) of the gripper frame in
                the driver's base frame.

        Raises:
            SpecError: ``joint_velocities`` do not fit the task.
        """
        self.config = config
        self._spec = task.obs
        self._period_s = task.control_period_s
        self._builder = ObservationBuilder(task.obs)
        self._kinematics = kinematics if config.gripper == "kinematics" else None
        self._observed = [config.joint(name) for name in task.obs.joints]
        self._arm = [config.joint(name) for name in arm_joints] if self._kinematics else []
        self.joints = tuple(dict.fromkeys(item.name for item in (*self._arm, *self._observed)))
        self.frames = tuple(name for name in task.obs.frames if name != GRIPPER_FRAME or self._kinematics is None)
        self.terms = tuple(term.name for term in task.obs.named)
        self.velocities = {term: [config.joint(name) for name in names] for term, names in self._velocities(task)}
        self.images = tuple(image.name for image in task.obs.images)
        others = (*self.frames, *map(_term, self.terms), *map(_image, self.images))
        self.sources = (*map(_joint, self.joints), *others)
        self.leading = tuple(_joint(item.name) for item in self._arm or self._observed) or others[:1]
        self.counts: Counter[str] = Counter()
        displacement = [term.kind in _DISPLACEMENTS for term in task.obs.terms for _ in range(term.size)]
        self._is_displacement = np.array(displacement)
        self._base = config.base
        self._readings: dict[str, _Reading] = {}
        self.forget()

    def forget(self) -> None:
        """Forget all readings, as after a clock jump.

        Only static frames are kept, because their poses may have been published just once.
        """
        static = {source: self._readings[source] for source in self.config.static_frames if source in self._readings}
        self._readings = {source: replace(reading, stamp_ns=0) for source, reading in static.items()}
        self._rivals = Rivals()
        self._episode: tuple[int, EpisodeStep] | None = None
        self._executed_s = -math.inf
        self._previous: SensorFrame | None = None
        self.last_tick: Tick | None = None

    def offer_joints(
        self,
        positions: Mapping[str, float],
        stamp_ns: int,
        steady_s: float,
        now_ns: int,
        publisher: Hashable = None,
    ) -> bool:
        """Add joint positions by name [m or rad]; joints that are not needed are ignored.

        Args:
            positions: positions of any joints.
            stamp_ns: time of the measurement, on the ROS clock.
            steady_s: receive time, on a steady clock.
            now_ns: receive time, on the ROS clock.
            publisher: the publisher, for :meth:`rivals`.

        Returns:
            Whether the first source repeats the stamp of the last tick, because the sender waits for its answer.

        Raises:
            MessageError: the stamp is invalid.
        """
        sources = [_joint(name) for name in self.joints if name in positions]
        return bool(sources) and self._take(sources, positions, stamp_ns, steady_s, now_ns, publisher)

    def offer_pose(self, frame: str, pose: tuple[Vector, Vector], stamp_ns: int, steady_s: float, now_ns: int) -> bool:
        """Add the pose of a frame in the driver's base frame: position [m] and unit quaternion (w, x, y, z).

        Returns:
            As :meth:`offer_joints`.

        Raises:
            MessageError: the stamp is invalid.
        """
        return self._take([frame], self._base.pose(*pose), stamp_ns, steady_s, now_ns, None)

    def offer_values(self, term: str, values: NDArray[np.float64], stamp_ns: int, steady_s: float, now_ns: int) -> bool:
        """Add the values of a named term, in its unit and in the task's world.

        Returns:
            As :meth:`offer_joints`.

        Raises:
            MessageError: the stamp or the number of values is invalid.
        """
        part = self._spec.slice(term)
        if values.shape != (part.stop - part.start,):
            raise MessageError("wrong_size", f"{term}: {len(values)} values, expected {part.stop - part.start}")
        return self._take([_term(term)], values, stamp_ns, steady_s, now_ns, None)

    def offer_velocities(self, velocities: Mapping[str, float], stamp_ns: int, steady_s: float, now_ns: int) -> None:
        """Add joint velocities by name [m/s or rad/s], for the terms of ``joint_velocities``.

        Raises:
            MessageError: the stamp is invalid.
        """
        for term, joints in self.velocities.items():
            if all(joint.name in velocities for joint in joints):
                values = np.array([joint.velocity_to_observation(velocities[joint.name]) for joint in joints])
                self.offer_values(term, values, stamp_ns, steady_s, now_ns)

    def offer_image(self, name: str, picture: NDArray[np.uint8], stamp_ns: int, steady_s: float, now_ns: int) -> bool:
        """Add a frame (H, W, C) of an image of the observation.

        Returns:
            As :meth:`offer_joints`.

        Raises:
            MessageError: the stamp is invalid.
        """
        return self._take([_image(name)], picture, stamp_ns, steady_s, now_ns, None)

    def offer_episode(self, episode: EpisodeStep, stamp_ns: int) -> None:
        """Record the episode and step of a stamp."""
        self._episode = (stamp_ns, episode)

    def offer_execution(self, steady_s: float) -> None:
        """Record that an action was executed, at a time on a steady clock [s]; see :meth:`tick_if_fresh`."""
        self._executed_s = steady_s

    def tick_if_complete(self) -> Tick | None:
        """Return a tick if all sources, and the episode if there is one, have the same new stamp."""
        lead = self._readings.get(self.sources[0])
        if lead is None or (self.last_tick is not None and lead.stamp_ns <= self.last_tick.stamp_ns):
            return None
        for source in self.sources:
            reading = self._readings.get(source)
            if reading is not lead and (reading is None or reading.stamp_ns != lead.stamp_ns):
                return None
        if self.config.episodes and (self._episode is None or self._episode[0] != lead.stamp_ns):
            return None
        return self._tick(lead.stamp_ns)

    def tick_if_fresh(self, steady_s: float, now_ns: int, awaits_execution: bool = False) -> Tick | None:
        """Return a tick of the newest readings, unless one is too old or a leading source has no new reading.

        Args:
            steady_s: the time on a steady clock [s].
            now_ns: the time on the ROS clock [ns].
            awaits_execution: an episode begins with the first action that is executed, and is over once there has been
                none for longer than ``timeout_s`` and a control period: until the next one, ticks are of step 0, so
                that nobody takes what was decided for what has been done.
        """
        if self.outdated(steady_s, now_ns):
            return None
        stamp_ns = min(self._readings[source].stamp_ns for source in self.leading)
        if self.last_tick is not None and stamp_ns <= self.last_tick.stamp_ns:
            return None
        silence_s = steady_s - self._executed_s
        return self._tick(stamp_ns, awaits_execution and silence_s > self.config.timeout_s + self._period_s)

    def newest_ns(self, source: str) -> int:
        """Return the stamp of the newest reading of a source; negative if there is none."""
        reading = self._readings.get(source)
        return -1 if reading is None else reading.stamp_ns

    def age_s(self, source: str, steady_s: float, now_ns: int) -> float | None:
        """Return the age of the newest reading of a source, by receive time or stamp; None if there is none [s]."""
        reading = self._readings.get(source)
        return None if reading is None else max(steady_s - reading.received_s, (now_ns - reading.stamp_ns) / _NS)

    def outdated(self, steady_s: float, now_ns: int) -> dict[str, float | None]:
        """Return the sources without a fresh reading, with the age of the newest one [s]."""
        ages = {source: self.age_s(source, steady_s, now_ns) for source in self.sources}
        static = self.config.static_frames
        return {
            source: age_s
            for source, age_s in ages.items()
            if age_s is None or (age_s > self.config.timeout_s and source not in static)
        }

    def unmatched(self) -> list[str]:
        """Return the sources (including the episode, if any) that lack a reading of the newest stamp."""
        stamps = {source: reading.stamp_ns for source, reading in self._readings.items()}
        if self.config.episodes and self._episode is not None:
            stamps["episode"] = self._episode[0]
        needed = (*self.sources, *(("episode",) if self.config.episodes else ()))
        newest_ns = max(stamps.values(), default=0)
        return [source for source in needed if stamps.get(source) != newest_ns]

    def rivals(self, steady_s: float) -> dict[frozenset[Hashable], list[str]]:
        """Return the sources with several publishers, by these publishers; see :class:`Rivals`."""
        return self._rivals.current(steady_s)

    def _velocities(self, task: TaskSpec) -> Iterable[tuple[str, tuple[str, ...]]]:
        sizes = {term.name: term.size for term in task.obs.named}
        for term, joints in self.config.joint_velocities.items():
            unknown = [name for name in joints if name not in task.obs.joints]
            if term not in sizes or len(joints) != sizes[term] or unknown:
                raise SpecError(
                    f"sensing.joint_velocities: {term} must be a named term of the observation of {task.name}, with "
                    f"one observed joint per value, got {', '.join(joints)}; named terms: {', '.join(sizes) or 'none'}"
                )
        return self.config.joint_velocities.items()

    def _take(
        self,
        sources: Sequence[str],
        value: Any,
        stamp_ns: int,
        steady_s: float,
        now_ns: int,
        publisher: Hashable,
    ) -> bool:
        stamp_ns = self._checked_stamp_ns(sources, stamp_ns, now_ns)
        reading = _Reading(value, stamp_ns, steady_s, publisher)
        for source in sources:
            before = self._readings.get(source)
            if before is not None and before.publisher != publisher:
                self._rivals.note(source, before.publisher, publisher, steady_s)
            self._readings[source] = reading
            self.counts[source] += 1
        last = self.last_tick
        return last is not None and stamp_ns == last.stamp_ns and sources[0] == self.sources[0]

    def _checked_stamp_ns(self, sources: Sequence[str], stamp_ns: int, now_ns: int) -> int:
        """The stamp to use for a message.

        Raises:
            MessageError: the stamp is invalid.
        """
        if stamp_ns == 0:
            if self.config.zero_stamp == "receive_time":
                return now_ns
            # Simulated time may be zero, and then there is no age to check either.
            if now_ns != 0:
                raise MessageError(
                    "zero_stamp",
                    f"{named(sources)}: zero stamp; fix its driver, check use_sim_time, or allow it by zero_stamp",
                )
        age_s = (now_ns - stamp_ns) / _NS
        is_static = sources[0] in self.config.static_frames
        # A message published just once may arrive before the first message on /clock.
        if -age_s > self.config.future_tolerance_s and not (is_static and now_ns == 0):
            raise MessageError("future", f"{named(sources)}: stamp {-age_s:.3f} s in the future; check use_sim_time")
        if age_s > self.config.timeout_s and not is_static:
            raise MessageError("stale", f"{named(sources)}: {age_s:.3f} s old, limit {self.config.timeout_s:g} s")
        late = [source for source in sources if source in self._readings and stamp_ns < self._readings[source].stamp_ns]
        if late:
            raise MessageError("reordered", f"{named(late)}: older than what came before")
        return stamp_ns

    def _tick(self, stamp_ns: int, is_waiting: bool = False) -> Tick:
        frame = self._frame()
        last = self.last_tick
        elapsed_s = (stamp_ns - last.stamp_ns) / _NS if last is not None else 0.0
        episode = EpisodeStep() if is_waiting else self._episode_at(last)
        connected = last is not None and episode.step > 0 and elapsed_s <= self.config.timeout_s
        previous = self._previous if connected and self._previous is not None else frame
        values = self._builder.build(frame, previous)
        if previous is not frame and abs(elapsed_s / self._period_s - 1.0) > _PERIOD_TOLERANCE:
            # Observations use displacements over exactly one control period.
            values[:, self._is_displacement] *= self._period_s / elapsed_s
        self._previous = frame
        images = {name: self._readings[_image(name)].value for name in self.images}
        self.last_tick = Tick(stamp_ns, values, episode, images)
        return self.last_tick

    def _episode_at(self, last: Tick | None) -> EpisodeStep:
        if self.config.episodes:
            return self._episode[1] if self._episode is not None else EpisodeStep()
        return EpisodeStep() if last is None else replace(last.episode, step=last.episode.step + 1)

    def _frame(self) -> SensorFrame:
        poses = [self._pose(name) for name in self._spec.frames]
        count = len(poses)
        return SensorFrame(
            joint_pos=np.array([self._positions(self._observed)], dtype=np.float64),
            frame_pos_w=np.array([position for position, _ in poses], dtype=np.float64).reshape(1, count, 3),
            frame_quat_wxyz=np.array([quat for _, quat in poses], dtype=np.float64).reshape(1, count, 4),
            named={name: self._readings[_term(name)].value[None] for name in self.terms},
        )

    def _positions(self, joints: Sequence[JointSource]) -> list[float]:
        read = self._readings
        return [item.to_observation(read[_joint(item.name)].value[item.name]) for item in joints]

    def _pose(self, frame: str) -> Any:
        if frame == GRIPPER_FRAME and self._kinematics is not None:
            position, quat_wxyz = self._kinematics(np.array(self._positions(self._arm)))
            return self._base.pose(position.tolist(), quat_wxyz.tolist())
        return self._readings[frame].value


def _joint(name: str) -> str:
    return f"joint {name}"


def _term(name: str) -> str:
    return f"reading {name}"


def _image(name: str) -> str:
    return f"image {name}"


def named(sources: Sequence[str], most: int = 3) -> str:
    """Format sources for messages; only their number if there are many."""
    return ", ".join(sources[:most]) + (f" and {len(sources) - most} more" if len(sources) > most else "")

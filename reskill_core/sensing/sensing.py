"""From single sensor messages to observations: which readings belong together, and when they make a tick.

Pure logic without ROS and without clocks: times are handed in, receive times on a steady clock [s], stamps on the
ROS clock [ns].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.frames import Vector
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.rivals import Rivals
from reskill_core.sensing.config import JointSource, MessageError, SensingConfig
from reskill_core.sensing.ticks import EpisodeStep, Tick
from reskill_core.spec import GRIPPER_FRAME, TaskSpec

_NS = 1e9
_DISPLACEMENTS = ("displacement", "relative_displacement", "joint_displacement", "rotation_displacement")
# Stamps this close to one control period apart, relative to it, are exactly one apart.
_PERIOD_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _Reading:
    """What one message says: positions by the driver's joint names, a pose, values or a picture.

    All sources that one message speaks for share it.
    """

    value: Any
    stamp_ns: int
    received_s: float
    publisher: Hashable


class Sensing:
    """Collects the newest reading of each source and turns them into ticks.

    Sources are the joints, each with an age of its own, whether they come in one message or in pieces, and the frames,
    named terms and images of the observation. Some of them lead: the joints that decide where the gripper is, else the
    observed ones, else the first of the others. The stamp of a tick is that of the oldest leading reading, and timer
    ticks need a new reading of each, so that a driver slower than the control rate is never observed twice at the same
    instant.

    Attributes:
        joints: names of the needed joints, as the driver calls them.
        frames: the frames whose poses are needed.
        terms: the named terms of the observation.
        images: its images.
        sources: all of these, by the names that messages for people use: what is no frame has a word before its name,
            such as joint.
        leading: those of the sources that lead.
        counts: readings taken, by source.
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
        self._observed = [config.joint(name) for name in task.obs.joints]
        self._arm = [config.joint(name) for name in arm_joints] if self._kinematics else []
        self.joints = tuple(dict.fromkeys(item.name for item in (*self._arm, *self._observed)))
        self.frames = tuple(name for name in task.obs.frames if name != GRIPPER_FRAME or self._kinematics is None)
        self.terms = tuple(term.name for term in task.obs.named)
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
        """Start over as if nothing had been received yet, as after a jump of the clock.

        Only frames that do not move are still where they were: their poses may have been published for good.
        """
        static = {source: self._readings[source] for source in self.config.static_frames if source in self._readings}
        self._readings = {source: replace(reading, stamp_ns=0) for source, reading in static.items()}
        self._rivals = Rivals()
        self._episode: tuple[int, EpisodeStep] | None = None
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
        """Take the needed ones of joint positions by name [m or rad]; the others do not matter.

        Args:
            positions: of any joints.
            stamp_ns: when they were measured.
            steady_s: when they were received.
            now_ns: the same on the ROS clock.
            publisher: who says so, for :meth:`rivals`.

        Returns:
            Whether the first source repeats the stamp of the last tick, because somebody waits for its answer.

        Raises:
            MessageError: the time is wrong.
        """
        sources = [_joint(name) for name in self.joints if name in positions]
        return bool(sources) and self._take(sources, positions, stamp_ns, steady_s, now_ns, publisher)

    def offer_pose(self, frame: str, pose: tuple[Vector, Vector], stamp_ns: int, steady_s: float, now_ns: int) -> bool:
        """Take the pose of a frame in the driver's base frame: position [m] and unit quaternion (w, x, y, z).

        Returns:
            As :meth:`offer_joints`.

        Raises:
            MessageError: the time is wrong.
        """
        return self._take([frame], self._base.pose(*pose), stamp_ns, steady_s, now_ns, None)

    def offer_values(self, term: str, values: NDArray[np.float64], stamp_ns: int, steady_s: float, now_ns: int) -> bool:
        """Take the values of a named term, in its unit and in the task's world.

        Returns:
            As :meth:`offer_joints`.

        Raises:
            MessageError: the time is wrong, or the number of values is.
        """
        part = self._spec.slice(term)
        if values.shape != (part.stop - part.start,):
            raise MessageError("wrong_size", f"{term}: {len(values)} values, expected {part.stop - part.start}")
        return self._take([_term(term)], values, stamp_ns, steady_s, now_ns, None)

    def offer_image(self, name: str, picture: NDArray[np.uint8], stamp_ns: int, steady_s: float, now_ns: int) -> bool:
        """Take a frame (H, W, C) of an image of the observation.

        Returns:
            As :meth:`offer_joints`.

        Raises:
            MessageError: the time is wrong.
        """
        return self._take([_image(name)], picture, stamp_ns, steady_s, now_ns, None)

    def offer_episode(self, episode: EpisodeStep, stamp_ns: int) -> None:
        """Take note of which step of which episode a stamp belongs to."""
        self._episode = (stamp_ns, episode)

    def tick_if_complete(self) -> Tick | None:
        """A tick if all sources, and the episode if there is one, carry the same new stamp."""
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

    def tick_if_fresh(self, steady_s: float, now_ns: int) -> Tick | None:
        """A tick from the newest readings, unless one is too old or a leading source has nothing new."""
        if self.outdated(steady_s, now_ns):
            return None
        stamp_ns = min(self._readings[source].stamp_ns for source in self.leading)
        if self.last_tick is not None and stamp_ns <= self.last_tick.stamp_ns:
            return None
        return self._tick(stamp_ns)

    def newest_ns(self, source: str) -> int:
        """Stamp of the newest reading of a source; negative if there is none."""
        reading = self._readings.get(source)
        return -1 if reading is None else reading.stamp_ns

    def age_s(self, source: str, steady_s: float, now_ns: int) -> float | None:
        """How old the newest reading of a source is, by receive time or by stamp; None if there is none."""
        reading = self._readings.get(source)
        return None if reading is None else max(steady_s - reading.received_s, (now_ns - reading.stamp_ns) / _NS)

    def outdated(self, steady_s: float, now_ns: int) -> dict[str, float | None]:
        """The sources without a reading young enough, and the age of what there is [s]."""
        ages = {source: self.age_s(source, steady_s, now_ns) for source in self.sources}
        static = self.config.static_frames
        return {
            source: age_s
            for source, age_s in ages.items()
            if age_s is None or (age_s > self.config.timeout_s and source not in static)
        }

    def unmatched(self) -> list[str]:
        """The sources, and the episode if there is one, without a reading of the newest stamp, which ticks wait for."""
        stamps = {source: reading.stamp_ns for source, reading in self._readings.items()}
        if self.config.episodes and self._episode is not None:
            stamps["episode"] = self._episode[0]
        needed = (*self.sources, *(("episode",) if self.config.episodes else ()))
        newest_ns = max(stamps.values(), default=0)
        return [source for source in needed if stamps.get(source) != newest_ns]

    def rivals(self, steady_s: float) -> dict[frozenset[Hashable], list[str]]:
        """The sources that several publishers speak for, by those publishers; see :class:`Rivals`."""
        return self._rivals.current(steady_s)

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
            MessageError: it must not be used.
        """
        if stamp_ns == 0:
            if self.config.zero_stamp == "receive_time":
                return now_ns
            # Simulated time does start at zero, in which case there is no age to check either.
            if now_ns != 0:
                raise MessageError(
                    "zero_stamp",
                    f"{named(sources)}: zero stamp; fix its driver, check use_sim_time, or allow it by zero_stamp",
                )
        age_s = (now_ns - stamp_ns) / _NS
        is_static = sources[0] in self.config.static_frames
        # What was published once for good may come before the first message on /clock.
        if -age_s > self.config.future_tolerance_s and not (is_static and now_ns == 0):
            raise MessageError("future", f"{named(sources)}: stamp {-age_s:.3f} s in the future; check use_sim_time")
        if age_s > self.config.timeout_s and not is_static:
            raise MessageError("stale", f"{named(sources)}: {age_s:.3f} s old, limit {self.config.timeout_s:g} s")
        late = [source for source in sources if source in self._readings and stamp_ns < self._readings[source].stamp_ns]
        if late:
            raise MessageError("reordered", f"{named(late)}: older than what came before")
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
    """Sources for people; the number of them where there are many."""
    return ", ".join(sources[:most]) + (f" and {len(sources) - most} more" if len(sources) > most else "")

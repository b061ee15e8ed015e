"""All sources of poses of one robot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from reskill_ros.drivers.poses.config import TF, PoseConfig
from reskill_ros.drivers.poses.detections import ARRAYS
from reskill_ros.drivers.poses.looked_up_poses import LookedUpPoses
from reskill_ros.drivers.poses.pose_topics import BaseFrame, PoseTopic
from reskill_ros.drivers.poses.reading import Take
from reskill_ros.drivers.poses.transforms import TfTransforms
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.inputs import Inputs

if TYPE_CHECKING:
    from reskill_ros.drivers.driver_file import DriverConfig


class Poses:
    """Sources of the poses of an observation's frames, as a driver file says.

    Attributes:
        topics: topics of poses and arrays, without those of tf.
        looked_up: poses from tf; None if there are none.
        uses_tf: whether the topics of tf are subscribed to.
    """

    def __init__(
        self,
        driver: DriverConfig,
        frames: Sequence[str],
        inputs: Inputs,
        take: Take,
        newest_ns: Callable[[str], int],
        now_ns: Callable[[], int],
    ) -> None:
        """Subscribe.

        Args:
            driver: the driver file.
            frames: frames of the observation that have a source.
            inputs: subscriptions of the node.
            take: takes the readings.
            newest_ns: returns the newest stamp of a frame [ns]; negative if there is none.
            now_ns: returns the time on the ROS clock [ns].

        Raises:
            ConfigError: tf2_ros, or the package of an array, is not installed.
        """
        self._take = take
        configs = {frame: driver.pose(frame) for frame in frames}
        from_tf = {frame: config for frame, config in configs.items() if config.kind == TF}
        published = {frame: config for frame, config in configs.items() if config.kind != TF}
        self.uses_tf = bool(from_tf) or (driver.transform_poses and bool(published))
        self._transforms = TfTransforms(inputs, driver.topics) if self.uses_tf else None
        static = driver.sensing.static_frames
        self.looked_up: LookedUpPoses | None = None
        if self._transforms is not None and from_tf:
            self.looked_up = LookedUpPoses(self._transforms, driver.base_frame, from_tf, static, now_ns)
        base = BaseFrame(driver.base_frame, self._transforms if driver.transform_poses else None)
        live = qos.STATE if driver.reliable_sensors else qos.SENSOR
        # Kept messages are only useful if stamps need not be equal.
        profiles = (live,) if driver.sensing.trigger == "synchronised" else (live, qos.KEPT)
        by_topic: defaultdict[tuple[str, str], dict[str, PoseConfig]] = defaultdict(dict)
        for frame, config in published.items():
            by_topic[config.topic, config.kind][frame] = config
        self.topics = [
            PoseTopic(topic, ARRAYS.get(kind), of_topic, base, profiles, static)
            for (topic, kind), of_topic in by_topic.items()
        ]
        for topic in self.topics:
            topic.listen(inputs, take, newest_ns)

    def poll(self) -> None:
        """Offer what has to be looked up; to be called at the control rate."""
        for topic in self.topics:
            topic.poll(self._take)
        if self.looked_up is not None:
            self.looked_up.poll(self._take)

    def forget(self) -> None:
        """Forget everything that moves, as after a clock jump."""
        if self._transforms is not None:
            self._transforms.clear()
        if self.looked_up is not None:
            self.looked_up.forget()

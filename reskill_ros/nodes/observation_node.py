"""observation_node: converts a driver's topics to the observations of a task, matched by name."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.observation_node")

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from reskill_core.parameters import parameter
from reskill_core.sensing import MessageError, Sensing, SensingConfig, Tick
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.drivers.poses import Poses, StampedPose
from reskill_ros.msg import EpisodeState, Observation, Reading, SkillAction
from reskill_ros.nodes.sensor_report import SensorReport
from reskill_ros.plumbing import convert, images, qos
from reskill_ros.plumbing.clock import now_ns, watch_clock
from reskill_ros.plumbing.diagnostics import Diagnostics, Latency, Rate, Report
from reskill_ros.plumbing.exchange import Exchange
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.refusals import Refusals
from reskill_ros.plumbing.robot_description import gripper_kinematics
from reskill_ros.plumbing.served_task import robot_joints, task_spec
from reskill_ros.plumbing.topics import observed_image


@dataclass(frozen=True)
class ObservationParameters:
    """Parameters of observation_node."""

    task: str = parameter("block", "Task to observe.", read_only=True)
    skills: str = parameter("", "Checkpoint whose task is used instead; needs no simulator.", read_only=True)
    driver: str = parameter("sim", "Name of a file in config/drivers, or the path of one.", read_only=True)
    obs_timeout_s: float = parameter(
        -1.0,
        "Age at which a reading is too old [s]; negative: as in the driver file.",
        low=-1.0,
        high=3600.0,
        read_only=True,
    )


class ObservationNode(Node):
    """Node that converts sensor messages to observations; :class:`~reskill_core.sensing.Sensing` matches readings."""

    def __init__(self, exchange: Exchange | None = None, arguments: list[str] | None = None) -> None:
        """Observe as the parameters say.

        Args:
            exchange: receives what is published, for other nodes of the process.
            arguments: ROS arguments of this node alone, if its process has several.
        """
        super().__init__("observation_node", cli_args=arguments)
        self._exchange = exchange or Exchange()
        self._resources = ExitStack()
        values = Parameters(self, ObservationParameters()).values
        self._task = task_spec(values.task, values.skills)
        self._driver = load_driver(values.driver, {*self._task.obs.joints, *robot_joints(self._task.name)})
        config = self._driver.sensing
        if values.obs_timeout_s >= 0:
            config = replace(config, timeout_s=values.obs_timeout_s)
        self._sensing = self._make_sensing(config)
        self._synchronised = config.trigger == "synchronised"
        self._rate, self._age = Rate(), Latency()
        topics = self._driver.topics
        shared = (topics.joint_states, topics.tf, topics.tf_static)
        self.diagnostics = Diagnostics(self, self._report, shared=shared)
        self._resources.callback(self.diagnostics.close)
        self._refusals = Refusals(self.get_logger(), self.diagnostics.counters)
        self._inputs = Inputs(self, self.diagnostics.publish)
        joint_topic = self.resolve_topic_name(topics.joint_states)
        self._sensors = SensorReport(self, self._sensing, joint_topic, self._task.control_rate_hz)
        self._publisher = self.create_publisher(Observation, "observation", qos.RECORDED)
        self._features = {image.name: image for image in self._task.obs.images}
        self._image_publishers = {
            name: self.create_publisher(Image, observed_image(name), qos.RECORDED) for name in self._features
        }
        self._last_messages: list[tuple[Publisher[Any], Any]] = []
        self._subscribe()
        self.create_service(Trigger, "~/reset", self._on_reset)
        watch_clock(self, self._on_clock_jump, self._resources)
        if not self._synchronised:
            # Simulated time for a simulated robot; a steady clock for a real one, unaffected by clock corrections.
            simulated = self.get_parameter("use_sim_time").value
            clock = self.get_clock() if simulated else Clock(clock_type=ClockType.STEADY_TIME)
            self._executed_topic = self.resolve_topic_name("executed_action")
            if not config.episodes:
                self._inputs.listen(SkillAction, self._executed_topic, self._on_execution, qos.NEWEST)
            self.create_timer(self._task.control_period_s, self._on_timer, clock=clock)

    def _make_sensing(self, config: SensingConfig) -> Sensing:
        if config.gripper != "kinematics":
            return Sensing(self._task, config)
        kinematics = gripper_kinematics(self, self._task.name, self._driver.kinematics)
        return Sensing(self._task, config, kinematics.joints, kinematics.pose)

    def _subscribe(self) -> None:
        topics, listen = self._driver.topics, self._inputs.listen
        live = qos.STATE if self._driver.reliable_sensors else qos.SENSOR
        if self._sensing.joints:
            listen(JointState, topics.joint_states, self._on_joints, live)
        sensing, now = self._sensing, partial(now_ns, self)
        self._poses = Poses(self._driver, sensing.frames, self._inputs, self._take_pose, sensing.newest_ns, now)
        for term in self._sensing.terms:
            if term in self._sensing.velocities:
                continue
            listen(Reading, topics.reading(term), partial(self._on_reading, term), live)
        for name in self._sensing.images:
            listen(Image, topics.image(name), partial(self._on_image, name), live)
        if self._sensing.config.episodes:
            listen(EpisodeState, topics.episode, self._on_episode, live)

    def _on_joints(self, message: JointState, info: Mapping[str, Any]) -> None:
        if self._sensing.velocities:
            self._take_velocities(message)
        publisher = self._sensors.publisher(message.name, info)
        offer = partial(self._sensing.offer_joints, publisher=publisher)
        self._take(
            self._driver.topics.joint_states, lambda: (convert.joint_positions(message), _stamp_ns(message)), offer
        )

    def _take_velocities(self, message: JointState) -> None:
        stamp_ns, topic = convert.stamp_to_ns(message.header.stamp), self._driver.topics.joint_states
        try:
            velocities = convert.joint_velocities(message)
            self._sensing.offer_velocities(velocities, stamp_ns, time.monotonic(), now_ns(self))
        except MessageError as error:
            self._refusals.add(topic, error.reason, str(error))

    def _take_pose(self, frame: str, read: Callable[[], StampedPose | None]) -> None:
        self._take(frame, read, partial(self._sensing.offer_pose, frame))

    def _on_reading(self, term: str, message: Reading) -> None:
        offer = partial(self._sensing.offer_values, term)
        self._take(term, lambda: (convert.reading_values(message), _stamp_ns(message)), offer)

    def _on_image(self, name: str, message: Image) -> None:
        offer = partial(self._sensing.offer_image, name)
        self._take(name, lambda: (images.picture(message, self._features[name]), _stamp_ns(message)), offer)

    def _take(
        self, source: str, read: Callable[[], tuple[Any, int] | None], offer: Callable[[Any, int, float, int], bool]
    ) -> None:
        try:
            stamped = read()
            if stamped is None:
                return
            is_repeated = offer(*stamped, time.monotonic(), now_ns(self))
        except MessageError as error:
            self._refusals.add(source, error.reason, str(error))
            return
        if self._refusals.any:
            self._refusals.accept(source)
        if is_repeated:
            if self._last_messages:
                self.diagnostics.counters["repeated"] += 1
            self._publish_last()
        elif self._synchronised:
            self._publish(self._sensing.tick_if_complete())

    def _on_episode(self, message: EpisodeState) -> None:
        self._sensing.offer_episode(convert.episode_step(message), convert.stamp_to_ns(message.header.stamp))
        if self._synchronised:
            self._publish(self._sensing.tick_if_complete())

    def _on_execution(self, message: SkillAction) -> None:
        self._sensing.offer_execution(time.monotonic())

    def _on_timer(self) -> None:
        self._poses.poll()
        # Without a gate, as in a dry run, every observation counts.
        has_gate = not self._sensing.config.episodes and self.count_publishers(self._executed_topic) > 0
        self._publish(self._sensing.tick_if_fresh(time.monotonic(), now_ns(self), has_gate))

    def _publish(self, tick: Tick | None) -> None:
        if tick is None:
            return
        observation = convert.observation_message(tick, self._task.name, self._driver.base_frame)
        # Images first, so that the policy need not wait for them.
        self._last_messages = [
            (self._image_publishers[name], images.image_message(observation.header.stamp, name, picture))
            for name, picture in tick.images.items()
        ]
        self._last_messages.append((self._publisher, observation))
        self._publish_last()
        self._rate.tick()
        self._age.add((now_ns(self) - tick.stamp_ns) * 1e-9)

    def _publish_last(self) -> None:
        for publisher, message in self._last_messages:
            publisher.publish(message)
            self._exchange.hand_on(publisher.topic_name, message)

    def _on_clock_jump(self) -> None:
        self._poses.forget()
        self._forget()

    def _forget(self) -> None:
        self._sensing.forget()
        self._last_messages = []
        self.diagnostics.counters["restarts"] += 1

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._forget()
        response.success, response.message = True, "the next observation is the first of an episode"
        return response

    def _report(self, report: Report) -> None:
        rate_hz = self._rate.read_hz()
        report.state = "observing"
        report.values = {"task": self._task.name, "rate_hz": rate_hz, **self._age.summary("age")}
        self._sensors.fill(report, rate_hz, self.diagnostics.growth("repeated"))
        self._inputs.report(report)
        for counter in self.diagnostics.counters:
            growth = self.diagnostics.growth(counter)
            if counter.startswith("refused_") and growth:
                report.warn(f"{growth} messages {counter.replace('_', ' ')}")
        if self.get_parameter("use_sim_time").value and now_ns(self) == 0:
            report.error("use_sim_time is true but nothing is published on /clock")

    def destroy_node(self) -> None:
        """Release everything."""
        self._resources.close()
        super().destroy_node()


def _stamp_ns(message: Any) -> int:
    return convert.stamp_to_ns(message.header.stamp)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(ObservationNode, args=args)

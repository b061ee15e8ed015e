"""Policy served over topics; shared by policy_node and demonstrator_node."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from rclpy.node import Node
from sensor_msgs.msg import Image

from reskill_core.frame_stacks import StampedFrames
from reskill_core.policy import Policy
from reskill_core.sensing import MessageError
from reskill_core.spec import ImageFeature, TaskSpec
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import convert, images, qos
from reskill_ros.plumbing.clock import watch_clock
from reskill_ros.plumbing.diagnostics import Diagnostics, Latency, Rate, Report
from reskill_ros.plumbing.exchange import Exchange
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.refusals import Refusals
from reskill_ros.plumbing.topics import observed_image

# Name of the source of the running episode's actions, and the scale of their noise.
Source = tuple[str, float]


class PolicyServer:
    """Server that publishes the action of a policy with batch size 1 for each observation, without delay.

    A repeated observation gets the same action again: the policy is stepped once per stamp.
    """

    def __init__(
        self,
        node: Node,
        policy: Policy,
        task: TaskSpec,
        source: Callable[[], Source],
        diagnostics: Diagnostics,
        seed: int,
        stack: ExitStack,
        exchange: Exchange | None = None,
    ) -> None:
        """Create subscriptions and publisher.

        Args:
            node: node that owns subscription and publisher.
            policy: policy that computes the actions.
            task: task of the policy.
            source: returns the source of the running episode's actions.
            diagnostics: diagnostics with the counters.
            seed: seed of the first episode without a seed of its own; increases by 1 for each following one.
            stack: exit stack that releases all resources.
            exchange: hands on observations and images within the process; by default they come by topic.
        """
        self._enabled = False
        self._policy, self._task, self._source = policy, task, source
        self._counters = diagnostics.counters
        self._growth = diagnostics.growth
        self._refusals = Refusals(node.get_logger(), self._counters)
        self._seed = self._next_seed = seed
        self._latency, self._rate = Latency(), Rate()
        self._stacks = StampedFrames(task.obs.images)
        # One message for all actions; it keeps the last one for repeated observations.
        self._answer = SkillAction()
        self.forget()
        self._publisher = node.create_publisher(SkillAction, "skill_action", qos.RECORDED)
        stack.callback(node.destroy_publisher, self._publisher)
        self._inputs = Inputs(node, diagnostics.publish, exchange)
        stack.callback(self._inputs.close)
        self._inputs.listen(Observation, "observation", self._on_observation, qos.NEWEST)
        for feature in task.obs.images:
            self._inputs.listen(Image, observed_image(feature.name), partial(self._on_image, feature), qos.RECORD)
        watch_clock(node, self.forget, stack)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Context in which observations are answered, starting with a new episode."""
        self.forget()
        self._enabled = True
        try:
            yield
        finally:
            self._enabled = False

    def forget(self) -> None:
        """Treat the next observation as the first one of an episode, after a reset or a jump of the clock."""
        self._last_stamp_ns = -1
        self._episode_id = -1
        self._next_step = 0
        # The newest observation whose images have not arrived yet.
        self._waiting: Observation | None = None
        self._episode_start_ns = 0
        self._stacks.forget()

    def report(self, report: Report) -> None:
        """Add rate, latency and faults to a report."""
        report.values |= {"rate_hz": self._rate.read_hz(), **self._latency.summary("answer")}
        if self._growth("non_finite_actions"):
            report.error(f"{self._growth('non_finite_actions')} actions were not finite")
        refused = sum(self._growth(name) for name in self._counters if name.startswith("refused_"))
        if refused:
            report.error(f"{refused} observations refused")
        if self._growth("overruns"):
            report.warn(f"{self._growth('overruns')} answers took longer than a control period")
        self._inputs.report(report)
        if self._waiting is not None:
            report.warn("the newest observation waits for its images")

    def _on_observation(self, message: Observation) -> None:
        if not self._enabled:
            return
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if stamp_ns == self._last_stamp_ns:
            self._counters["repeated"] += 1
            self._publisher.publish(self._answer)
            return
        fault = self._fault(message, stamp_ns)
        if fault:
            self._refusals.add("observation", fault, fault.replace("_", " "))
            return
        if self._refusals.any:
            self._refusals.accept("observation")
        if self._stacks.has(stamp_ns):
            self._waiting = None
            self._decide(message, stamp_ns)
        else:
            self._waiting = message

    def _on_image(self, feature: ImageFeature, message: Image) -> None:
        try:
            picture = images.picture(message, feature)
        except MessageError as error:
            self._refusals.add(feature.name, error.reason, str(error))
            return
        self._stacks.add(feature.name, convert.stamp_to_ns(message.header.stamp), picture)
        if self._waiting is not None:
            self._on_observation(self._waiting)

    def _decide(self, message: Observation, stamp_ns: int) -> None:
        started_s = time.perf_counter()
        self._follow_episode(message, stamp_ns)
        observation = self._task.obs.observation(
            convert.observation_values(message), self._stacks.stacked(stamp_ns, self._episode_start_ns)
        )
        answer = convert.skill_action_message(self._policy.act(observation), *self._source(), into=self._answer)
        answer.header = message.header
        answer.episode_id = message.episode_id
        answer.episode_step = message.episode_step
        self._publisher.publish(answer)
        self._last_stamp_ns = stamp_ns
        self._note(answer, time.perf_counter() - started_s)

    def _fault(self, message: Observation, stamp_ns: int) -> str:
        reordered = "reordered" if stamp_ns < self._last_stamp_ns else ""
        return convert.observation_fault(message, self._task) or reordered

    def _follow_episode(self, message: Observation, stamp_ns: int) -> None:
        step = message.episode_step
        if message.episode_id != self._episode_id or step == 0:
            # A robot that waits for its first command is at step 0 all the time: an episode that has not begun.
            is_waiting = message.episode_id == self._episode_id and self._next_step == 1
            if not is_waiting:
                self._seed = message.episode_seed
                if self._seed < 0:
                    self._seed, self._next_seed = self._next_seed, self._next_seed + 1
                self._counters["episodes"] += 1
            self._episode_id = message.episode_id
            self._episode_start_ns = stamp_ns
            self._policy.reset([self._seed])
        elif step > self._next_step:
            # The skill clock counts actions, so that it does not skip at a lost observation.
            self._counters["missed_observations"] += step - self._next_step
        self._next_step = step + 1

    def _note(self, answer: SkillAction, duration_s: float) -> None:
        self._latency.add(duration_s)
        self._rate.tick()
        if duration_s > self._task.control_period_s:
            self._counters["overruns"] += 1
        # The gate refuses such an action; it is reported here.
        if not all(map(math.isfinite, answer.action)):
            self._counters["non_finite_actions"] += 1

"""replay_node: replays the observations of a bag to a policy and compares its actions with the recorded ones."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.replay_node")

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import Image

from reskill_core.errors import GraphError
from reskill_core.files import atomic_write_json, require_writable_file
from reskill_core.parameters import parameter
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.plumbing.topics import observed_image
from reskill_ros.recording.replay_comparison import Comparison, Verdict, load_recorded

_REPEAT_PERIOD_S = 0.25


@dataclass(frozen=True)
class ReplayParameters:
    """Parameters of replay_node."""

    bag: str = parameter("", "Bag with observations and the actions in response to them.", read_only=True)
    namespace: str = parameter("", "Namespace of the recorded graph; empty: the only one in the bag.", read_only=True)
    task: str = parameter("", "Task of the policy; empty: the checkpoint's task.", read_only=True)
    skills: str = parameter("", "Checkpoint of the policy, to detect unsupported observations early.", read_only=True)
    tolerance: float = parameter(0.0, "Largest difference that counts as equal.", low=0.0, high=1e3, read_only=True)
    report: str = parameter("", "JSON file to write the comparison to; empty: only print it.", read_only=True)
    timeout_s: float = parameter(30.0, "Timeout of the policy's response [s].", low=0.0, high=86400.0)


class ReplayNode(Node):
    """Replacement of observation_node that publishes each observation after the response to the previous one."""

    def __init__(self) -> None:
        super().__init__("replay_node")
        self.done: Future = Future()
        self._config = Parameters(self, ReplayParameters())
        values = self._config.values
        if not values.bag:
            raise GraphError("parameter bag is empty; give the folder of a bag")
        if values.report:
            require_writable_file(Path(values.report), GraphError)
        # A task given by name is defined by the simulator.
        known = task_spec(values.task, "" if values.task else values.skills) if values.task or values.skills else None
        self._recording = load_recorded(Path(values.bag), values.namespace, known)
        self._recorded = self._recording.items
        self._features = known.obs.images if known is not None else ()
        self._comparison = Comparison(values.tolerance)
        self._next = 0
        self._asked_s = time.monotonic()
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", qos.CLOCK)
        self._publisher = self.create_publisher(Observation, "observation", qos.STATE)
        self._image_publishers = {
            feature.name: self.create_publisher(Image, observed_image(feature.name), qos.STATE)
            for feature in self._features
        }
        self.create_subscription(SkillAction, "skill_action", self._on_answer, qos.STATE)
        self.create_timer(_REPEAT_PERIOD_S, self._ask_again, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.diagnostics = Diagnostics(self, self._report)
        self.get_logger().info(f"replaying {len(self._recorded)} observations of {values.bag}")
        self._ask()

    def _ask(self) -> None:
        item = self._recorded[self._next]
        self._clock_publisher.publish(ClockMessage(clock=item.observation.header.stamp))
        for name, image in item.images(self._features).items():
            self._image_publishers[name].publish(image)
        self._publisher.publish(item.observation)

    def _ask_again(self) -> None:
        """Publish the observation again, for a policy that started late or missed it."""
        if time.monotonic() - self._asked_s > self._config.values.timeout_s:
            self._finish(
                f"the policy gave no answer within {self._config.values.timeout_s:g} s; is policy_node active?"
            )
        elif not self.done.done():
            self._ask()

    def _on_answer(self, answer: SkillAction) -> None:
        item = self._recorded[self._next]
        if self.done.done() or answer.header.stamp != item.observation.header.stamp:
            return
        self._comparison.add(item.stamp_ns, item.answer, answer)
        self._asked_s = time.monotonic()
        if self._next + 1 == len(self._recorded):
            self._finish()
        else:
            self._next += 1
            self._ask()

    def _finish(self, fault: str = "") -> None:
        if self.done.done():
            return
        verdict = Verdict(self._recording, self._comparison, self._recording.faults + ([fault] if fault else []))
        print(verdict.describe(), flush=True)
        values = self._config.values
        if values.report:
            atomic_write_json(Path(values.report), verdict.to_dict())
        self.done.set_result(verdict.exit_code)

    def _report(self, report: Report) -> None:
        report.state = "replaying"
        report.values = {"asked": self._next + 1, "of": len(self._recorded), "compared": self._comparison.count}


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(ReplayNode, args=args)

"""Latency and jitter of the control loop over ROS, from a driver's sensors to the command, with nodes as processes.

The lower bound is measured on the same machine: the same driver and as many processes, which only forward bytes.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.task import Future
from trajectory_msgs.msg import JointTrajectory

from reskill_core.checkpoint import save_checkpoint
from reskill_core.errors import GraphError
from reskill_core.models.config import ReskillModelConfig
from reskill_core.process import LAUNCHER
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.spec import TaskSpec
from reskill_ros.drivers.driver_topics import TopicConfig
from reskill_ros.graphs.supervisor import end_with
from reskill_ros.msg import EpisodeState
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.executor import DirectExecutor
from reskill_ros.plumbing.served_task import task_spec

_START_TIMEOUT_S = 30.0
# Excluded at the beginning, while caches and discovery settle.
_WARM_UP_S = 2.0
_DOMAINS = range(20, 102)
_TOPICS = TopicConfig()
_TASK = "block"
# Name for the topics of all sensors together.
_SENSORS = "sensors"


@dataclass(frozen=True)
class LoopTimes:
    """Latency and jitter of one run of the loop.

    Attributes:
        rate_hz: observations per second.
        observations: number of complete sensor readings.
        missed: number of observations without a command before the next observation.
        latency_p50_ms: median time from publishing the last sensor reading of an observation until the middleware of
            the driver's process has received the resulting command [ms].
        latency_p99_ms: 99th percentile of the latency [ms].
        latency_max_ms: maximum latency [ms].
        jitter_sd_ms: standard deviation of the time between two commands [ms].
        jitter_p99_ms: 99th percentile of the deviation of this time from the period [ms].
    """

    rate_hz: float
    observations: int
    missed: int
    latency_p50_ms: float
    latency_p99_ms: float
    latency_max_ms: float
    jitter_sd_ms: float
    jitter_p99_ms: float


def measure(rate_hz: float, duration_s: float, skills: Path | str | None = None, *, composed: bool) -> LoopTimes:
    """Measure the loop of a simulated driver, observation_node, policy_node and command_node as processes.

    Args:
        rate_hz: sensor readings and observations per second.
        duration_s: duration of the measurement after warm-up [s].
        skills: checkpoint folder of a skill module; by default an untrained one of the usual size.
        composed: whether observation_node and policy_node share a process.

    Raises:
        GraphError: the nodes do not respond.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        checkpoint = Path(skills) if skills is not None else untrained_skills(folder / "skills", task_spec(_TASK))
        served = ["-p", f"skills:={checkpoint}"]
        common = ["--ros-args", "--log-level", "warn"]
        observing = (
            [["composed_node", "observation_node", *served, "policy_node", *served, *common]]
            if composed
            else [[name, *common, *served] for name in ("observation_node", "policy_node")]
        )
        commanding = ["command_node", *common, *served, "-p", "auto_arm:=true"]
        processes = [["-m", f"reskill_ros.nodes.{name}", *words] for name, *words in (*observing, commanding)]
        task = task_spec("", str(checkpoint))
        return _measure(task, (TwistStamped, "command/twist"), processes, rate_hz, duration_s)


def measure_floor(rate_hz: float, duration_s: float, *, composed: bool) -> LoopTimes:
    """Measure the lower bound: the same driver, processes and traffic, but the processes only forward bytes.

    It is the share of middleware and operating system, which no nodes in Python can undercut.
    """
    commands = ["answer", "relayed_gripper", "relayed_execution"]
    if composed:
        stages = [(_SENSORS, ["relayed_observation", "relayed_action"]), ("relayed_action", commands)]
    else:
        stages = [
            (_SENSORS, ["relayed_observation"]),
            ("relayed_observation", ["relayed_action"]),
            ("relayed_action", commands),
        ]
    relays = [["-m", __name__, source, *targets] for source, targets in stages]
    return _measure(task_spec(_TASK), (PoseStamped, "answer"), relays, rate_hz, duration_s)


def _sensor_readings(task: TaskSpec) -> list[tuple[str, Any]]:
    """Topic and message of each sensor of a robot; the last one completes an observation."""
    positions = np.random.default_rng(1).uniform(0.3, 1.4, len(task.obs.joints))
    return [
        (_TOPICS.joint_states, convert.joint_state_message(Time(), task.obs.joints, positions)),
        (_TOPICS.episode, EpisodeState(task=task.name, episode_id=1, seed=0)),
        *(
            (_TOPICS.pose(frame), convert.pose_message(Time(), "world", (0.1 * number, 0.2, 0.3), (1, 0, 0, 0)))
            for number, frame in enumerate(task.obs.frames)
        ),
    ]


def _measure(
    task: TaskSpec,
    answer: tuple[type, str],
    processes: Sequence[Sequence[str]],
    rate_hz: float,
    duration_s: float,
) -> LoopTimes:
    with ExitStack() as stack:
        domain = _DOMAINS[os.getpid() % len(_DOMAINS)]
        context = Context()
        rclpy.init(context=context, domain_id=domain)
        stack.callback(rclpy.shutdown, context=context)
        for arguments in processes:
            stack.enter_context(_process(arguments, domain))
        driver = _Driver(context, task, answer, 1.0 / rate_hz)
        executor = DirectExecutor(driver)
        stack.callback(executor.shutdown)
        _spin(executor, driver.answered, _START_TIMEOUT_S)
        if not driver.received:
            raise GraphError(f"the processes of the loop gave no answer within {_START_TIMEOUT_S:g} s")
        _spin(executor, Future(), _WARM_UP_S)
        gc.collect()
        gc.freeze()
        first = driver.count
        _spin(executor, Future(), duration_s)
        last = driver.count
        # The response to the last observation may still be on its way.
        _spin(executor, Future(), 0.1)
        gc.unfreeze()
        return driver.times(first, last)


def untrained_skills(folder: Path, task: TaskSpec) -> Path:
    """Write the checkpoint of an untrained skill module of the usual size, as fast as a trained one."""
    # Imported here, because measuring a trained module does not need torch.
    from reskill_core.models.io import module_contents
    from reskill_core.models.skill_vae import SkillVae

    observations = np.random.default_rng(0).standard_normal((256, task.obs.dim)).astype(np.float32)
    model = SkillVae.fitted(ReskillModelConfig(), task, observations)
    return save_checkpoint(folder, SKILL_MODULE_KIND, *module_contents(model, task))


class _Driver(Node):
    """Node that publishes sensor readings at a fixed rate, and measures the time until the command with their stamp.

    Attributes:
        received: time at which the middleware received the command for each observation, by its number [ns].
        answered: Future that has a result after the first command.
    """

    def __init__(self, context: Context, task: TaskSpec, answer: tuple[type, str], period_s: float) -> None:
        super().__init__("driver", context=context)
        self._period_s = period_s
        self._readings = [
            (self.create_publisher(type(message), topic, qos.STATE), message)
            for topic, message in _sensor_readings(task)
        ]
        self._sent_ns: list[int] = []
        self._index: dict[int, int] = {}
        self.received: dict[int, int] = {}
        self.answered: Future = Future()
        self.create_subscription(*answer, self._on_answer, qos.NEWEST)
        # The gate passes commands only if each of its topics has a subscriber.
        self.create_subscription(JointTrajectory, "gripper/command", lambda _: None, qos.NEWEST)
        self.create_timer(period_s, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def count(self) -> int:
        """Number of complete sensor readings."""
        return len(self._sent_ns)

    def times(self, first: int, last: int) -> LoopTimes:
        """Compute the figures of the observations from ``first`` up to ``last``."""
        answered = [index for index in range(first, last) if index in self.received]
        latency_s = 1e-9 * np.array([self.received[index] - self._sent_ns[index] for index in answered])
        interval_s = 1e-9 * np.diff([self.received[index] for index in answered])
        missed = last - first - int((latency_s <= self._period_s).sum())
        p50, p99, longest = 1e3 * np.quantile(latency_s, [0.5, 0.99, 1.0])
        deviation_ms = 1e3 * np.abs(interval_s - self._period_s)
        return LoopTimes(
            rate_hz=1.0 / self._period_s,
            observations=last - first,
            missed=missed,
            latency_p50_ms=float(p50),
            latency_p99_ms=float(p99),
            latency_max_ms=float(longest),
            jitter_sd_ms=float(1e3 * interval_s.std()),
            jitter_p99_ms=float(np.quantile(deviation_ms, 0.99)),
        )

    def _tick(self) -> None:
        stamp: Time = self.get_clock().now().to_msg()
        self._index[convert.stamp_to_ns(stamp)] = self.count
        for _, message in self._readings:
            message.header.stamp = stamp
            if isinstance(message, EpisodeState):
                message.step = self.count
        *others, (publisher, message) = self._readings
        for other, reading in others:
            other.publish(reading)
        # The last reading completes the observation.
        self._sent_ns.append(time.time_ns())
        publisher.publish(message)

    def _on_answer(self, message: Any, info: Any) -> None:
        # The middleware's time of reception, which excludes the wake-up time of this process.
        index = self._index.get(convert.stamp_to_ns(message.header.stamp))
        if index is not None:
            self.received.setdefault(index, info["received_timestamp"])
            if not self.answered.done():
                self.answered.set_result(None)


def _spin(executor: DirectExecutor, stop: Future, timeout_s: float) -> None:
    """Run callbacks until ``stop`` has a result, or a time has passed."""

    def end() -> None:
        if not stop.done():
            stop.set_result(None)

    timer = threading.Timer(timeout_s, end)
    timer.start()
    executor.spin(stop)
    timer.cancel()


@contextmanager
def _process(arguments: Sequence[str], domain: int) -> Iterator[None]:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment[LAUNCHER] = str(os.getpid())
    # In its own session, so that Ctrl-C only reaches the parent.
    process = subprocess.Popen([sys.executable, *arguments], env=environment, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _relay(source: str, *targets: str) -> None:
    """Forward the bytes of the last sensor reading, or of a pose, to other topics until the process is terminated."""
    end_with(int(os.environ[LAUNCHER]))
    rclpy.init()
    node = Node("relay")
    publishers = [node.create_publisher(PoseStamped, target, qos.STATE) for target in targets]

    def forward(data: bytes) -> None:
        for publisher in publishers:
            publisher.publish(data)

    sources = _sensor_readings(task_spec(_TASK)) if source == _SENSORS else [(source, PoseStamped())]
    *others, (last, message) = sources
    for topic, other in others:
        node.create_subscription(type(other), topic, lambda data: None, qos.NEWEST, raw=True)
    node.create_subscription(type(message), last, forward, qos.NEWEST, raw=True)
    # The default handler, because a process that spins without a time-out never runs Python handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    DirectExecutor(node).spin(Future())


if __name__ == "__main__":
    _relay(*sys.argv[1:])

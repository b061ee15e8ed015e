"""Latency and jitter of the control loop over ROS, from observation to driver command, with nodes as processes.

The lower bound is measured on the same machine: the same three processes, two of which only forward bytes.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from trajectory_msgs.msg import JointTrajectory

from reskill_core.checkpoint import save_checkpoint
from reskill_core.errors import GraphError
from reskill_core.models.config import ReskillModelConfig
from reskill_core.process import LAUNCHER
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.spec import TaskSpec
from reskill_ros.graphs.supervisor import end_with
from reskill_ros.msg import Observation
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.executor import DirectExecutor
from reskill_ros.plumbing.served_task import task_spec

_START_TIMEOUT_S = 30.0
# Excluded at the beginning, while caches and discovery settle.
_WARM_UP_S = 2.0
_DOMAINS = range(20, 102)


@dataclass(frozen=True)
class LoopTimes:
    """Latency and jitter of one run of the loop.

    Attributes:
        rate_hz: observations per second.
        observations: number of published observations.
        missed: number of observations without a command before the next observation.
        latency_p50_ms: median time from publishing an observation until the middleware of the driver's process has
            received the resulting command [ms].
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


def measure(rate_hz: float, duration_s: float, skills: Path | str | None = None) -> LoopTimes:
    """Measure the loop of observation source, policy_node and command_node as three processes.

    Args:
        rate_hz: observations per second.
        duration_s: duration of the measurement after warm-up [s].
        skills: checkpoint folder of a skill module; by default an untrained one of the usual size.

    Raises:
        GraphError: the nodes do not respond.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        checkpoint = Path(skills) if skills is not None else untrained_skills(folder / "skills", task_spec("block"))
        parameters = ["--ros-args", "--log-level", "warn", "-p", f"skills:={checkpoint}"]
        processes = (
            ["-m", "reskill_ros.nodes.policy_node", *parameters],
            ["-m", "reskill_ros.nodes.command_node", *parameters, "-p", "auto_arm:=true"],
        )
        task = task_spec("", str(checkpoint))
        return _measure(task, (TwistStamped, "command/twist"), processes, rate_hz, duration_s)


def measure_floor(rate_hz: float, duration_s: float) -> LoopTimes:
    """Measure the lower bound: the same loop with two processes that only forward the bytes of observations.

    It is the share of middleware and operating system, which no pair of Python nodes can undercut.
    """
    processes = [["-m", __name__, *topics] for topics in (("observation", "relayed"), ("relayed", "answer"))]
    return _measure(task_spec("block"), (Observation, "answer"), processes, rate_hz, duration_s)


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
        source = _Source(context, task, answer, 1.0 / rate_hz)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(source)
        stack.callback(executor.shutdown)
        _spin(executor, lambda: bool(source.received), _START_TIMEOUT_S)
        if not source.received:
            raise GraphError(f"the processes of the loop gave no answer within {_START_TIMEOUT_S:g} s")
        _spin(executor, lambda: False, _WARM_UP_S)
        gc.collect()
        gc.freeze()
        first = source.count
        _spin(executor, lambda: False, duration_s)
        last = source.count
        # The response to the last observation may still be on its way.
        _spin(executor, lambda: False, 0.1)
        gc.unfreeze()
        return source.times(first, last)


def untrained_skills(folder: Path, task: TaskSpec) -> Path:
    """Write the checkpoint of an untrained skill module of the usual size, as fast as a trained one."""
    # Imported here, because measuring a trained module does not need torch.
    from reskill_core.models.io import module_contents
    from reskill_core.models.skill_vae import SkillVae

    observations = np.random.default_rng(0).standard_normal((256, task.obs.dim)).astype(np.float32)
    model = SkillVae.fitted(ReskillModelConfig(), task, observations)
    return save_checkpoint(folder, SKILL_MODULE_KIND, *module_contents(model, task))


class _Source(Node):
    """Node that publishes observations at a fixed rate, and measures the time until the response with their stamp."""

    def __init__(self, context: Context, task: TaskSpec, answer: tuple[type, str], period_s: float) -> None:
        super().__init__("observation_source", context=context)
        self._period_s = period_s
        self._message = Observation(task=task.name, episode_id=1, episode_seed=0)
        self._message.values = convert.float64_array(np.random.default_rng(1).uniform(0.3, 1.4, task.obs.dim))
        self._sent_ns: list[int] = []
        self._index: dict[int, int] = {}
        self.received: dict[int, int] = {}
        self._publisher = self.create_publisher(Observation, "observation", qos.STATE)
        self.create_subscription(*answer, self._on_answer, qos.NEWEST)
        # The gate passes commands only if each of its topics has a subscriber.
        self.create_subscription(JointTrajectory, "gripper/command", lambda _: None, qos.NEWEST)
        self.create_timer(period_s, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def count(self) -> int:
        """Number of published observations."""
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
        self._message.header.stamp = stamp
        self._message.episode_step = self.count
        self._index[convert.stamp_to_ns(stamp)] = self.count
        self._sent_ns.append(time.time_ns())
        self._publisher.publish(self._message)

    def _on_answer(self, message: Any, info: Any) -> None:
        # The middleware's time of reception, which excludes the wake-up time of this process.
        index = self._index.get(convert.stamp_to_ns(message.header.stamp))
        if index is not None:
            self.received.setdefault(index, info["received_timestamp"])


def _spin(executor: SingleThreadedExecutor, done: Callable[[], bool], timeout_s: float) -> None:
    end_s = time.perf_counter() + timeout_s
    while not done() and (left_s := end_s - time.perf_counter()) > 0:
        executor.spin_once(timeout_sec=left_s)


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


def _relay(source: str, target: str) -> None:
    """Forward the bytes of observations from one topic to another until the process is terminated."""
    end_with(int(os.environ[LAUNCHER]))
    rclpy.init()
    node = Node("relay")
    publisher = node.create_publisher(Observation, target, qos.STATE)
    node.create_subscription(Observation, source, publisher.publish, qos.NEWEST, raw=True)
    # The default handler, because a process that spins without a time-out never runs Python handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    DirectExecutor(node, Future()).spin()


if __name__ == "__main__":
    _relay(*sys.argv[1:])

"""Episodes of an agent on a simulated arm, over ROS, as an operator runs them: `python arm_trial.py ur5e clean_up`.

Starts the arm's driver and the policy graph with a driver file of the package, each in processes of their own; then for
every episode: stop, put the objects in place, start an episode, arm, and see whether the task is solved in the end.
With `--rehearse`, in one process and virtual time instead.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from reskill_core.intervals import rate
from reskill_ros.srv import ResetEpisode
from reskill_sim.engine.variation import parse_variation
from reskill_sim.families import get_task

_TIMEOUT_S = 60.0
# Of episodes that neither trained nor chose an agent.
FIRST_SEED = 20_000_000
HERE = Path(__file__).parent


class Operator(Node):
    """Calls services, one after the other."""

    def __init__(self) -> None:
        super().__init__("operator")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """Call a service once it is there.

        Raises:
            TimeoutError: it is not there, or does not answer.
        """
        client: Any = self.create_client(kind, name)
        try:
            if not client.wait_for_service(_TIMEOUT_S):
                raise TimeoutError(f"no service {name}")
            answer = client.call_async(kind.Request(**fields))
            self._executor.spin_until_future_complete(answer, _TIMEOUT_S)
            if not answer.done():
                raise TimeoutError(f"no answer from {name}")
            return answer.result()
        finally:
            self.destroy_client(client)

    def wait(self, time_s: float) -> None:
        """Let time pass."""
        end_s = time.monotonic() + time_s
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own, until the end of the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(_TIMEOUT_S)


def episodes(
    arm: str,
    driver: str,
    agent: str,
    count: int,
    folder: Path,
    horizons: float = 2.0,
    driver_options: Sequence[str] = (),
) -> list[tuple[bool, float]]:
    """Run episodes; returns for each whether the task was solved in the end, and the return.

    Args:
        arm: one of ``arm_driver.SETUPS``.
        driver: driver file.
        agent: checkpoint, or name of a shipped agent.
        count: number of episodes.
        folder: folder for logs.
        horizons: length of an episode, in horizons of the task: at half speed, it takes twice as long.
        driver_options: further arguments of the driver.
    """
    name = Path(agent).name.removesuffix("_varied")
    task = get_task(name).spec
    arm_command = [sys.executable, str(HERE / "arm_driver.py"), arm, "--task", name, *driver_options]
    policy_command = ["reskill-up", "policy", f"driver:={driver}", f"skills:={agent}"]
    results = []
    with running(arm_command, folder / "arm.log"), running(policy_command, folder / "policy.log"):
        operator = Operator()
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            operator.call(Trigger, "command_node/stop")
            operator.call(ResetEpisode, "arm_driver/episode", seed=seed)
            operator.wait(0.3)
            operator.call(Trigger, "observation_node/reset")
            operator.wait(0.2)
            armed = operator.call(Trigger, "command_node/arm")
            if not armed.success:
                raise RuntimeError(armed.message)
            operator.wait(horizons * task.horizon * task.control_period_s)
            outcome = operator.call(Trigger, "arm_driver/outcome")
            results.append((outcome.success, float(outcome.message)))
        operator.call(Trigger, "command_node/stop")
        operator.destroy_node()
    return results


def main() -> int:
    """Run episodes and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arm")
    parser.add_argument("agent")
    parser.add_argument("--driver", default="")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--horizons", type=float, default=2.0)
    parser.add_argument("--log", default="")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--variation", action="append", default=[], help="of the task's world, such as mass=0.05")
    given, others = parser.parse_known_args()
    if given.rehearse:
        if others:
            parser.error(f"{' '.join(others)}: not with --rehearse")
        from arm_rehearsal import Rehearsal

        rehearsal = Rehearsal(given.arm, given.agent, given.driver, parse_variation(given.variation))
        results = [rehearsal.episode(FIRST_SEED + number, given.horizons) for number in range(given.episodes)]
    else:
        folder = Path(given.log or tempfile.mkdtemp())
        folder.mkdir(parents=True, exist_ok=True)
        rclpy.init()
        others += [f"--variation={entry}" for entry in given.variation]
        results = episodes(
            given.arm, given.driver or given.arm, given.agent, given.episodes, folder, given.horizons, others
        )
    solved = sum(success for success, _ in results)
    share = rate([success for success, _ in results])
    mean = sum(value for _, value in results) / len(results)
    print(f"{given.arm} {given.agent}: solved {solved} of {len(results)}, {share}, return {mean:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

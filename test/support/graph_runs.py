"""Whole graphs as processes, and the same episodes in process to compare with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from reskill_core.data import DemoDataset, Episode
from reskill_core.environment import RestorableVectorEnv
from reskill_sim.engine.episodes import run_episodes

# Only a failing test waits this long; the machine may be busy.
TIMEOUT_S = 150.0


class GraphProcess:
    """``reskill-up`` with its nodes."""

    def __init__(self, graph: str, folder: Path, **arguments: object) -> None:
        """Start a graph; its output goes to a file in ``folder``."""
        command = [sys.executable, "-m", "reskill_ros.graphs.process_launcher", graph]
        command += [f"{name}:={value}" for name, value in arguments.items()]
        self._log = folder / f"{graph}-{time.monotonic_ns()}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        """All that was printed so far."""
        return self._log.read_text()

    def wait(self) -> int:
        """Wait for the end.

        Returns:
            The exit code.
        """
        try:
            return self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the graph did not end:\n{self.output}") from None

    def finish(self) -> None:
        """Wait for the end, which must be a success without any traceback."""
        code = self.wait()
        assert code == 0, self.output
        assert "Traceback" not in self.output, self.output

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something to come true while the graph runs."""
        end_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert self.process.poll() is None, f"the graph ended before {what}:\n{self.output}"
            assert time.monotonic() < end_s, f"waited {TIMEOUT_S:g} s for {what}:\n{self.output}"
            time.sleep(0.01)

    def node(self, name: str) -> psutil.Process | None:
        """The process of a node, if it runs."""
        for process in self.nodes():
            if f"__node:={name}" in process.cmdline():
                return process
        return None

    def nodes(self) -> list[psutil.Process]:
        """The processes of all nodes."""
        return psutil.Process(self.process.pid).children() if self.process.poll() is None else []

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.kill(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End everything at once."""
        for process in (*self.nodes(), psutil.Process(self.process.pid)):
            process.kill()
        self.process.wait()


def run_graph(graph: str, folder: Path, **arguments: object) -> str:
    """Run a graph to its end, which must be a success.

    Returns:
        What it printed.
    """
    process = GraphProcess(graph, folder, **arguments)
    process.finish()
    return process.output


def in_process(
    simulator: RestorableVectorEnv, actor: Any, seeds: Sequence[int], describe: Callable[[int], tuple[str, float]]
) -> dict[int, Episode]:
    """The episodes of these seeds without ROS, by seed."""
    episodes = run_episodes(simulator, actor, seeds, describe)
    return {episode.seed: episode for episode in episodes}


def assert_equal_to_the_last_bit(dataset: DemoDataset, expected: dict[int, Episode]) -> None:
    """Compare recorded episodes with those of the same seeds."""
    assert dataset.seed.tolist() == list(expected)
    for index, reference in enumerate(expected.values()):
        recorded = dataset.episode(index)
        for name, value in vars(reference).items():
            kept = getattr(recorded, name)
            if isinstance(value, np.ndarray):
                assert kept.dtype == value.dtype, name
                assert kept.shape == value.shape, name
                assert kept.tobytes() == value.tobytes(), name
            elif name == "images":
                assert {image: frames.array().tobytes() for image, frames in kept.items()} == {
                    image: frames.array().tobytes() for image, frames in value.items()
                }
            elif name == "noise_scale":
                assert np.float32(kept) == np.float32(value)
            else:
                assert kept == value, name

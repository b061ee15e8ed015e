"""Collecting: the same data whatever the number of workers, and nothing lost to a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from commands import Command

from reskill_core.data import DemoDataset, validate
from reskill_core.errors import ConfigError
from reskill_sim.engine.simulator import Simulator
from reskill_sim.experiments.collect import CollectConfig, collect
from reskill_sim.fetch.tasks import get_task

KILLS = int(os.environ.get("RESKILL_KILLS", "2"))


def small(out: Path, **changes: Any) -> CollectConfig:
    return CollectConfig(**{"episodes": 24, "out": str(out), "episodes_per_shard": 8, "workers": 1, **changes})


def test_data_are_the_same_with_one_and_two_workers(tmp_path: Path) -> None:
    reports = [collect(small(tmp_path / str(n), workers=n), show_progress=False) for n in (1, 2)]
    assert [report.num_episodes for report in reports] == [24, 24]
    one, two = (DemoDataset.open(tmp_path / str(n)) for n in (1, 2))
    assert one.content_hash() == two.content_hash()
    assert one.seed.tolist() == list(range(24))
    assert not validate(tmp_path / "2").problems


@pytest.mark.parametrize("task", ["block", "hook"])
def test_recorded_actions_replay_to_the_recorded_observations(tmp_path: Path, task: str) -> None:
    collect(small(tmp_path, task=task, episodes=2, episodes_per_shard=2), show_progress=False)
    episode = DemoDataset.open(tmp_path).episode(1)
    simulator = Simulator(get_task(task))
    simulator.set_state(episode.sim_state[:1])
    for step, action in enumerate(episode.executed_action):
        assert np.array_equal(simulator.observation()[0].astype(np.float32), episode.observation[step])
        result = simulator.step(action[None])
        assert result.reward[0] == episode.reward[step]
    assert np.array_equal(result.observation[0].astype(np.float32), episode.final_observation)
    assert bool(result.terminated[0]) == episode.terminated


def test_more_episodes_are_added_and_other_settings_refused(tmp_path: Path) -> None:
    collect(small(tmp_path, episodes=10), show_progress=False)
    report = collect(small(tmp_path, episodes=20), show_progress=False)
    assert (report.num_episodes, report.num_new) == (20, 10)
    with pytest.raises(ConfigError, match=r"(?s)noise_range: \[0.0, 0.15\] there.*first_seed: 0 there, 7 now"):
        collect(small(tmp_path, episodes=30, noise_range=(0.0, 0.3), first_seed=7), show_progress=False)


def test_killed_at_random_moments_it_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    # Enough that it cannot finish between the kills.
    episodes = 24 * KILLS
    config = small(tmp_path / "killed", episodes=episodes, episodes_per_shard=4)
    arguments = [f"{key}={value}" for key, value in vars(config).items() if key not in ("noise_range", "kind")]
    command = [sys.executable, "-m", "reskill_sim.cli.main", "collect", "collect/block.yaml", *arguments, "--quiet"]
    rng = random.Random(0)
    for _ in range(KILLS):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        before = len(list(Path(config.out).glob("*.h5*")))
        deadline = time.monotonic() + 60
        # Kill it somewhere between its first moments and a few shards further on.
        further = before + rng.randrange(3)
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(Path(config.out).glob("*.h5*"))) > further:
                break
            time.sleep(rng.uniform(0.0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        finished = [path for path in Path(config.out).glob("*.h5") if not path.name.startswith(".")]
        assert len(finished) >= before
    report = collect(config, show_progress=False)
    assert report.num_episodes == episodes
    assert not validate(config.out).problems
    collect(small(tmp_path / "whole", episodes=episodes, episodes_per_shard=4), show_progress=False)
    assert DemoDataset.open(config.out).content_hash() == DemoDataset.open(tmp_path / "whole").content_hash()


ENDINGS = {
    "Ctrl-C": [(os.killpg, signal.SIGINT)],
    "Ctrl-C twice": [(os.killpg, signal.SIGINT)] * 2,
    "interrupted alone": [(os.kill, signal.SIGINT)],
    "killed": [(os.kill, signal.SIGKILL)],
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_however_it_ends_no_worker_is_left(tmp_path: Path, ending: str) -> None:
    """Amid the work of two workers, whose shards take longer than anybody would wait."""
    out = tmp_path / "data"
    arguments = ["collect/block.yaml", "episodes=100000", "episodes_per_shard=2000", "workers=2", f"out={out}"]
    command = Command(tmp_path, [sys.executable, "-m", "reskill_sim.cli.main", "collect", *arguments, "--quiet"])
    try:
        # Both workers, beside the process itself and its tracker of resources, have begun to simulate.
        command.wait_until(lambda: sum(map(simulates, command.running())) == 2, "two workers at work")
        for send, number in ENDINGS[ending]:
            send(command.process.pid, number)
        code = command.wait()
        assert code in (130, -signal.SIGINT) if number == signal.SIGINT else code == -number
        assert "Traceback" not in command.output
        assert ("interrupted" in command.output) == (code == 130)
    finally:
        command.close()


def simulates(process: psutil.Process) -> bool:
    """Whether it is a worker that has loaded the simulator and been busy since."""
    try:
        is_worker = "spawn_main" in " ".join(process.cmdline())
        return is_worker and process.cpu_times().user > 1.0 and "libmujoco" in str(process.memory_maps())
    except psutil.Error:
        return False

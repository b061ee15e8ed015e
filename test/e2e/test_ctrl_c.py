"""Ctrl-C ends every command at any moment, imports included: quietly, and with all that it has started."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import Command

from reskill_core.data import DatasetWriter
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec

# Moments to try per command; each draws others. Unless somebody asks for more, one for one command of each kind.
KILLS = int(os.environ.get("RESKILL_KILLS", "2"))
SEED = int(os.environ.get("RESKILL_SEED", "0"))
# What a command imports first; before that, it is Python itself that starts up.
FIRST_IMPORT = "reskill_core.process"
# What the heaviest command imports, with all that it starts.
MOST_IMPORTS = 4000
QUIET_S = 1.0
NODES = sorted(path.stem for path in (Path(__file__).parents[2] / "reskill_ros" / "nodes").glob("*_node.py"))
# It needs a bag, and ends by itself.
NODES.remove("replay_node")


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


COMMANDS = {
    "reskill collect": module("reskill_sim.cli.main", "collect", "collect/block.yaml", "out=data", "workers=2"),
    "reskill train-skills": module("reskill_sim.cli.main", "train-skills", "skills/block.yaml", "data=data", "out=run"),
    "reskill train-agent": module(
        "reskill_sim.cli.main", "train-agent", "agents/clean_up.yaml", "skills=skills/block", "out=run"
    ),
    "reskill evaluate": module("reskill_sim.cli.main", "evaluate", "agents/clean_up", "--policy=agent", "--out=out"),
    "installed reskill": ["reskill", "list"],
    "reskill-up policy": module("reskill_ros.graphs.process_launcher", "policy"),
    "reskill-up collect": module("reskill_ros.graphs.process_launcher", "collect", "dataset:=data"),
    "installed reskill-up": ["reskill-up", "replay", "--help"],
    "demo": module("reskill_ros.tools.demo", "--out=out"),
    "ros2 launch": ["ros2", "launch", "reskill_ros", "policy.launch.py"],
    **{node: module(f"reskill_ros.nodes.{node}") for node in NODES},
}

OF_EACH_KIND = ("reskill collect", "reskill train-agent", "reskill-up policy", "demo", "ros2 launch", "command_node")


@pytest.fixture(params=range(KILLS // 2))
def moments(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{SEED}-{request.param}")


@pytest.mark.parametrize("name", COMMANDS if KILLS > 2 else OF_EACH_KIND)
def test_ctrl_c_at_any_moment_ends_a_command_quietly(name: str, moments: random.Random, tmp_path: Path) -> None:
    """After any number of imports, of the command or of what it starts; every other time a second one follows."""
    if name == "ros2 launch" and find_spec("ros2launch") is None:
        pytest.skip("the launch packages are not installed; pip has none")
    if name == "reskill train-skills":
        with DatasetWriter(tmp_path / "episodes", synthetic_spec()) as writer:
            writer.add_shard(synthetic_episodes(synthetic_spec(), 10))
    command = Command(tmp_path, COMMANDS[name], trace_imports=True)
    # What launch starts is in its process group and starts with Python's own imports, too.
    first = 5 if name == "ros2 launch" else 1
    moment, seen = Moment(moments.randrange(MOST_IMPORTS)), command.imports
    try:
        command.wait_until(lambda: command.imports.count(FIRST_IMPORT) >= first, "the first import")
        command.wait_until(lambda: moment.has_come(len(command.imports)), "the moment")
        seen = command.imports
        command.press_ctrl_c()
        if moments.random() < 0.5:
            time.sleep(moments.uniform(0.0, 0.5))
            command.press_ctrl_c()
        code = command.wait()
    finally:
        command.close()
    told = f"after {len(seen)} imports, the last of {seen[-1:]}: exit code {code}\n{command.output}"
    print(name, told)
    assert code in (0, 128 + signal.SIGINT, -signal.SIGINT), told
    assert "Traceback" not in command.output, told
    assert "KeyboardInterrupt" not in command.output, told


class Moment:
    """After a number of imports, or once there have been none for a while."""

    def __init__(self, imports: int) -> None:
        self._wanted = imports
        self._seen = (0, time.monotonic())

    def has_come(self, imports: int) -> bool:
        if imports != self._seen[0]:
            self._seen = (imports, time.monotonic())
        return imports >= self._wanted or time.monotonic() - self._seen[1] > QUIET_S

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from reskill_core.data import DemoDataset

pytest.importorskip("reskill_ros.msg", reason="the workspace is not built, or install/setup.bash is not sourced")

from reskill_ros.graphs.node_table import GRAPHS, argument_table

LAUNCH_FILES = Path(__file__).parents[2] / "launch"
Start = Callable[..., Any]


def test_every_graph_has_a_launch_file() -> None:
    assert {path.name for path in LAUNCH_FILES.glob("*")} - {"__pycache__"} == {
        f"{graph}.launch.py" for graph in GRAPHS
    }


@pytest.mark.parametrize("graph", GRAPHS)
def test_arguments_are_those_of_the_table(graph: str) -> None:
    pytest.importorskip("launch_ros", reason="the launch packages are not installed; pip has none")
    spec = spec_from_file_location("launch_file", LAUNCH_FILES / f"{graph}.launch.py")
    assert spec is not None
    assert spec.loader is not None
    launch_file = module_from_spec(spec)
    spec.loader.exec_module(launch_file)
    declared = launch_file.generate_launch_description().get_launch_arguments()
    found = [(item.name, "".join(part.text for part in item.default_value), item.choices) for item in declared]
    table = argument_table(graph)
    assert found == [(argument.name, argument.default, list(argument.choices) or None) for argument in table]
    assert all(
        item.description.startswith(argument.description) for item, argument in zip(declared, table, strict=True)
    )


def test_collect_ends_with_its_recorder(launched: Start, tmp_path: Path) -> None:
    # A folder called like a date: text must reach a node as text.
    collect = launched("collect", "episodes:=2", "seed:=7", "dataset:=2026-01-31")
    assert collect.wait() == 0, collect.output
    dataset = DemoDataset.open(tmp_path / "2026-01-31")
    assert dataset.num_episodes == 2
    assert collect.running_processes() == []


def test_namespace_and_parameter_file_reach_the_nodes(launched: Start, tmp_path: Path) -> None:
    (tmp_path / "parameters.yaml").write_text("/**:\n  ros__parameters:\n    seed: 40\n")
    collect = launched(
        "collect", "episodes:=1", "dataset:=recorded", "namespace:=left", f"params_file:={tmp_path}/parameters.yaml"
    )
    assert collect.wait() == 0, collect.output
    assert "[left.recorder_node]" in collect.output
    assert list(DemoDataset.open(tmp_path / "recorded").seed) == [40]


@pytest.mark.parametrize("composed", ["false", "true"])
def test_policy_is_recorded_and_replayed_exactly(launched: Start, skills: Path, tmp_path: Path, composed: str) -> None:
    shared = ("pacing:=lockstep", f"skills:={skills}", f"composed:={composed}")
    policy = launched("policy", "episodes:=1", "bag:=bag", *shared)
    assert policy.wait() == 0, policy.output
    assert ("[composed_node-" in policy.output) == (composed == "true")
    replay = launched("replay", "bag:=bag", f"skills:={skills}", "report:=report.json")
    assert replay.wait() == 0, replay.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["compared"] > 0


def test_a_recorded_episode_is_played_back_to_the_same_end(launched: Start, recorded: Path, tmp_path: Path) -> None:
    """As it was recorded: task, seed, profile and randomisation are those of the episode."""
    playback = launched("playback", f"dataset:={recorded}", "episode:=1", "report:=report.json")
    assert playback.wait() == 0, playback.output
    assert playback.running_processes() == []
    report = json.loads((tmp_path / "report.json").read_text())
    episode = DemoDataset.open(recorded).episode(1)
    assert (report["episode"], report["steps"], report["label"]) == (1, episode.num_steps, "2026-01-31")
    assert set(report["end"]) >= {"gripper_position", "block_position"}
    assert set(report["end"].values()) == {0.0}


def test_a_playback_from_another_start_ends_elsewhere(launched: Start, recorded: Path, tmp_path: Path) -> None:
    playback = launched("playback", f"dataset:={recorded}", "seed:=99", "report:=report.json")
    assert playback.wait() == 0, playback.output
    assert json.loads((tmp_path / "report.json").read_text())["end"]["block_position"] > 0.01


def test_an_interrupted_playback_ends_all_nodes_and_reports_nothing(
    launched: Start, recorded: Path, tmp_path: Path
) -> None:
    slow = ("pacing:=realtime", "real_time_factor:=0.01")
    playback = launched("playback", f"dataset:={recorded}", "report:=report.json", *slow)
    playback.wait_for("active: commands pass")
    playback.interrupt()
    assert playback.wait() == 0, playback.output
    assert playback.running_processes() == []
    assert "deviation from the recorded episode" not in playback.output
    assert not (tmp_path / "report.json").exists()


def test_interrupt_ends_all_nodes_cleanly(launched: Start) -> None:
    collect = launched("collect", "episodes:=0", "pacing:=realtime", "dataset:=recorded")
    collect.wait_for("saved shard-000000.h5")
    collect.interrupt()
    assert collect.wait() == 0, collect.output
    assert collect.running_processes() == []


def test_failure_of_a_required_node_ends_and_fails_the_launch(launched: Start) -> None:
    collect = launched("collect", "episodes:=0", "dataset:=recorded")
    collect.wait_for("saved shard-000000.h5")
    os.kill(collect.node_pid("demonstrator_node"), signal.SIGKILL)
    assert collect.wait() == 1
    assert "demonstrator_node failed with exit code -9" in collect.output
    assert collect.running_processes() == []


@pytest.mark.parametrize(
    ("graph", "argument", "message"),
    [
        ("collect", "task:=blok", "Valid options are: ['block', 'hook', "),
        ("collect", "episodes:=-1", "episodes"),
        ("policy", "driver:=fetch", "skills: is required"),
        ("replay", "skills:=somewhere", "bag: is required"),
        ("playback", "episode:=1", "dataset: is required"),
        ("playback", "dataset:=nowhere", "dataset: there is no nowhere"),
    ],
)
def test_invalid_arguments_are_explained(launched: Start, graph: str, argument: str, message: str) -> None:
    launch = launched(graph, argument)
    assert launch.wait() == 1
    assert message in launch.output
    assert "process started" not in launch.output

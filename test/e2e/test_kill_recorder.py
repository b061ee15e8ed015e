"""Recording over ROS survives what happens to processes: kills, Ctrl-C, and starting again."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path

import pytest
from graph_runs import GraphProcess, run_graph

from reskill_core.data import DemoDataset, validate
from reskill_core.data.manifest import find_shards
from reskill_core.files import sha256_of

KILLS = int(os.environ.get("RESKILL_KILLS", "2"))


def recording(folder: Path, **arguments: object) -> GraphProcess:
    return GraphProcess("collect", folder, dataset=folder / "data", keep_failures="true", **arguments)


def shards(folder: Path) -> dict[int, str]:
    """Fingerprints of the shards by index."""
    data = folder / "data"
    return {index: sha256_of(path) for index, path in find_shards(data).items()} if data.is_dir() else {}


def test_f29_a_killed_recorder_loses_only_the_running_episode(tmp_path: Path) -> None:
    """Earlier episodes are intact, everybody else ends, and the next start goes on where this one stopped."""
    graph = recording(tmp_path, episodes=1000)
    graph.wait_until(lambda: len(shards(tmp_path)) >= 2, "two episodes")
    recorder = graph.node("recorder_node")
    assert recorder is not None
    before = shards(tmp_path)
    nodes = graph.nodes()
    recorder.kill()
    assert graph.wait() == 128 + 9
    assert "recorder_node failed" in graph.output
    assert not any(node.is_running() for node in nodes)
    after = shards(tmp_path)
    assert before.items() <= after.items()
    assert list(after) == list(range(len(after)))
    assert_valid(tmp_path / "data")
    run_graph("collect", tmp_path, dataset=tmp_path / "data", keep_failures="true", episodes=2)
    assert after.items() <= shards(tmp_path).items()
    assert list(shards(tmp_path)) == list(range(len(after) + 2))
    assert_valid(tmp_path / "data")


def assert_valid(folder: Path) -> None:
    """Every shard is whole, and no episode is there twice."""
    assert not validate(folder).problems
    seeds = DemoDataset.open(folder).seed.tolist()
    assert seeds == sorted(set(seeds))


def test_ctrl_c_ends_a_recording_graph_in_order(tmp_path: Path) -> None:
    graph = recording(tmp_path, episodes=0)
    graph.wait_until(lambda: shards(tmp_path), "an episode")
    nodes = graph.nodes()
    graph.interrupt()
    graph.finish()
    assert not any(node.is_running() for node in nodes)
    assert_valid(tmp_path / "data")


def test_a_data_set_of_another_task_ends_the_graph_with_the_reason(tmp_path: Path) -> None:
    run_graph("collect", tmp_path, dataset=tmp_path / "data", keep_failures="true", episodes=1)
    graph = recording(tmp_path, task="hook", episodes=1)
    assert graph.wait() == 2
    assert "task.horizon" in graph.output
    assert "task.name" in graph.output


def is_past(end_s: float) -> bool:
    return time.monotonic() > end_s


@pytest.mark.timeout(120 + 60 * KILLS)
def test_killed_at_random_moments_it_keeps_what_is_finished(tmp_path: Path) -> None:
    """Recorder or everything at once, at any moment from start-up on: nothing finished is ever lost."""
    moments = random.Random(0)
    before: dict[int, str] = {}
    for kill in range(KILLS):
        graph = recording(tmp_path, episodes=1000)
        graph.wait_until(partial(is_past, time.monotonic() + moments.uniform(0.5, 8.0)), "the moment of the kill")
        recorder = graph.node("recorder_node")
        if kill % 2 or recorder is None:
            graph.kill()
        else:
            recorder.kill()
            graph.wait()
        after = shards(tmp_path)
        assert before.items() <= after.items()
        assert list(after) == list(range(len(after)))
        if after:
            assert_valid(tmp_path / "data")
        before = after
    run_graph("collect", tmp_path, dataset=tmp_path / "data", keep_failures="true", episodes=1)
    print(f"{len(shards(tmp_path))} episodes after {KILLS} kills")
    assert_valid(tmp_path / "data")
    assert not list((tmp_path / "data").glob(".part-*"))

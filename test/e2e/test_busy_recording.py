"""Recording loses no finished episode, however little of the processor a recorder gets and whenever it ends."""

from __future__ import annotations

import json
import os
import random
import re
import time
from pathlib import Path

import pytest
from busy import busy_machine
from graph_runs import GraphProcess, run_graph

from reskill_core.data import DemoDataset, validate
from reskill_core.data.manifest import find_shards


def test_what_keeps_the_machine_busy_takes_its_time_from_all_sessions() -> None:
    with busy_machine(3) as loops:
        sessions = {os.getsid(process.pid) for process in loops}
    assert len(sessions - {os.getsid(0)}) == 3


def test_lockstep_on_a_busy_machine_records_every_episode(tmp_path: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "report.json"
    with busy_machine(4):
        output = run_graph(
            "policy",
            tmp_path,
            task="slippery_push",
            profile="turbo",
            pacing="lockstep",
            episodes=10,
            dataset=data,
            report=report,
        )
    assert "10 of 10 episodes recorded" in output
    finished = json.loads(report.read_text())["results"]
    dataset = DemoDataset.open(data)
    assert dataset.seed.tolist() == [row["seed"] for row in finished] == list(range(10))
    assert dataset.success.tolist() == [row["success"] for row in finished]
    assert not validate(data).problems


def test_a_recorder_that_is_held_up_in_real_time_misses_nothing(tmp_path: Path) -> None:
    """It is stopped for seconds, while the driver's episodes go on; what the driver published is all there after it.

    Whether somebody else misses an observation meanwhile is up to the machine: such an episode has no answer to it.
    """
    data = tmp_path / "data"
    graph = GraphProcess("collect", tmp_path, pacing="realtime", episodes=3, dataset=data, keep_failures="true")
    graph.wait_until(lambda: data.is_dir() and find_shards(data), "an episode")
    recorder = graph.node("recorder_node")
    assert recorder is not None
    recorder.suspend()
    end_s = time.monotonic() + 2.5
    graph.wait_until(lambda: time.monotonic() > end_s, "the end of the pause")
    recorder.resume()
    graph.finish()
    assert re.search(r"3 of \d+ episodes recorded", graph.output)
    # It hears this from the driver itself.
    assert not re.search(r"missing: .*\d of episode\b|given up by the driver|the middleware lost", graph.output)


@pytest.mark.parametrize("moment", range(3))
def test_whenever_it_is_interrupted_what_the_simulator_finished_is_there(tmp_path: Path, moment: int) -> None:
    data, report = tmp_path / "data", tmp_path / "report.json"
    graph = GraphProcess(
        "policy", tmp_path, task="slippery_push", profile="turbo", pacing="lockstep", dataset=data, report=report
    )
    graph.wait_until(lambda: data.is_dir() and find_shards(data), "an episode")
    end_s = time.monotonic() + random.Random(moment).uniform(0, 1)
    graph.wait_until(lambda: time.monotonic() > end_s, "the moment")
    graph.interrupt()
    graph.finish()
    finished = [row["seed"] for row in json.loads(report.read_text())["results"] if row["ended"]]
    assert DemoDataset.open(data).seed.tolist() == finished
    assert f"{len(finished)} of " in graph.output

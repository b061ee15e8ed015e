"""Labels of recorded episodes: from the recorder's parameter, or from whoever starts or ends an episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter
from recorder_bench import Bench, episode, make_bench
from ros_graph import MakeGraph, text

from reskill_core.data import DemoDataset
from reskill_core.errors import GraphError

ROBOT: dict[str, Any] = {
    "topics": "observation skill_action executed_action",
    "driver_episodes": False,
    "auto_start": False,
}


def play(bench: Bench, seed: int = 0) -> None:
    heard = len(bench.acknowledged)
    bench.play(episode(seed))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == heard + 5, "all messages")


def labels(folder: Path) -> list[str]:
    return [str(label) for label in DemoDataset.open(folder / "data").label]


def test_a_changed_parameter_labels_the_episodes_that_start_then(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", label="lift the block")
    bench.play(episode(0))
    bench.wait_for("saved")
    running = bench.play(episode(1), lose=(("observation", 3),))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == 9, "an episode that lacks something")
    assert bench.node.set_parameters([Parameter("label", value="put it down")])[0].successful
    bench.send(episode(1), 3, "observation", running[3])
    bench.play(episode(2))
    bench.wait_for("saved", 3)
    bench.node.set_parameters([Parameter("label", value="")])
    bench.play(episode(3))
    bench.wait_for("saved", 4)
    assert labels(tmp_path) == ["lift the block", "lift the block", "put it down", ""]


def test_a_label_given_at_the_start_counts_until_recording_stops(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", label="by default", auto_start=False)
    answer = bench.call("start", label="Würfel auf das Tablett")
    assert (answer.success, answer.message) == (True, 'recording, labelled "Würfel auf das Tablett"')
    for seed in (0, 1):
        bench.play(episode(seed))
        bench.wait_for("saved", seed + 1)
    assert bench.call("stop").success
    assert bench.call("start").message == 'recording, labelled "by default"'
    bench.play(episode(2))
    bench.wait_for("saved", 3)
    assert labels(tmp_path) == ["Würfel auf das Tablett", "Würfel auf das Tablett", "by default"]


def test_status_and_log_show_labels(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", label="lift the block")
    bench.play(episode(0))
    bench.wait_for("saved")
    ending = 'success, labelled "lift the block"'
    bench.graph.spin_until(lambda: bench.statuses and ending in text(bench.statuses[-1], "last_episode"), ending)
    assert text(bench.statuses[-1], "label") == "lift the block"


def test_a_label_given_at_the_end_replaces_that_of_the_start(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", label="by default", **ROBOT)
    for count, (start, end) in enumerate([("", ""), ("lift", ""), ("lift", "slipped"), ("", "slipped")], start=1):
        assert bench.call("start", label=start).success
        play(bench)
        assert bench.call("stop", label=end).success
        bench.wait_for("saved", count)
    assert labels(tmp_path) == ["by default", "lift", "slipped", "slipped"]


def test_an_episode_that_is_recorded_again_keeps_its_label(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", **ROBOT)
    assert bench.call("start", label="lift").success
    play(bench, 1)
    assert bench.call("discard").success
    play(bench, 2)
    assert bench.call("stop").success
    bench.wait_for("saved")
    assert labels(tmp_path) == ["lift"]


@pytest.mark.parametrize("label", ["two\nlines", "x" * 257])
def test_what_cannot_be_a_label_changes_nothing(make_graph: MakeGraph, tmp_path: Path, label: str) -> None:
    """Neither what is recorded nor that it is recorded; the answer says what is allowed."""
    bench = make_bench(make_graph, tmp_path / "data", **ROBOT)
    refused = bench.call("start", label=label)
    assert not refused.success
    assert not bench.node.assembler.recording
    assert bench.call("start", label="lift").success
    play(bench)
    changed = bench.node.set_parameters([Parameter("label", value=label)])[0]
    assert not changed.successful
    ended = bench.call("stop", label=label)
    assert not ended.success
    for message in (refused.message, ended.message, changed.reason):
        assert "a label has at most 256 bytes" in message or "a label is one line without control" in message
    assert bench.call("stop").success
    bench.wait_for("saved")
    assert labels(tmp_path) == ["lift"]


def test_a_parameter_that_cannot_be_a_label_is_refused_at_the_start(make_graph: MakeGraph, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"label: a label is one line without control characters, got '\\n'"):
        make_bench(make_graph, tmp_path / "data", label="two\nlines")

"""recorder_node at its end, and episodes that it is told to drop: nothing is lost without a word."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from recorder_bench import assert_same, episode, make_bench
from ros_graph import MakeGraph

from reskill_core.data import DemoDataset, validate


@pytest.mark.parametrize("episodes", [0, 5])
def test_f31_a_full_disk_loses_the_episode_and_says_so(make_graph: MakeGraph, tmp_path: Path, episodes: int) -> None:
    """A recorder without an end stays alive for somebody to make room; one that has to finish fails."""
    bench = make_bench(make_graph, tmp_path / "data", min_free_gb=1e6, episodes=episodes)
    bench.play(episode(0))
    assert bench.wait_for_status("are free").level == DiagnosticStatus.ERROR
    assert bench.node.done.done() == (episodes > 0)
    if episodes:
        assert bench.node.done.result() == 1
    assert bench.node.store.counts["saved"] == 0


def test_f31_a_disk_that_is_full_for_a_while_costs_the_episode_of_that_while(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    """The node lives, says so and goes on; nothing is torn; what it recorded is not all: it ends with an error."""
    bench = make_bench(make_graph, tmp_path / "data")
    bench.play(episode(0))
    bench.wait_for("saved")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        bench.play(episode(1))
        assert bench.wait_for_status("cannot write").level == DiagnosticStatus.ERROR
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    bench.play(episode(2))
    bench.wait_for("saved", 2)
    bench.graph.remove(bench.node)
    assert "2 of 3 episodes recorded" in bench.node.summary
    assert "1 discarded: 1 that could not be written" in bench.node.summary
    assert bench.node.exit_code == 1
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [0, 2]
    assert not validate(tmp_path / "data").problems
    assert not list((tmp_path / "data").glob(".part-*"))


def test_what_has_arrived_when_the_recorder_ends_is_saved(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Two finished episodes still wait in its queues, and one is running."""
    bench = make_bench(make_graph, tmp_path / "data", patience_s=5.0)
    shown = [episode(0), episode(1, steps=9)]
    for item in shown:
        bench.play(item, spin=False)
    bench.play(episode(2), lose=tuple(("episode", step) for step in (3, 4)), spin=False)
    bench.graph.remove(bench.node)
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.seed.tolist() == [0, 1]
    for index, item in enumerate(shown):
        assert_same(dataset.episode(index), item)
    assert "2 of 3 episodes recorded" in bench.node.summary
    assert "1 discarded: 1 still running at the end" in bench.node.summary
    assert bench.node.exit_code == 0


@pytest.mark.parametrize("gap", [("skill_action", 4), ("episode", 6)])
def test_what_the_end_cuts_short_is_kept_up_to_there_if_asked_to(
    make_graph: MakeGraph, tmp_path: Path, gap: tuple[str, int]
) -> None:
    """An episode that is over with a gap, or that is not over at all."""
    shown = episode(0, steps=6)
    bench = make_bench(make_graph, tmp_path / "data", keep_incomplete=True, patience_s=60.0)
    bench.play(shown, lose=(gap,))
    bench.graph.remove(bench.node)
    kept = DemoDataset.open(tmp_path / "data").episode(0)
    assert (kept.num_steps, kept.success, kept.terminated, kept.truncated) == (
        gap[1] - (gap[1] == 6),
        False,
        False,
        True,
    )
    assert kept.observation.tobytes() == shown.observation[: kept.num_steps].tobytes()
    assert "1 of 1 episodes recorded" in bench.node.summary


def test_an_end_names_every_reason(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", keep_failures=False, patience_s=60.0)
    bench.play(episode(0, success=False))
    bench.play(episode(1), valid=False)
    bench.play(episode(2), lose=(("episode", 4),))
    bench.play(episode(3))
    bench.play(episode(4), lose=(("skill_action", 1),))
    bench.graph.remove(bench.node)
    summary = bench.node.summary
    assert "1 of 5 episodes recorded" in summary
    assert summary.endswith(
        "4 discarded: 1 did not reach the goal, 1 of which messages were missing, 1 not valid, says the driver, "
        "1 given up by the driver"
    )


def test_an_episode_may_become_whole_after_the_next(make_graph: MakeGraph, tmp_path: Path) -> None:
    """One message of it is late, and nothing of the first may go when the second is taken out."""
    bench = make_bench(make_graph, tmp_path / "data", patience_s=60.0)
    shown = episode(0)
    stamps = bench.play(shown, lose=(("executed_action", 2),))
    bench.play(episode(1))
    bench.wait_for("saved")
    bench.send(shown, 2, "executed_action", stamps[2])
    bench.wait_for("saved", 2)
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.seed.tolist() == [1, 0]
    assert_same(dataset.episode(1), shown)


def test_f34_cancelling_what_has_not_begun_or_is_over_changes_nothing(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Between ~/start and the first message, and while a finished episode is still being completed."""
    bench = make_bench(make_graph, tmp_path / "data", auto_start=False, patience_s=60.0)
    assert bench.call("start").success
    early = bench.call("discard")
    assert (early.success, early.message) == (False, "no episode is running")
    stamps = bench.play(episode(0), lose=(("executed_action", 2),))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == 4, "all other messages")
    late = bench.call("discard")
    assert (late.success, late.message) == (False, "no episode is running")
    bench.send(episode(0), 2, "executed_action", stamps[2])
    bench.wait_for("saved")
    bench.play(episode(1))
    bench.wait_for("saved", 2)
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [0, 1]


def test_f34_stopping_before_the_first_message_records_nothing(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", auto_start=False)
    assert bench.call("start").success
    assert bench.call("stop").message == "stopped; no episode is running"
    bench.play(episode(0))
    assert bench.call("start").success
    bench.play(episode(1))
    bench.wait_for("saved")
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [1]

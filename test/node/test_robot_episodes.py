"""Episodes of a robot, which has none of its own: verdicts, a longest duration, and topics that fall silent."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorder_bench import Bench, episode, make_bench
from ros_graph import MakeGraph

from reskill_core.data import DemoDataset
from reskill_ros.msg import SkillAction

TOPICS = "observation skill_action executed_action"


@pytest.fixture
def bench(make_graph: MakeGraph, tmp_path: Path) -> Bench:
    return make_robot(make_graph, tmp_path)


def make_robot(make_graph: MakeGraph, folder: Path, **parameters: object) -> Bench:
    return make_bench(make_graph, folder / "data", topics=TOPICS, auto_start=False, driver_episodes=False, **parameters)


def play(bench: Bench, seed: int, steps: int = 5) -> None:
    heard = len(bench.acknowledged)
    bench.play(episode(seed, steps=steps))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == heard + steps + 1, "all messages")


def test_the_operator_says_how_an_episode_ended(bench: Bench, tmp_path: Path) -> None:
    for verdict in ("success", "failure", ""):
        assert bench.call("start").success
        play(bench, 1)
        assert bench.call("stop", verdict=verdict).success
        bench.wait_for("saved", bench.node.store.counts["saved"] + 1)
    kept = DemoDataset.open(tmp_path / "data")
    assert kept.success.tolist() == [True, False, True]
    assert [kept.episode(index).terminated for index in range(3)] == [True, True, True]


def test_an_unknown_verdict_ends_nothing(bench: Bench) -> None:
    assert bench.call("start").success
    play(bench, 1)
    answer = bench.call("stop", verdict="good")
    assert not answer.success
    assert "success or failure" in answer.message
    assert bench.call("stop", verdict="success").success


def test_failures_can_be_left_out(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_robot(make_graph, tmp_path, keep_failures=False)
    assert bench.call("start").success
    play(bench, 1)
    assert "left out" in bench.call("stop", verdict="failure").message
    bench.wait_for("failed")
    assert bench.node.store.counts["saved"] == 0


def test_discarding_records_the_episode_anew(bench: Bench, tmp_path: Path) -> None:
    assert bench.call("start").success
    play(bench, 1, steps=7)
    assert "recording the next one" in bench.call("discard").message
    play(bench, 2, steps=4)
    assert bench.call("stop").success
    bench.wait_for("saved")
    kept = DemoDataset.open(tmp_path / "data").episode(0)
    assert kept.num_steps == 4
    assert kept.action.tobytes() == episode(2, steps=4).action.tobytes()


def test_an_episode_that_takes_too_long_ends_as_a_failure(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_robot(make_graph, tmp_path, max_duration_s=0.5)
    assert bench.call("start").success
    play(bench, 1)
    bench.wait_for("saved")
    kept = DemoDataset.open(tmp_path / "data").episode(0)
    assert (kept.success, kept.terminated, kept.truncated) == (False, False, True)
    assert bench.call("start").success, "the next one is started by the operator"


def test_a_topic_that_falls_silent_is_named_while_recording(bench: Bench) -> None:
    """Of those that are published all the time, the one that is not."""
    assert bench.call("start").success
    shown, stamp = episode(1, steps=400), bench.next_ns

    def silence() -> bool:
        nonlocal stamp
        stamp += 40_000_000
        for topic in ("observation", "skill_action"):
            bench.send(shown, 0, topic, stamp)
        return bool(bench.statuses) and "silent: executed_action" in bench.statuses[-1].message

    bench.graph.spin_until(silence, "the warning")
    play(bench, 1)
    bench.graph.spin_until(lambda: "silent" not in bench.statuses[-1].message, "the all-clear")


def test_nothing_is_silent_while_nothing_is_recorded(bench: Bench) -> None:
    bench.graph.spin_for(1.2)
    assert all("silent" not in status.message for status in bench.statuses)


def test_what_happens_before_arming_and_after_the_stop_is_no_part_of_an_episode(bench: Bench, tmp_path: Path) -> None:
    """Observations and actions go on all the time; commands pass only in between."""
    assert bench.call("start").success
    shown = episode(1, steps=12)
    unarmed = [("executed_action", step) for step in (0, 1, 2, 9, 10, 11, 12)]
    stamps = bench.play(shown, lose=tuple(unarmed))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == 6, "the commands")
    assert bench.call("stop").success
    bench.wait_for("saved")
    kept = DemoDataset.open(tmp_path / "data").episode(0)
    assert kept.action.tobytes() == shown.action[3:9].tobytes()
    assert kept.final_observation.tobytes() == shown.observation[9].tobytes()
    assert (kept.success, len(stamps)) == (True, 13)


def test_a_gap_in_the_middle_is_still_a_gap(bench: Bench) -> None:
    assert bench.call("start").success
    bench.play(episode(1, steps=9), lose=(("executed_action", 0), ("executed_action", 4)))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == 8, "the other messages")
    assert bench.call("stop").success
    bench.wait_for("incomplete")


def test_actions_of_a_wrong_size_are_refused_one_by_one(bench: Bench, tmp_path: Path) -> None:
    """They do not spoil the episode that they arrive in."""
    assert bench.call("start").success
    play(bench, 1)
    bench.publishers["skill_action"].publish(SkillAction(decoded_action=[0.5, 0.5], source="stranger"))
    bench.graph.spin_until(lambda: bench.node.diagnostics.counters["refused_wrong_size"], "the refusal")
    assert bench.call("stop").success
    bench.wait_for("saved")
    assert DemoDataset.open(tmp_path / "data").episode(0).num_steps == 5

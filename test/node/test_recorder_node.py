"""recorder_node: whole episodes become shards, everything else is named and left out."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from recorder_bench import PERIOD_NS, STATE_DIM, TASK, assert_same, episode, make_bench
from ros_graph import TIMEOUT_S, MakeGraph, text
from rosgraph_msgs.msg import Clock

from reskill_core.data import DatasetSpec, DatasetWriter, DataWorld, DemoDataset, read_shard
from reskill_core.errors import DataError
from reskill_core.provenance import simulator_version
from reskill_ros.msg import Observation
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import now_ns


def test_episodes_become_shards_bit_for_bit(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", episodes=2)
    shown = [episode(3), episode(4, steps=7, success=False)]
    for item in shown:
        bench.play(item)
    bench.wait_for("saved", 2)
    assert bench.node.done.result() == 0
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.num_episodes == 2
    for index, item in enumerate(shown):
        assert_same(dataset.episode(index), item)
    assert dataset.spec == DatasetSpec(TASK, "exact", STATE_DIM)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"variation": "friction=0.5:1.5 action_delay=1"}, {"friction": [0.5, 1.5], "action_delay": [1, 1]}),
        ({"variation": ""}, {}),
        ({}, None),
    ],
)
def test_what_it_is_told_of_the_world_is_kept(
    make_graph: MakeGraph, tmp_path: Path, given: dict[str, str], kept: dict[str, list[float]] | None
) -> None:
    bench = make_bench(make_graph, tmp_path / "data", episodes=1, **given)
    bench.play(episode(3))
    bench.wait_for("saved")
    [world] = DemoDataset.open(tmp_path / "data").worlds
    assert world == DataWorld("exact", kept, simulator_version())


def test_whole_stamps_are_acknowledged(make_graph: MakeGraph, tmp_path: Path) -> None:
    """The last one only once the episode is on the disk; one that lacks something never."""
    bench = make_bench(make_graph, tmp_path / "data")
    stamps = bench.play(episode(), lose=(("executed_action", 1),))
    whole = [stamp for stamp in stamps if stamp != stamps[1]]
    bench.graph.spin_until(lambda: len(bench.acknowledged) == len(whole), "acknowledgements")
    assert [convert.stamp_to_ns(header.stamp) for header in bench.acknowledged] == whole


def test_repeated_messages_change_nothing(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data")
    shown = episode()
    bench.play(shown)
    bench.next_ns, bench.next_id = PERIOD_NS, 1
    bench.play(shown)
    bench.play(episode(1))
    bench.graph.spin_until(lambda: bench.node.store.counts["saved"] >= 2, "both episodes")
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.seed.tolist() == [0, 1]
    assert_same(dataset.episode(0), shown)


@pytest.mark.parametrize(
    ("topic", "step"),
    [("observation", 0), ("observation", 4), ("skill_action", 2), ("executed_action", 3), ("episode", 1)],
)
def test_f32_an_episode_with_a_gap_is_not_saved_and_the_topic_named(
    make_graph: MakeGraph, tmp_path: Path, topic: str, step: int
) -> None:
    bench = make_bench(make_graph, tmp_path / "data")
    bench.play(episode(), lose=((topic, step),))
    bench.wait_for("incomplete")
    ends = f"missing: 1 of {topic}"
    bench.graph.spin_until(lambda: bench.statuses and text(bench.statuses[-1], "last_episode").endswith(ends), ends)
    bench.play(episode(1))
    bench.wait_for("saved")
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [1]


def test_f32_a_topic_that_never_comes_is_reported_while_it_lasts(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", topics="observation skill_action episode")
    bench.play(episode(steps=8))
    assert bench.wait_for_status("of executed_action").level == DiagnosticStatus.WARN


def test_f33_what_was_lost_is_kept_in_the_file_if_asked_to(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Up to its first gap the episode is whole; it counts as truncated, not as a success."""
    bench = make_bench(make_graph, tmp_path / "data", keep_incomplete=True)
    shown = episode(steps=6)
    bench.play(shown, lose=(("skill_action", 4),))
    bench.wait_for("saved")
    kept = DemoDataset.open(tmp_path / "data").episode(0)
    assert (kept.num_steps, kept.success, kept.terminated, kept.truncated) == (4, False, False, True)
    assert kept.observation.tobytes() == shown.observation[:4].tobytes()
    assert kept.reward.tobytes() == shown.reward[:4].tobytes()
    assert kept.final_observation.tobytes() == shown.observation[4].tobytes()
    audit = read_shard(tmp_path / "data" / "shard-000000.h5").extra["recorder"]
    assert audit == {"missing": {"skill_action": 1}, "lost": {}}


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    """Ends processes, also of a test that fails: they would answer the next ones."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("node", ["recorder_node", "bag_recorder_node"])
def test_f33_what_the_middleware_lost_is_counted_by_topic(
    make_graph: MakeGraph, tmp_path: Path, ended: ExitStack, node: str
) -> None:
    """A publisher that keeps one message goes on while the recorder's process is stopped; status and log say it."""
    graph = make_graph()
    statuses = graph.listen(DiagnosticStatus, f"{node.removesuffix('_node')}/status", qos.LATCHED)
    publisher = graph.probe.create_publisher(Observation, "observation", qos.COMMAND)
    place = {"recorder_node": "dataset", "bag_recorder_node": "bag"}[node]
    process = subprocess.Popen(
        [sys.executable, "-m", f"reskill_ros.nodes.{node}", "--ros-args", "-p", f"{place}:={tmp_path / 'recorded'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ended.callback(process.wait)
    ended.callback(process.kill)
    graph.spin_until(lambda: publisher.get_subscription_count() > 0 and statuses, "the recorder")
    # The recorder knows the publisher, too, once it has acknowledged a message; what was sent before is not lost to it.
    publisher.publish(Observation(task=TASK.name))
    assert publisher.wait_for_all_acked(Duration(seconds=TIMEOUT_S))
    process.send_signal(signal.SIGSTOP)
    for step in range(3000):
        publisher.publish(Observation(task=TASK.name, episode_step=step, values=[0.0] * 1000))
    process.send_signal(signal.SIGCONT)

    def lost() -> int:
        keys = {item.key: item.value for item in statuses[-1].values}
        return int(keys.get("lost_observation", keys.get("lost/observation", 0)))

    graph.spin_until(lambda: lost() > 0, "the count")
    assert statuses[-1].level == DiagnosticStatus.WARN
    assert "the middleware lost: " in statuses[-1].message
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert re.search(r"the middleware lost: \d+ of /?observation", output)


def test_failures_and_invalid_episodes_are_left_out(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", keep_failures=False)
    bench.play(episode(0, success=False))
    bench.play(episode(1), valid=False)
    bench.play(episode(2))
    bench.wait_for("saved")
    assert bench.node.store.counts == {"failed": 1, "invalid": 1, "saved": 1}
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [2]


def test_an_episode_cut_short_by_a_reset_is_forgotten(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data")
    bench.play(episode(0), lose=(("episode", 4),))
    bench.play(episode(1))
    bench.wait_for("saved")
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [1]
    assert bench.node.assembler.abandoned == 1


def test_f11_after_the_clock_jumped_back_recording_starts_anew(make_graph: MakeGraph, tmp_path: Path) -> None:
    """A simulator that was started again counts its stamps and episodes from the beginning."""
    bench = make_bench(make_graph, tmp_path / "data", use_sim_time=True)
    clock = bench.graph.publisher(Clock, "/clock", qos.CLOCK)

    def session(seed: int, time_ns: int) -> None:
        clock.publish(Clock(clock=convert.ns_to_stamp(time_ns)))
        bench.graph.spin_until(lambda: now_ns(bench.node) == time_ns, "the clock")
        bench.next_ns, bench.next_id = PERIOD_NS, 1
        bench.play(episode(seed))
        bench.wait_for("saved", seed + 1)

    session(0, 10**10)
    session(1, 10**9)
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [0, 1]


def test_start_stop_and_discard(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", auto_start=False)
    bench.play(episode(0))
    assert not bench.call("stop").success
    assert bench.call("start").success
    again = bench.call("start")
    assert not again.success
    assert "already" in again.message
    bench.play(episode(1))
    bench.wait_for("saved")
    bench.play(replace(episode(2), terminated=False, success=False, truncated=False))
    assert bench.call("discard").success
    bench.play(episode(3))
    bench.wait_for("saved", 2)
    assert bench.call("stop").success
    bench.play(episode(4))
    assert bench.call("start").success
    bench.play(episode(5))
    bench.wait_for("saved", 3)
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [1, 3, 5]


def test_start_is_refused_when_nobody_publishes(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", topics="observation episode", auto_start=False)
    refused = bench.call("start")
    assert not refused.success
    assert "skill_action, executed_action" in refused.message


def test_without_episodes_of_the_driver_start_and_stop_delimit_them(make_graph: MakeGraph, tmp_path: Path) -> None:
    topics = "observation skill_action executed_action"
    bench = make_bench(make_graph, tmp_path / "data", topics=topics, auto_start=False, driver_episodes=False)
    bench.play(episode(0))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == 5, "all messages")
    assert bench.call("start").success
    shown = episode(1, steps=9)
    bench.play(shown)
    bench.graph.spin_until(lambda: len(bench.acknowledged) == 15, "all messages")
    assert bench.call("stop").success
    bench.wait_for("saved")
    assert bench.call("start").success
    kept = DemoDataset.open(tmp_path / "data").episode(0)
    assert (kept.num_steps, kept.success, kept.seed, kept.sim_state.shape) == (9, True, -1, (9, 0))
    assert kept.action.tobytes() == shown.action.tobytes()
    assert read_shard(tmp_path / "data" / "shard-000000.h5").header.spec.profile == "real"


def test_a_data_set_that_somebody_writes_to_is_not_recorded_into(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Such as collecting in process; what that has written stays, and it goes on."""
    with DatasetWriter(tmp_path / "data", DatasetSpec(TASK, "exact", STATE_DIM)) as writer:
        writer.add_shard([episode(0)])
        bench = make_bench(make_graph, tmp_path / "data")
        bench.publishers["episode"].publish(bench._messages(episode(1), 0)["episode"])
        with pytest.raises(DataError, match="data is being written to by somebody else"):
            bench.graph.spin_until(lambda: False, "the refusal")
        writer.add_shard([episode(2)])
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [0, 2]


def test_an_existing_data_set_is_continued(make_graph: MakeGraph, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", DatasetSpec(TASK, "exact", STATE_DIM)) as writer:
        writer.add_shard([episode(0)])
    bench = make_bench(make_graph, tmp_path / "data", episodes=1)
    bench.play(episode(1))
    bench.wait_for("saved")
    assert DemoDataset.open(tmp_path / "data").seed.tolist() == [0, 1]


def test_a_data_set_of_another_kind_is_refused_with_every_difference(make_graph: MakeGraph, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", DatasetSpec(replace(TASK, horizon=7), "fast", STATE_DIM)) as writer:
        writer.add_shard([episode(0)])
    bench = make_bench(make_graph, tmp_path / "data")

    def play() -> None:
        bench.play(episode(1))
        bench.graph.spin_until(lambda: False, "the refusal")

    with pytest.raises(DataError) as caught:
        play()
    assert "horizon" in str(caught.value)
    assert "profile" in str(caught.value)


def test_an_episode_longer_than_any_horizon_is_kept_until_its_last_answer(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    """Between ~/start and ~/stop; answers may come later than that."""
    steps = 4 * TASK.horizon + 150
    topics = "observation skill_action executed_action"
    bench = make_bench(make_graph, tmp_path / "data", topics=topics, auto_start=False, driver_episodes=False)
    assert bench.call("start").success
    shown = episode(1, steps=steps)
    stamps = bench.play(shown, lose=(("executed_action", steps - 1),))
    bench.graph.spin_until(lambda: len(bench.acknowledged) == steps, "all other messages")
    assert bench.call("stop").success
    bench.send(shown, steps, "observation", stamps[-1] + PERIOD_NS)
    bench.send(shown, steps - 1, "executed_action", stamps[-2])
    bench.wait_for("saved")
    assert DemoDataset.open(tmp_path / "data").episode(0).num_steps == steps


def test_another_task_is_not_recorded(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = make_bench(make_graph, tmp_path / "data", task="hook")
    bench.play(episode(0))
    assert text(bench.wait_for_status("another task"), "refused_other_task") != ""
    assert not (tmp_path / "data").exists()

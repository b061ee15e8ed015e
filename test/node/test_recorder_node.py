"""recorder_node: whole episodes become shards, everything else is named and left out."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_graph import TIMEOUT_S, Graph, MakeGraph, text
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from reskill_core.data import DatasetSpec, DatasetWriter, DataWorld, DemoDataset, Episode, read_shard, validate
from reskill_core.errors import DataError
from reskill_core.provenance import simulator_version
from reskill_core.runtime import SkillAction as CoreSkillAction
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.nodes.recorder_node import RecorderNode
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import now_ns
from reskill_sim.families import get_task

TASK = get_task("block").spec
PERIOD_NS = 40_000_000
STATE_DIM = 3


def episode(seed: int = 0, steps: int = 4, success: bool = True) -> Episode:
    """Made-up contents, all different."""
    rng = np.random.default_rng(seed)
    return Episode(
        observation=rng.normal(size=(steps, TASK.obs.dim)).astype(np.float32),
        action=rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
        executed_action=rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
        reward=rng.normal(size=steps).astype(np.float32),
        sim_state=rng.normal(size=(steps, STATE_DIM)),
        final_observation=rng.normal(size=TASK.obs.dim).astype(np.float32),
        seed=seed,
        success=success,
        terminated=success,
        truncated=not success,
        noise_scale=0.125,
        source="push",
    )


class Bench:
    """A recorder, and the nodes around it played from episodes."""

    def __init__(self, graph: Graph, topics: str = "observation skill_action executed_action episode") -> None:
        self.graph = graph
        self.acknowledged = graph.listen(Header, "recorder/acknowledge")
        self.statuses = graph.listen(DiagnosticStatus, "recorder/status", qos.LATCHED)
        self.node = graph.add(RecorderNode())
        kinds = {"observation": Observation, "episode": EpisodeState}
        self.publishers = {
            name: graph.publisher(kinds.get(name, SkillAction), name, qos.RECORDED) for name in topics.split()
        }
        self.next_ns = PERIOD_NS
        self.next_id = 1

    def play(
        self, shown: Episode, lose: tuple[tuple[str, int], ...] = (), spin: bool = True, **changes: Any
    ) -> list[int]:
        """Publish an episode.

        Args:
            shown: the episode.
            lose: messages, as (topic, step), that do not arrive.
            spin: let the recorder run meanwhile.
            changes: fields of the last EpisodeState to change.

        Returns:
            The stamps.
        """
        stamps = [self.next_ns + step * PERIOD_NS for step in range(shown.num_steps + 1)]
        for step, stamp_ns in enumerate(stamps):
            for topic, message in self._messages(shown, step, **changes).items():
                if (topic, step) not in lose and topic in self.publishers:
                    message.header.stamp = convert.ns_to_stamp(stamp_ns)
                    self.publishers[topic].publish(message)
            if spin:
                self.graph.executor.spin_once(timeout_sec=0)
        self.next_ns = stamps[-1] + PERIOD_NS
        self.next_id += 1
        return stamps

    def send(self, shown: Episode, step: int, topic: str, stamp_ns: int) -> None:
        """Publish one message of an episode."""
        message = self._messages(shown, step)[topic]
        message.header.stamp = convert.ns_to_stamp(stamp_ns)
        self.publishers[topic].publish(message)

    def _messages(self, shown: Episode, step: int, **changes: Any) -> dict[str, Any]:
        last = step == shown.num_steps
        at = min(step, shown.num_steps - 1)
        answer = CoreSkillAction(
            action=shown.executed_action[at : at + 1],
            decoded_action=shown.action[at : at + 1],
            residual=np.zeros((1, 4), np.float32),
            residual_weight=np.ones(1, np.float32),
            latent=np.zeros((1, 0), np.float32),
            skill_step=np.zeros(1, np.int64),
        )
        values = (shown.final_observation if last else shown.observation[at]).astype(np.float64)
        state = {
            "reward": float(shown.reward[step - 1]) if step else 0.0,
            "success": last and shown.success,
            "terminated": last and shown.terminated,
            "truncated": last and shown.truncated,
            "valid": True,
            **(changes if last else {}),
        }
        # Not the order in which they belong together.
        return {
            "executed_action": convert.skill_action_message(answer, shown.source, shown.noise_scale),
            "skill_action": convert.skill_action_message(answer, shown.source, shown.noise_scale),
            "episode": EpisodeState(
                task=TASK.name,
                profile="exact",
                episode_id=self.next_id,
                seed=shown.seed,
                step=step,
                sim_state=convert.float64_array(shown.sim_state[at]),
                **state,
            ),
            "observation": Observation(task=TASK.name, values=convert.float64_array(values)),
        }

    def wait_for(self, name: str, count: int = 1) -> None:
        self.graph.spin_until(lambda: self.node.store.counts[name] == count, f"{count} {name}")

    def wait_for_status(self, words: str) -> DiagnosticStatus:
        self.graph.spin_until(lambda: self.statuses and words in self.statuses[-1].message, f"status {words!r}")
        return self.statuses[-1]

    def call(self, name: str) -> Trigger.Response:
        return self.graph.call(Trigger, f"recorder_node/{name}")


def make_bench(make_graph: MakeGraph, folder: Path, topics: str = "", **parameters: Any) -> Bench:
    given = {"dataset": str(folder), "patience_s": 0.5, "min_free_gb": 0.0, **parameters}
    return Bench(make_graph(recorder_node=given), *([topics] if topics else []))


def assert_same(recorded: Episode, shown: Episode) -> None:
    for name, value in vars(shown).items():
        kept = getattr(recorded, name)
        if isinstance(value, np.ndarray):
            assert kept.dtype == value.dtype
            assert kept.tobytes() == value.tobytes(), name
        else:
            assert kept == value, name


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


@pytest.mark.parametrize("node", ["recorder_node", "bag_recorder_node"])
def test_f33_what_the_middleware_lost_is_counted_by_topic(make_graph: MakeGraph, tmp_path: Path, node: str) -> None:
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
    graph.spin_until(lambda: publisher.get_subscription_count() > 0 and statuses, "the recorder")
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

"""policy_node and demonstrator_node: one answer per observation, from the same objects as in process."""

from __future__ import annotations

import shutil
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_graph import Graph, MakeGraph, text
from std_srvs.srv import Trigger

from reskill_core.checkpoint import load_checkpoint
from reskill_core.runtime import load_policy
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.demonstrator_node import DemonstratorNode
from reskill_ros.nodes.policy_node import PolicyNode
from reskill_ros.plumbing import convert, qos
from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.demonstrators import make_demonstrator
from reskill_sim.fetch.tasks import get_task

TASK = get_task("block").spec
PERIOD_NS = 40_000_000


class Asker:
    """Publishes observations and hears the answers."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.answers = graph.listen(SkillAction, "skill_action")
        self.publisher = graph.publisher(Observation, "observation")
        self.time_ns = 10**9

    def publish(self, values: Any, step: int, **fields: Any) -> None:
        settings = {"task": "block", "episode_id": 1, "episode_seed": 5, **fields}
        message = Observation(values=array("d", np.ravel(values)), episode_step=step, **settings)
        message.header.stamp = convert.ns_to_stamp(self.time_ns)
        message.header.frame_id = "world"
        self.publisher.publish(message)

    def ask(self, values: Any, step: int, **fields: Any) -> SkillAction:
        """Publish the observation of the next control step and wait for the answer."""
        self.time_ns += PERIOD_NS
        return self.ask_again(values, step, **fields)

    def ask_again(self, values: Any, step: int, **fields: Any) -> SkillAction:
        count = len(self.answers)
        self.publish(values, step, **fields)
        self.graph.spin_until(lambda: len(self.answers) > count, f"the answer to step {step}")
        return self.answers[-1]


def observations(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.3, 1.4, (count, 1, TASK.obs.dim))


def counter(node: Any, name: str) -> int:
    return node.diagnostics.counters[name]


@pytest.fixture
def graph(make_graph: MakeGraph, skills: Path) -> Graph:
    return make_graph(policy_node={"skills": str(skills)})


def test_the_policy_answers_as_in_process(graph: Graph, skills: Path) -> None:
    """Same seed, same observations: the same actions, latents and skill steps, to the last bit."""
    graph.add(PolicyNode())
    asker = Asker(graph)
    policy = load_policy(skills)
    for seed in (5, 6):
        policy.reset([seed])
        for step, values in enumerate(observations(13)):
            answer = asker.ask(values, step, episode_seed=seed, episode_id=seed)
            expected = policy.act(values)
            got = convert.skill_action(answer)
            for name in ("action", "decoded_action", "residual", "latent", "skill_step", "residual_weight"):
                np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)
            assert (answer.episode_id, answer.episode_step) == (seed, step)
            assert answer.header.stamp == convert.ns_to_stamp(asker.time_ns)
            assert answer.header.frame_id == "world"


def test_a_repeated_observation_gets_the_same_answer_and_steps_nothing(graph: Graph, skills: Path) -> None:
    graph.add(PolicyNode())
    asker = Asker(graph)
    values = observations(3)
    first = asker.ask(values[0], 0)
    assert asker.ask_again(values[0], 0) == first
    assert asker.ask(values[1], 1).skill_step == 1


def test_episodes_of_a_robot_begin_anew_until_their_second_step(graph: Graph) -> None:
    """A robot that waits for its first command is at step 0 again and again, with the episode number 0 and no seed."""
    node = graph.add(PolicyNode())
    asker = Asker(graph)
    values = observations(1)[0]

    def ask(step: int) -> SkillAction:
        return asker.ask(values, step, episode_id=0, episode_seed=-1)

    first, waiting, second = ask(0), ask(0), ask(1)
    assert waiting.latent == first.latent, "the seed of one episode"
    assert (waiting.skill_step, second.skill_step) == (0, 1)
    assert counter(node, "episodes") == 1
    assert ask(0).latent != first.latent, "the seed of the next one"
    assert counter(node, "episodes") == 2


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("other_task", {"task": "hook"}),
        ("wrong_size", {"values": [0.0] * 3}),
        ("non_finite", {"values": [np.nan] * TASK.obs.dim}),
    ],
)
def test_what_is_no_observation_of_the_task_is_refused(graph: Graph, reason: str, change: dict[str, Any]) -> None:
    node = graph.add(PolicyNode())
    asker = Asker(graph)
    asker.publish(**{"values": observations(1)[0], "step": 0, **change})
    graph.spin_until(lambda: counter(node, f"refused_{reason}"), reason)
    assert not asker.answers
    assert asker.ask(observations(1)[0], 1).episode_step == 1


def test_f10_reordered_observations_are_dropped(graph: Graph) -> None:
    """An observation older than the newest gets no answer and does not step the skill clock."""
    node = graph.add(PolicyNode())
    asker = Asker(graph)
    values = observations(2)
    asker.ask(values[0], 0)
    asker.time_ns -= PERIOD_NS
    asker.publish(values[1], 1)
    graph.spin_until(lambda: counter(node, "refused_reordered") == 1)
    asker.time_ns += PERIOD_NS
    assert asker.ask(values[1], 1).skill_step == 1
    assert len(asker.answers) == 2


def test_services_start_stop_and_reset(graph: Graph) -> None:
    node = graph.add(PolicyNode())
    asker = Asker(graph)
    asker.ask(observations(1)[0], 0)
    assert graph.call(Trigger, "policy_node/stop").message == "inactive"
    asker.publish(observations(1)[0], 1)
    assert graph.call(Trigger, "policy_node/start").message == "active"
    assert graph.call(Trigger, "policy_node/reset").success
    assert asker.ask(observations(1)[0], 1).skill_step == 0
    assert counter(node, "episodes") == 2


def damaged(skills: Path, folder: Path, name: str, damage: Any) -> Path:
    copy = shutil.copytree(skills, folder / "damaged")
    (copy / name).write_bytes(damage((copy / name).read_bytes()))
    return copy


def assert_refused_then_recovers(graph: Graph, skills: Path, *texts: str) -> None:
    """The node stays unconfigured, says why, and takes a good checkpoint afterwards."""
    statuses = graph.listen(DiagnosticStatus, "policy/status", qos.LATCHED)
    node = graph.add(PolicyNode())
    graph.spin_until(lambda: statuses, "the status")
    assert node.stage == "unconfigured"
    assert statuses[-1].level == DiagnosticStatus.ERROR
    assert text(statuses[-1], "state") == "unconfigured"
    for part in texts:
        assert part in statuses[-1].message
    assert not graph.call(Trigger, "policy_node/start").success
    node.set_parameters([Parameter("skills", value=str(skills))])
    node.set_parameters([Parameter("task", value="")])
    assert graph.call(Trigger, "policy_node/start").success
    Asker(graph).ask(observations(1)[0], 0)


def test_f24_a_truncated_checkpoint_is_refused_at_configure(
    make_graph: MakeGraph, skills: Path, tmp_path: Path
) -> None:
    """Shorter than its manifest says: refused, the file named, the state kept, nothing published."""
    bad = damaged(skills, tmp_path, "weights.safetensors", lambda data: data[: len(data) // 2])
    assert_refused_then_recovers(make_graph(policy_node={"skills": str(bad)}), skills, "weights.safetensors")


def test_f25_a_flipped_bit_in_a_checkpoint_is_refused_at_configure(
    make_graph: MakeGraph, skills: Path, tmp_path: Path
) -> None:
    """Same size, another SHA-256: refused, the file named."""
    flip = lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]  # noqa: E731 - a name for the damage
    bad = damaged(skills, tmp_path, "weights.safetensors", flip)
    assert_refused_then_recovers(make_graph(policy_node={"skills": str(bad)}), skills, "weights.safetensors")


def test_f27_a_checkpoint_for_another_task_is_refused_with_every_difference(
    make_graph: MakeGraph, skills: Path
) -> None:
    graph = make_graph(policy_node={"skills": str(skills), "task": "hook"})
    assert_refused_then_recovers(graph, skills, "'block' and does not fit 'hook'", "obs.frames", "obs.terms")


def test_skills_serve_another_task_of_the_same_layout(make_graph: MakeGraph, skills: Path) -> None:
    """Name and horizon may differ; it answers the observations of that task, and not those of its own."""
    graph = make_graph(policy_node={"skills": str(skills), "task": "slippery_push"})
    node = graph.add(PolicyNode())
    asker = Asker(graph)
    asker.ask(observations(1)[0], 0, task="slippery_push")
    asker.time_ns += PERIOD_NS
    asker.publish(observations(1)[0], 1, task="block")
    graph.spin_until(lambda: counter(node, "refused_other_task") == 1, "the refusal")


def test_there_is_no_parameter_that_it_would_ignore(make_graph: MakeGraph, skills: Path) -> None:
    """Agents do not exist."""
    node = make_graph(policy_node={"skills": str(skills)}).add(PolicyNode())
    assert not node.has_parameter("agent")


def test_without_a_checkpoint_it_says_what_is_missing(make_graph: MakeGraph, skills: Path) -> None:
    assert_refused_then_recovers(make_graph(), skills, "parameter skills is empty")


def test_a_failed_reconfiguration_keeps_nothing_of_the_old_policy(graph: Graph, skills: Path, tmp_path: Path) -> None:
    node = graph.add(PolicyNode())
    asker = Asker(graph)
    node.trigger_deactivate()
    node.trigger_cleanup()
    before = len(list(node.subscriptions))
    node.set_parameters([Parameter("skills", value=str(tmp_path / "none"))])
    node.start()
    assert node.stage == "unconfigured"
    assert len(list(node.subscriptions)) == before
    assert not asker.answers


def test_the_demonstrator_acts_as_in_process(make_graph: MakeGraph) -> None:
    """A whole episode over the topics equals the same seed in process, noise, label and all."""
    graph = make_graph(demonstrator_node={"task": "block", "kind": "push"})
    graph.add(DemonstratorNode())
    asker = Asker(graph)
    demonstrator = make_demonstrator("block", "push")
    simulator = Simulator(get_task("block"))
    demonstrator.reset([5])
    values = simulator.reset([5])
    for step in range(12):
        answer = asker.ask(values, step)
        expected = demonstrator.act(values)
        got = convert.skill_action(answer)
        np.testing.assert_array_equal(got.action, expected.action)
        np.testing.assert_array_equal(got.decoded_action, expected.decoded_action)
        np.testing.assert_array_equal(got.residual, expected.residual)
        assert (answer.source, len(answer.latent)) == ("push", 0)
        assert answer.noise_scale == pytest.approx(demonstrator.noise_scale[0])
        values = simulator.step(got.action).observation


def test_the_demonstrators_noise_can_be_fixed(make_graph: MakeGraph) -> None:
    graph = make_graph(demonstrator_node={"task": "block", "kind": "push", "noise_scale": 0.0})
    graph.add(DemonstratorNode())
    answer = Asker(graph).ask(Simulator(get_task("block")).reset([5]), 0)
    assert answer.action == answer.decoded_action
    assert answer.noise_scale == 0.0


def test_f14_two_sources_of_observations_are_named(graph: Graph) -> None:
    """By the one who answers them, too, and in full; without the second, the warning ends."""
    statuses = graph.listen(DiagnosticStatus, "policy/status", qos.LATCHED)
    graph.add(PolicyNode())
    others = [graph.add(Node("observation_node", namespace=space)) for space in ("/left", "/right")]
    for other in others:
        other.create_publisher(Observation, "/observation", qos.STATE)
    expected = "/observation has 2 publishers: /left/observation_node, /right/observation_node"
    graph.spin_until(lambda: statuses and statuses[-1].message == expected, "the warning")
    assert statuses[-1].level == DiagnosticStatus.WARN
    graph.remove(others[1])
    graph.spin_until(lambda: statuses[-1].level == DiagnosticStatus.OK, "the end of the warning")


def test_the_policy_says_what_is_loaded_not_what_the_parameters_ask_for(graph: Graph, skills: Path) -> None:
    """Parameters of what is loaded may change at any time, and count when the node is configured the next time."""
    statuses = graph.listen(DiagnosticStatus, "policy/status", qos.LATCHED)
    node = graph.add(PolicyNode())
    node.set_parameters([Parameter("skills", value="agents/clean_up"), Parameter("task", value="hook")])
    node.diagnostics.publish()
    graph.spin_until(lambda: statuses and text(statuses[-1], "skills") == str(skills), "what is loaded")
    loaded = load_checkpoint(skills, "skill_module")
    expected = {
        "checkpoint": str(loaded.folder),
        "checkpoint_sha256": str(loaded.sha256),
        "policy": "skills sample",
        "learnt_for": "block",
        "task": "block",
    }
    assert {key: text(statuses[-1], key) for key in expected} == expected
    node.trigger_deactivate()
    node.trigger_cleanup()
    graph.spin_until(lambda: text(statuses[-1], "state") == "unconfigured", "the end")
    assert text(statuses[-1], "checkpoint_sha256") == "", "nothing is loaded any more"
    node.set_parameters([Parameter("task", value="clean_up")])
    node.start()
    graph.spin_until(lambda: text(statuses[-1], "learnt_for") == "clean_up", "the agent")
    assert text(statuses[-1], "skills") == "agents/clean_up"
    assert text(statuses[-1], "checkpoint_sha256") != loaded.sha256

"""F20: a policy that takes longer than a control period to answer."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from rclpy.executors import SingleThreadedExecutor
from ros_graph import Graph, MakeGraph, text
from trajectory_msgs.msg import JointTrajectory

from reskill_core.config import config_to_dict
from reskill_core.runtime import SkillPolicy
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.nodes.policy_node import PolicyNode
from reskill_ros.plumbing import convert, qos
from reskill_sim.families import get_task

TASK = get_task("block").spec


class Inference:
    """Lets a policy take as long as the test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hangs, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()
        act = SkillPolicy.act

        def slow(policy: SkillPolicy, *args: Any) -> Any:
            if not self.goes_on.is_set():
                self.hangs.set()
                self.goes_on.wait()
            return act(policy, *args)

        monkeypatch.setattr(SkillPolicy, "act", slow)


@pytest.fixture
def graph(make_graph: MakeGraph, skills: Path, tmp_path: Path) -> Graph:
    document = config_to_dict(load_driver("sim"))
    document["gate"] |= {"command_timeout_s": 1.0, "resume_after": 2}
    driver = tmp_path / "driver.yaml"
    driver.write_text(yaml.safe_dump(document))
    return make_graph(
        policy_node={"skills": str(skills)}, command_node={"driver": str(driver), "auto_arm": True, "task": "block"}
    )


@pytest.fixture
def inference(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inference]:
    """A policy node in a thread of its own, as it has a process of its own in a graph."""
    inference = Inference(monkeypatch)
    executor, node = SingleThreadedExecutor(), PolicyNode()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield inference
    inference.goes_on.set()
    executor.shutdown()
    thread.join()
    node.destroy_node()


def test_f20_slow_inference_is_counted_and_nothing_is_made_up_for(graph: Graph, inference: Inference) -> None:
    """The robot stands still meanwhile; the late answer moves nothing, and only the newest observation is answered."""
    twists = graph.listen(TwistStamped, "command/twist")
    graph.listen(JointTrajectory, "gripper/command")
    gate_status = graph.listen(DiagnosticStatus, "command/status", qos.LATCHED)
    policy_status = graph.listen(DiagnosticStatus, "policy/status", qos.LATCHED)
    answers = graph.listen(SkillAction, "skill_action")
    graph.add(CommandNode())
    observations = graph.publisher(Observation, "observation")
    steps: list[int] = []

    def observe() -> None:
        steps.append(len(steps))
        observation = Observation(task="block", values=array("d", [1.0] * TASK.obs.dim), episode_step=steps[-1])
        observation.header.stamp = graph.stamp()
        observations.publish(observation)

    def moving() -> bool:
        return bool(twists) and any(convert.twist_velocity(twists[-1]))

    def gate_is(state: str) -> bool:
        return bool(gate_status) and text(gate_status[-1], "state") == state

    graph.probe.create_timer(TASK.control_period_s, observe)
    graph.spin_until(lambda: gate_is("active") and moving(), "motion")

    inference.goes_on.clear()
    graph.spin_until(inference.hangs.is_set, "a slow answer")
    graph.spin_until(lambda: gate_is("holding") and not moving(), "the safe command")
    commands, answered, waiting = len(twists), len(answers), len(steps)
    graph.spin_until(lambda: len(steps) >= waiting + 5, "observations that nobody answers")
    assert len(twists) == commands, "the safe command is sent once"
    newest = steps[-1]
    inference.goes_on.set()

    graph.spin_until(lambda: len(answers) > answered, "the late answer")
    late = answers[answered]
    assert newest - late.episode_step >= 5
    graph.spin_until(lambda: gate_is("active") and moving(), "motion again")
    assert all(twist.header.stamp != late.header.stamp for twist in twists), "it is too old to be executed"
    made_up = [answer.episode_step for answer in answers if late.episode_step < answer.episode_step <= newest]
    assert made_up in ([], [newest])
    graph.spin_until(lambda: text(policy_status[-1], "overruns") not in ("", "0"), "the overrun in the status")
    graph.spin_until(lambda: int(text(policy_status[-1], "missed_observations") or 0) >= 4, "what was missed")
    assert any("longer than a control period" in status.message for status in policy_status)

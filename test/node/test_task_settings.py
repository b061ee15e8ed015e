"""Settings of tasks in the graphs: parsed, passed on to the nodes, and taken from checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from other_family import plane_world  # noqa: F401 - a fixture
from ros_graph import MakeGraph

from reskill_core.errors import ConfigError, GraphError
from reskill_ros.graphs.node_table import build_graph, parse_arguments
from reskill_ros.nodes.sim_node import SimNode
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.plumbing.task_settings import parse_settings
from reskill_ros.simulation.simulated_robot import SimulatedRobot
from reskill_ros.tools.bench import untrained_skills

ALL = {"reached_m": 0.1, "goal": [0.5, -0.25]}
pytestmark = pytest.mark.usefixtures("plane_world")


def test_settings_are_yaml() -> None:
    assert parse_settings("") == {}
    assert parse_settings("goal: [0.5, -0.25]") == parse_settings("{goal: [0.5, -0.25]}") == {"goal": [0.5, -0.25]}
    for text in ("goal", "[1]", "a: b: c"):
        with pytest.raises(ConfigError, match="task_settings"):
            parse_settings(text)
        with pytest.raises(GraphError, match="task_settings"):
            parse_arguments("collect", {"task_settings": text})


def test_the_node_simulates_the_task_with_its_settings(make_graph: MakeGraph) -> None:
    graph = make_graph(sim_node={"task": "plane_roll", "task_settings": "{goal: [0.5, -0.25]}"})
    node = graph.add(SimNode())
    assert node.robot.spec.settings == ALL
    assert node.robot.state[6:8].tolist() == [0.5, -0.25]


def test_other_tasks_have_their_defaults() -> None:
    robot = SimulatedRobot("plane_roll", settings={"goal": [0.5, -0.25]})
    robot.begin("plane_reach")
    assert robot.spec.settings["goal"] is None
    robot.begin("plane_roll")
    assert robot.spec.settings == ALL


def test_what_the_recorder_stores_is_complete() -> None:
    assert task_spec("plane_roll", settings="goal: [0.5, -0.25]").settings == ALL


def test_a_policy_runs_with_the_settings_of_its_checkpoint(tmp_path: Path) -> None:
    spec = replace(task_spec("block"), settings={"ordered": True, "goal": 1})
    skills = str(untrained_skills(tmp_path / "skills", spec))
    given = {"skills": skills, "dataset": str(tmp_path / "data")}

    def settings(**arguments: str) -> dict[str, dict[str, object] | None]:
        entries = build_graph(parse_arguments("policy", {**given, **arguments}))
        texts = {entry.name: entry.parameters.get("task_settings") for entry in entries}
        return {name: parse_settings(str(text)) for name, text in texts.items() if text is not None}

    own = {"ordered": True, "goal": 1}
    assert settings() == {"sim_node": own, "recorder_node": own}
    changed = {"ordered": True, "goal": 2}
    assert settings(task_settings="goal: 2") == {"sim_node": changed, "recorder_node": changed}
    # It was made for another task.
    assert settings(task="clean_up") == {}
    assert settings(task="clean_up", task_settings="goal: 2") == {"sim_node": {"goal": 2}, "recorder_node": {"goal": 2}}

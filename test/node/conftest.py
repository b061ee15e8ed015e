"""Fixtures of the node tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from graph_runs import run_graph
from ros_graph import Graph, MakeGraph


@pytest.fixture
def make_graph(tmp_path: Path) -> Iterator[MakeGraph]:
    """Builds the test's graph: ``make_graph(command_node={"auto_arm": True})``."""
    graphs: list[Graph] = []

    def make(*global_arguments: str, **parameters: Mapping[str, Any]) -> Graph:
        graphs.append(Graph(tmp_path, parameters, global_arguments))
        return graphs[-1]

    yield make
    for graph in graphs:
        graph.close()


@pytest.fixture(scope="session")
def skills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of an untrained skill module for the block task."""
    from reskill_ros.plumbing.served_task import task_spec
    from reskill_ros.tools.bench import untrained_skills

    return untrained_skills(tmp_path_factory.mktemp("skills") / "checkpoint", task_spec("block"))


@pytest.fixture(scope="session")
def real_bag(skills: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes of a policy that drives the simulator."""
    folder = tmp_path_factory.mktemp("recorded")
    run_graph("policy", folder, skills=skills, episodes=2, pacing="lockstep", bag=folder / "bag")
    return folder / "bag"


@pytest.fixture
def bag(real_bag: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(real_bag, tmp_path / "bag"))

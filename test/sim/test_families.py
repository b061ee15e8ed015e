"""Families by name: what is built in, what other distributions add, and who may name the Fetch."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import reskill_sim
from reskill_core import plugins
from reskill_core.errors import ConfigError, SimulationError
from reskill_core.plugins import PluginError, Registry
from reskill_sim import families
from reskill_sim.engine.family import Family
from reskill_sim.engine.variation import Variation
from reskill_sim.families import family_of, get_task, task_names
from reskill_sim.fetch.family import FETCH
from reskill_sim.fetch.profiles import PROFILES
from reskill_sim.fetch.tasks import TASKS


def test_tasks_are_found_by_name_and_know_their_family() -> None:
    assert task_names() == (*TASKS, "kitchen", "maze", "maze_images")
    assert family_of("hook") is FETCH
    task = get_task("hook", Variation(friction=(0.5, 0.5)))
    assert (task.spec.name, task.variation.friction, task.family) == ("hook", (0.5, 0.5), FETCH)
    with pytest.raises(ConfigError, match="complex_hook_held_out"):
        get_task("chess")


def test_names_cost_no_simulator() -> None:
    code = (
        "import sys; from reskill_sim.families import families; "
        "print([(family.tasks, family.profiles, family.joint_names, [family.demonstrators(t) for t in family.tasks]) "
        "for family in families()]); "
        "assert not {'mujoco', 'torch'} & set(sys.modules), sys.modules.keys()"
    )
    assert (
        "complex_hook"
        in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100).stdout
    )


def test_a_distribution_adds_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    toy: Any = SimpleNamespace(name="toy", tasks=("roll",))
    found = with_plugin(monkeypatch, toy)
    assert found["roll"] is toy
    assert list(found)[:-1] == list(TASKS)


def test_two_families_cannot_share_the_name_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginError, match="task 'block' is one of family 'fetch' and of 'toy'"):
        with_plugin(monkeypatch, SimpleNamespace(name="toy", tasks=("block",)))


def with_plugin(monkeypatch: pytest.MonkeyPatch, family: object) -> dict[str, Family]:
    """Families by task, where a distribution adds one."""
    point = EntryPoint("toy", "toy_robot:TOY", "reskill.families")
    monkeypatch.setitem(sys.modules, "toy_robot", SimpleNamespace(TOY=family))
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == "reskill.families" else [])
    builtin = {"fetch": "reskill_sim.fetch.family:FETCH"}
    monkeypatch.setattr(families, "FAMILIES", Registry("reskill.families", "environment family", builtin))
    return families._families_by_task.__wrapped__()


def test_what_a_family_does_not_offer_is_refused_by_name() -> None:
    class Bare(Family):
        name, tasks = "bare", ("nothing",)

        def make_task(self, name, variation, settings=None):
            raise NotImplementedError

        def make_env(self, task, *args, profile="", **options):
            return object()

    bare = Bare()
    task = get_task("block")
    assert bare.demonstrators("nothing") == ()
    assert bare.bench_load() is None
    for refused in (
        lambda: bare.make_demonstrator("nothing"),
        lambda: bare.make_fast_script("nothing"),
        lambda: bare.make_renderer(task),
        lambda: bare.make_viewer(task),
        lambda: bare.make_kinematics(),
        lambda: bare.make_robot(task),
    ):
        with pytest.raises(SimulationError, match="family 'bare'"):
            refused()
    with pytest.raises(ConfigError, match="exact"):
        bare.require_profile("turbo")


def test_the_fetch_offers_everything() -> None:
    assert FETCH.profiles == tuple(PROFILES)
    task = get_task("block")
    robot = FETCH.make_robot(task, "turbo")
    assert robot.joint_names == FETCH.joint_names
    assert set(FETCH.gripper_joints) < set(FETCH.joint_names)
    assert len(robot.joint_positions()) == len(robot.joint_velocities()) == len(FETCH.joint_names)
    kinematics = FETCH.make_kinematics()
    assert set(kinematics.joints) < set(FETCH.joint_names)


def test_only_the_registry_and_the_family_itself_name_the_fetch() -> None:
    root = Path(reskill_sim.__file__).parent
    naming = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if path.is_file()
        and path.relative_to(root).parts[0] != "fetch"
        and any("reskill_sim.fetch" in name for name in imported(path))
    }
    assert naming == set()


def imported(path: Path) -> list[str]:
    """Modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return names + [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]

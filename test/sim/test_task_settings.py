"""Settings of tasks: from configurations and command lines to the task, and back from data and checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from other_family import plane_world  # noqa: F401 - a fixture

from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import config_from_dict
from reskill_core.data import DataWorld, DemoDataset, merge, validate
from reskill_core.errors import ConfigError
from reskill_core.lineage import Lineage
from reskill_core.report.reading import read_outcomes
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.spec import TaskSpec
from reskill_sim.cli.main import main
from reskill_sim.evaluation import PolicyEvaluationConfig, evaluate_policies
from reskill_sim.evaluation.worlds import settings_for, task_of
from reskill_sim.experiments.agent_training import train_agent
from reskill_sim.experiments.collect import CollectConfig, collect
from reskill_sim.families import get_task
from reskill_sim.gym.task_env import TaskEnv
from reskill_sim.gym.task_vector_env import TaskVectorEnv

pytestmark = pytest.mark.usefixtures("plane_world")
HERE = {"goal": [0.5, -0.25]}
ALL = {"reached_m": 0.1, "goal": [0.5, -0.25]}
DEFAULT = {"reached_m": 0.1, "goal": None}


def collected(folder: Path, settings: dict[str, Any], task: str = "plane_roll") -> Path:
    config = CollectConfig(task=task, episodes=3, out=str(folder), task_settings=settings, workers=1)
    collect(config, show_progress=False)
    return folder


def test_a_specification_has_all_settings_and_keeps_them() -> None:
    spec = get_task("plane_reach", settings={"goal": (0.5, -0.25)}).spec
    assert spec.settings == ALL
    assert TaskSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert get_task("plane_reach", settings=spec.settings).spec == spec
    assert get_task("plane_reach").spec.settings == DEFAULT
    assert "settings" not in get_task("block").spec.to_dict()
    # Data and models of other settings are of the same kind.
    assert spec.differences(get_task("plane_reach").spec) == []


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("plane_reach", {"gaol": [0.0, 0.0]}, "did you mean goal"),
        ("plane_reach", {"goal": [0.0, 1.5]}, "goal: must be at most 1"),
        ("plane_reach", {"goal": {1, 2}}, "cannot be stored"),
        ("block", {"goal": [0.0, 0.0]}, "task 'block' has no settings, got goal"),
    ],
)
def test_settings_that_a_task_does_not_have_are_refused(task: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_task(task, settings=settings)


def test_collected_data_say_their_settings_and_are_not_continued_with_others(tmp_path: Path) -> None:
    dataset = DemoDataset.open(collected(tmp_path, HERE))
    assert dataset.spec.task.settings == ALL
    [world] = dataset.worlds
    assert world.settings == ALL
    assert "reached_m 0.1, goal [0.5, -0.25]" in world.describe()
    np.testing.assert_array_equal(dataset.episode(0).sim_state[0][6:8], HERE["goal"])
    assert task_of(dataset, world).spec.settings == ALL
    for others in ({}, {"reached_m": 0.2}):
        with pytest.raises(ConfigError, match=r"task_settings: \{'goal': .* there, .* now"):
            collected(tmp_path, others)


def test_merged_parts_keep_their_settings(tmp_path: Path) -> None:
    sources = [collected(tmp_path / "here", HERE), collected(tmp_path / "anywhere", {})]
    both = DemoDataset.open(merge(sources, tmp_path / "both"))
    assert [world.settings for world in both.worlds] == [ALL, DEFAULT]
    assert both.world_number.tolist() == [0, 0, 0, 1, 1, 1]
    # The same seeds with two settings are no duplicates; nothing says which settings the whole has.
    assert not validate(tmp_path / "both").problems
    assert both.spec.task.settings == {}
    again = DemoDataset.open(merge([tmp_path / "both"], tmp_path / "again"))
    assert again.worlds == both.worlds
    same = DemoDataset.open(merge([sources[0]], tmp_path / "same"))
    assert same.spec.task.settings == ALL


def test_worlds_are_read_back() -> None:
    world = DataWorld("exact", {}, "mujoco 3", settings=ALL)
    assert DataWorld.from_dict("exact", json.loads(json.dumps(world.to_dict()))) == world
    assert "settings" not in DataWorld("exact", {}, "mujoco 3").to_dict()


@pytest.fixture(name="agent")
def trained_agent(tmp_path: Path) -> Path:
    """An agent without skills that has hardly learnt, with settings of its own."""
    document = {
        "task": "plane_roll",
        "out": str(tmp_path / "agent"),
        "profile": "exact",
        "task_settings": HERE,
        "steps": 48,
        "num_envs": 2,
        "group_size": 2,
        "rollout_steps": 12,
        "evaluate_every": 48,
        "evaluation_episodes": 2,
        "agent": {"skills": False, "low_level": {"hidden": [4]}},
    }
    return train_agent(config_from_dict(AgentTrainingConfig, document), show_progress=False).run


def test_an_agent_is_evaluated_with_its_settings_unless_others_are_given(agent: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(agent, AGENT_KIND)
    assert checkpoint.task.settings == ALL
    assert Lineage.of(checkpoint.document).settings == ALL
    found = {}
    for name, changes in (("own", {}), ("other", {"reached_m": 10.0})):
        out = tmp_path / name
        config = PolicyEvaluationConfig(
            ("agent", "zero"), checkpoints=(str(agent),), out=str(out), episodes=2, task_settings=changes, threads=0
        )
        results = evaluate_policies(config, show_progress=False)
        assert {json.dumps(result.lineage.settings) for result in results} == {json.dumps({**ALL, **changes})}
        found[name] = read_outcomes(out)
        # From 10 m everything is reached.
        assert [one.success.mean for one in found[name]] == [float(name == "other")] * 2
    for one, other in zip(found["own"], found["other"], strict=True):
        assert one.world.differences(other.world) == ["settings.reached_m: 0.1 != 10.0"]


def test_checkpoints_of_different_settings_are_not_evaluated_together(agent: Path) -> None:
    checkpoint = load_checkpoint(agent, AGENT_KIND)
    wide = {**checkpoint.document, "task": {**checkpoint.document["task"], "settings": {**ALL, "reached_m": 10.0}}}
    other = replace(checkpoint, document=wide)
    with pytest.raises(ConfigError, match=r"give these by --task-settings: reached_m: 0.1 != 10.0"):
        settings_for("plane_roll", [checkpoint, other], {})
    assert settings_for("plane_roll", [checkpoint, other], {"reached_m": 1.0}) == {**ALL, "reached_m": 1.0}
    assert settings_for("plane_reach", [checkpoint], {"reached_m": 1.0}) == {"reached_m": 1.0}


def test_settings_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--policy", "zero", "--task", "plane_roll", "--episodes", "2", "--quiet"]
    given = [*arguments, "--out", str(tmp_path), "--task-settings", "goal=[0.5, -0.25]", "reached_m=10"]
    assert main(given) == 0
    [result] = json.loads((tmp_path / "policies.json").read_text())["results"]
    assert result["lineage"]["settings"] == {**ALL, "reached_m": 10.0}
    assert result["success"]["mean"] == 1.0
    assert main([*arguments, "--out", str(tmp_path), "--task-settings", "gaol=1"]) == 2
    assert "did you mean goal" in capsys.readouterr().err
    assert main(["list"]) == 0
    assert "settings: reached_m=0.1, goal=null" in capsys.readouterr().out


def test_gymnasium_environments_have_settings() -> None:
    single = TaskEnv("plane_roll", settings=HERE)
    vector = TaskVectorEnv("plane_roll", 2, settings=HERE)
    single.reset(seed=3)
    vector.reset(seed=3)
    for environment in (single, vector):
        rows = environment._episodes.environments.state()
        np.testing.assert_array_equal(rows[:, 6:8], [HERE["goal"]] * len(rows))
    with pytest.raises(ConfigError, match="task 'block' has no settings"):
        gymnasium.make("reskill/FetchBlock-v0", settings=HERE)

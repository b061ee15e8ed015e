"""The world of the data: kept when collecting and merging, and used to do episodes again and to draw them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.config import config_to_dict
from reskill_core.data import DatasetWriter, DataWorld, DemoDataset, Episode, merge, validate
from reskill_core.data.world import NOMINAL as CORE_NOMINAL
from reskill_core.data.world import WORLD
from reskill_core.environment import RestorableVectorEnv
from reskill_core.errors import ConfigError, DataError
from reskill_core.provenance import simulator_version
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.training.split import DATA_KEY
from reskill_sim.cli.main import main
from reskill_sim.cli.render import recorded_scenes
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.evaluation import SkillEvaluationConfig, evaluate_skills
from reskill_sim.evaluation.worlds import learnt_world, task_in, task_of
from reskill_sim.experiments.collect import CollectConfig, collect, dataset_spec

HEAVY = Variation(friction=(0.4, 0.4), mass=(2.0, 2.0))
DELAYED = Variation(action_delay=(3, 3))


def collected(folder: Path, variation: Variation, episodes: int = 3, first_seed: int = 0) -> Path:
    config = CollectConfig(
        episodes=episodes, out=str(folder), profile="turbo", first_seed=first_seed, variation=variation, workers=1
    )
    collect(config, show_progress=False)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data sets of the same seeds in different worlds, and two of them merged."""
    root = tmp_path_factory.mktemp("data")
    folders = {name: collected(root / name, world) for name, world in (("nominal", NOMINAL), ("heavy", HEAVY))}
    folders["delayed"] = collected(root / "delayed", DELAYED)
    folders["both"] = merge([folders["nominal"], folders["heavy"]], root / "both")
    return folders


def replayed(task: Task, profile: str, episode: Episode) -> bool:
    """Whether an episode happens again, bit for bit, in a world."""
    environments = task.make_env(profile=profile)
    environments.set_state(episode.sim_state[:1])
    for action in episode.executed_action:
        result = environments.step(action[None])
    return np.array_equal(result.observation[0].astype(np.float32), episode.final_observation)


def test_the_core_knows_what_is_nominal() -> None:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(NOMINAL).items()}
    assert plain == CORE_NOMINAL


def test_every_part_of_a_data_set_says_its_world(data: dict[str, Path]) -> None:
    [world] = DemoDataset.open(data["heavy"]).worlds
    assert world == DataWorld("turbo", {"friction": [0.4, 0.4], "mass": [2.0, 2.0]}, simulator_version())
    assert world.describe() == f"turbo, friction 0.4, mass 2, {simulator_version()}"
    assert DemoDataset.open(data["nominal"]).worlds[0].describe() == f"turbo, nominal, {simulator_version()}"


def test_merged_parts_keep_their_worlds_and_are_valid(data: dict[str, Path], tmp_path: Path) -> None:
    both = DemoDataset.open(data["both"])
    assert [world.variation for world in both.worlds] == [{}, {"friction": [0.4, 0.4], "mass": [2.0, 2.0]}]
    assert both.world_number.tolist() == [0, 0, 0, 1, 1, 1]
    # The same seeds and demonstrators in two worlds are no duplicates.
    assert both.seed.tolist() == [0, 1, 2, 0, 1, 2]
    assert not validate(data["both"]).problems
    again = DemoDataset.open(merge([data["both"], collected(tmp_path / "more", HEAVY, 1, 9)], tmp_path / "again"))
    assert again.world_number.tolist() == [0, 0, 0, 1, 1, 1, 1]
    for index in range(both.num_episodes):
        world = both.worlds[both.world_number[index]]
        assert replayed(task_of(both, world), world.profile, both.episode(index))
    other = task_of(both, both.worlds[0])
    assert not all(replayed(other, "turbo", both.episode(index)) for index in (3, 4, 5))


def test_merging_refuses_what_validation_would(data: dict[str, Path], tmp_path: Path) -> None:
    source = DemoDataset.open(data["nominal"])
    changed = replace(source.episode(1), reward=source.episode(1).reward + 1)
    with DatasetWriter(tmp_path / "other", source.spec, world=source.worlds[0]) as writer:
        writer.add_shard([changed, source.episode(2)])
    with pytest.raises(DataError, match=r"0 of .*other has the seed 1 and the source of episode 1 of .*nominal"):
        merge([data["nominal"], tmp_path / "other"], tmp_path / "out")
    merge([data["nominal"], tmp_path / "other"], tmp_path / "out", skip_duplicates=True)
    assert DemoDataset.open(tmp_path / "out").num_episodes == 3
    assert not validate(tmp_path / "out").problems


def test_other_states_are_not_taken_for_those_of_a_world(data: dict[str, Path]) -> None:
    delayed = DemoDataset.open(data["delayed"])
    with pytest.raises(DataError, match="they happened in another world"):
        task_of(delayed, replace(delayed.worlds[0], variation=None))


@pytest.mark.parametrize(
    ("world", "message"),
    [
        (DataWorld("real"), "in no world of this simulator"),
        (DataWorld("perfect", {}), "in no world of this simulator"),
        (DataWorld("exact", {"wind": [1.0, 1.0]}), "wind: unknown key"),
        (DataWorld("exact", settings={"wind": 1.0}), "task 'block' has no settings, got wind"),
        (DataWorld("exact", mixed=True), "merge the sources again"),
    ],
)
def test_a_world_that_is_not_known_is_refused(world: DataWorld, message: str) -> None:
    with pytest.raises(DataError, match=message):
        task_in(world, "block", "what was recorded")


def test_data_of_before_worlds_were_kept_are_read(data: dict[str, Path], tmp_path: Path) -> None:
    """What older collecting, recording and merging left."""
    heavy = {"collection": {"variation": config_to_dict(HEAVY)}}
    nominal = {"collection": {"variation": config_to_dict(NOMINAL)}}
    packages = {"packages": {"mujoco": "3.1"}}
    merged = [{"name": name, "provenance": [{**origin, **packages}]} for name, origin in (("a", heavy), ("b", nominal))]
    collected_then = DataWorld.of_shard("fast", {**heavy, **packages}, {})
    assert collected_then.describe() == "fast, friction 0.4, mass 2, mujoco 3.1"
    recorded_then = DataWorld.of_shard("exact", packages, {"recorder": {}})
    assert recorded_then.describe() == "exact, variation unknown (taken to be nominal), mujoco 3.1"
    assert DataWorld.of_shard("exact", {}, {"merged_from": merged[:1]}).variation == collected_then.variation
    assert DataWorld.of_shard("exact", {}, {"merged_from": merged}).mixed
    assert task_in(recorded_then, "block", "it").variation == NOMINAL
    assert WORLD not in DataWorld.of_shard("real", {}, {}).to_dict()


# ---------------------------------------------------------------------- skills


def skills_of(folder: Path, dataset: DemoDataset) -> Path:
    """The shipped skills as if they had learnt from other data."""
    shipped = load_checkpoint("skills/block", SKILL_MODULE_KIND)
    worlds = [{"profile": world.profile, **world.to_dict()} for world in dataset.worlds]
    facts = {
        **shipped.document[DATA_KEY],
        "content_hash": dataset.content_hash(),
        "profile": dataset.spec.profile,
        "validation_fraction": 0.5,
        "worlds": worlds,
    }
    return save_checkpoint(folder, shipped.kind, shipped.weights, {**shipped.document, DATA_KEY: facts})


def test_skills_are_evaluated_in_the_world_they_learnt_from(
    data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[str, str, Variation]] = []
    make_env = Task.make_env

    def noted(task: Task, num_envs: int = 1, profile: str = "exact", *rest: Any) -> RestorableVectorEnv:
        where = sys._getframe(1).f_globals["__name__"].rpartition(".")[2]
        if where in ("reconstruction", "rollouts"):
            used.append((where, profile, task.variation))
        return make_env(task, num_envs, profile, *rest)

    monkeypatch.setattr(Task, "make_env", noted)
    dataset = DemoDataset.open(data["heavy"])
    skills = skills_of(tmp_path / "skills", dataset)
    config = SkillEvaluationConfig(str(skills), str(data["heavy"]), str(tmp_path / "out"), episodes=2, threads=0)
    evaluation = evaluate_skills(config, show_progress=False)
    assert {where for where, *_ in used} == {"reconstruction", "rollouts"}
    assert {use[1:] for use in used} == {("turbo", HEAVY)}
    lines = evaluation.table()
    assert f"world of the rollouts: turbo, friction 0.4, mass 2, {simulator_version()}" in lines
    assert any(line.startswith("world of the demonstrations: ") and "friction 0.4" in line for line in lines)
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["config"]["profile"] == "turbo"
    assert document["config"]["variation"]["friction"] == [0.4, 0.4]
    # What is named goes for the rollouts; demonstrations happened where they happened.
    used.clear()
    evaluate_skills(replace(config, profile="fast", variation=NOMINAL), show_progress=False)
    assert set(used) == {("reconstruction", "turbo", HEAVY), ("rollouts", "fast", NOMINAL)}


def test_skills_of_several_worlds_ask_for_one(data: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(skills_of(tmp_path / "skills", DemoDataset.open(data["both"])), SKILL_MODULE_KIND)
    with pytest.raises(ConfigError, match=r"(?s)name one by --profile and --vary.*nominal.*friction 0.4"):
        learnt_world(checkpoint)
    assert learnt_world(checkpoint, "exact", HEAVY).variation == {"friction": [0.4, 0.4], "mass": [2.0, 2.0]}


def test_shipped_skills_are_evaluated_where_they_always_were() -> None:
    world = learnt_world(load_checkpoint("skills/block", SKILL_MODULE_KIND))
    assert (world.profile, world.variation) == ("exact", None)
    assert "variation unknown (taken to be nominal)" in world.describe()


# ---------------------------------------------------------------------- the command line


def test_recorded_episodes_are_drawn_in_their_worlds(data: dict[str, Path], tmp_path: Path) -> None:
    both = DemoDataset.open(data["both"])
    scenes = recorded_scenes(both, range(2, 5))
    assert [(scene.task.variation, len(scene.episodes)) for scene in scenes] == [(NOMINAL, 1), (HEAVY, 2)]


def test_info_split_and_render_say_the_world(
    data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merge([data["both"]], tmp_path / "both")
    assert main(["data", "info", str(tmp_path / "both")]) == 0
    assert f"3 in turbo, nominal, {simulator_version()}; 3 in turbo, friction 0.4" in capsys.readouterr().out
    assert main(["data", "split", str(tmp_path / "both"), "train=0.5", "validation=0.5"]) == 0
    assert "in turbo, friction 0.4, mass 2" in capsys.readouterr().out
    video = ["--episodes", "1", "--width", "64", "--height", "48", "--out", str(tmp_path / "video.mp4")]
    assert main(["render", str(data["delayed"]), *video]) == 0
    assert "in turbo, action_delay 3" in capsys.readouterr().out
    assert main(["render", str(data["delayed"]), "--profile", "exact"]) == 2
    assert "drawn in the world they have" in capsys.readouterr().err


def test_export_says_where_a_model_learnt(
    data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skills = skills_of(tmp_path / "skills", DemoDataset.open(data["heavy"]))
    assert main(["export", str(skills), str(tmp_path / "exported")]) == 0
    assert "learnt in: turbo, friction 0.4, mass 2" in capsys.readouterr().out
    assert main(["export", "agents/clean_up_varied", str(tmp_path / "agent")]) == 0
    assert "learnt in: fast, friction 0.5:2" in capsys.readouterr().out


def test_the_state_of_a_collected_world_fits_its_specification() -> None:
    config = CollectConfig(variation=DELAYED)
    assert dataset_spec(config).sim_state_dim > dataset_spec(CollectConfig()).sim_state_dim

"""Lineage: what something was made from is written down, and compared when it is used."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skill_fixtures import training_config, write_reaching_data

from reskill_core.checkpoint import CHECKPOINTS_FOLDER, load_checkpoint, load_episodes, load_training_state
from reskill_core.checkpoint import save_checkpoint as save
from reskill_core.data import DatasetWriter, DataWorld, DemoDataset, merge, write_splits
from reskill_core.data.world import NOMINAL, REAL
from reskill_core.errors import CheckpointError, DataError
from reskill_core.lineage import LINEAGE_KEY, Lineage
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.training.export import export_run
from reskill_core.training.skill_trainer import train_skills
from reskill_core.training.split import data_lineage, held_out_episodes

HASHES = ("a" * 64, "b" * 64)
KNOWN = Lineage(
    HASHES[0],
    HASHES[0],
    HASHES[0],
    HASHES[0],
    "reach",
    "exact",
    {"friction": [1.0, 1.0], "spawn": 1.0},
    "mujoco 3.11.0",
    {"ordered": True},
)
# Another value of each ingredient, and what a refusal says of it.
FLIPS: Mapping[str, tuple[Any, str]] = {
    **{name: (HASHES[1], f"{name}: aaaaaaaaaaaa != bbbbbbbbbbbb") for name in ("data", "split", "skills", "agent")},
    "task": ("push", "task: 'reach' != 'push'"),
    "profile": ("fast", "profile: 'exact' != 'fast'"),
    "variation": ({"friction": (0.5, 2.0), "spawn": 1.0}, "variation.friction: [1.0, 1.0] != [0.5, 2.0]"),
    "simulator": ("mujoco 0.1", "simulator: 'mujoco 3.11.0' != 'mujoco 0.1'"),
    "settings": ({"ordered": False}, "settings.ordered: True != False"),
}


def train(data: Path, out: Path, **changes: object) -> SkillTrainingConfig:
    """The configuration of a run of ten steps that has been done."""
    config = training_config(data, out, **{"steps": 10, **changes})
    train_skills(config, show_progress=False)
    return config


def rewrite_last(run: Path, lineage: Mapping[str, Any] | None, **changes: Any) -> None:
    """Make the last checkpoint of a run one of another lineage, or, with None, one of before there were lineages."""
    folder = (run / CHECKPOINTS_FOLDER / "last").resolve()
    checkpoint, state = load_checkpoint(folder, SKILL_MODULE_KIND), load_training_state(folder)
    document = {key: value for key, value in checkpoint.document.items() if key != LINEAGE_KEY}
    document |= changes
    folder.rename(folder.with_name("before"))
    save(folder, checkpoint.kind, checkpoint.weights, document | ({LINEAGE_KEY: lineage} if lineage else {}), state)


def test_every_ingredient_is_compared_and_named() -> None:
    assert FLIPS.keys() == {field.name for field in fields(Lineage)}
    assert KNOWN.differences(KNOWN) == []
    for name, (value, message) in FLIPS.items():
        flipped = replace(KNOWN, **{name: value})
        assert KNOWN.differences(flipped) == [message]
        forgotten = replace(KNOWN, **{name: None})
        assert forgotten.differences(flipped) == []
        assert forgotten.unknown(flipped) == [name]
    everything = replace(KNOWN, **{name: value for name, (value, _) in FLIPS.items()})
    assert KNOWN.differences(everything) == [FLIPS[field.name][1] for field in fields(Lineage)]
    assert Lineage.of(json.loads(json.dumps({LINEAGE_KEY: KNOWN.to_document()}))) == KNOWN
    assert Lineage.of({}) == Lineage()


def test_episodes_stay_held_out_when_the_split_beside_the_data_is_another(tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data", episodes=40)
    parts = write_splits(DemoDataset.open(data), {"train": 0.75, "validation": 0.25}, seed=1)
    train(data, tmp_path / "run")
    now = write_splits(DemoDataset.open(data), {"train": 0.25, "validation": 0.75}, seed=2)
    assert len(np.intersect1d(now["validation"], parts["train"])) > 20
    for place in (tmp_path / "run", export_run(tmp_path / "run", tmp_path / "exported")[0].parent):
        held_out = held_out_episodes(load_checkpoint(place, SKILL_MODULE_KIND), DemoDataset.open(data))
        np.testing.assert_array_equal(held_out.episodes, parts["validation"])


def test_episodes_that_chose_the_checkpoint_are_not_reported_where_there_are_others(tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data", episodes=20)
    parts = write_splits(DemoDataset.open(data), {"train": 0.5, "validation": 0.25, "test": 0.25}, seed=1)
    train(data, tmp_path / "run")
    held_out = held_out_episodes(load_checkpoint(tmp_path / "run", SKILL_MODULE_KIND), DemoDataset.open(data))
    np.testing.assert_array_equal(held_out.episodes, parts["test"])
    assert held_out.note == "5 of 20 episodes, none of them known to the model"


def test_of_other_data_what_was_not_learnt_from_is_known(tmp_path: Path) -> None:
    learnt = write_reaching_data(tmp_path / "learnt", episodes=10)
    write_splits(DemoDataset.open(learnt), {"train": 0.5, "validation": 0.5}, seed=0)
    train(learnt, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run", SKILL_MODULE_KIND)
    other = DemoDataset.open(write_reaching_data(tmp_path / "other", episodes=6, steps=9, first_seed=10))
    unseen = held_out_episodes(checkpoint, other)
    assert unseen.episodes.tolist() == list(range(6))
    assert unseen.note == "6 of 6 episodes, none of them known to the model"
    merged = DemoDataset.open(merge([learnt, tmp_path / "other"], tmp_path / "merged"))
    assert held_out_episodes(checkpoint, merged).episodes.tolist() == list(range(10, 16))
    # A data set of nothing but what it has learnt from.
    merge([learnt], tmp_path / "all")
    everything = DemoDataset.open(tmp_path / "all")
    write_splits(everything, {"train": 0.9, "validation": 0.1}, seed=0)
    train(tmp_path / "all", tmp_path / "greedy")
    greedy = load_checkpoint(tmp_path / "greedy", SKILL_MODULE_KIND)
    marks = load_episodes(greedy.folder)
    only_learnt = replace(greedy, folder=_with_episodes(tmp_path / "full", greedy, {**marks, "train": _all(marks)}))
    with pytest.raises(DataError, match=r"has learnt from all 10 episodes of .*all"):
        held_out_episodes(only_learnt, everything)


def _all(marks: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([marks["train"], marks["validation"]])


def _with_episodes(folder: Path, checkpoint: Any, episodes: Mapping[str, np.ndarray]) -> Path:
    return save(folder, checkpoint.kind, checkpoint.weights, checkpoint.document, episodes=episodes)


def test_of_older_checkpoints_what_is_held_out_is_believed_and_said(tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data", episodes=20)
    train(data, tmp_path / "run")
    rewrite_last(tmp_path / "run", None)
    checkpoint = load_checkpoint(tmp_path / "run" / CHECKPOINTS_FOLDER / "last", SKILL_MODULE_KIND)
    held_out = held_out_episodes(checkpoint, DemoDataset.open(data))
    np.testing.assert_array_equal(held_out.episodes, DemoDataset.open(data).split(0.2, 0)[1])
    assert "believed to be held out" in held_out.note
    other = DemoDataset.open(write_reaching_data(tmp_path / "other", episodes=7))
    with pytest.raises(DataError, match="trained on other episodes"):
        held_out_episodes(checkpoint, other)


def test_a_run_is_not_continued_after_another_split(tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data", episodes=20)
    config = train(data, tmp_path / "run")
    # The first has as many episodes of training as the one before.
    for fractions in ({"train": 0.8, "validation": 0.2}, {"train": 0.6, "validation": 0.2, "test": 0.2}):
        write_splits(DemoDataset.open(data), fractions, seed=1)
        with pytest.raises(CheckpointError, match=r"(?s)holds a run .*  - split: [0-9a-f]{12} != [0-9a-f]{12}\n"):
            train_skills(config, show_progress=False)
    (data / "splits.json").unlink()
    train_skills(config, show_progress=False)


def test_a_split_is_what_is_learnt_from_and_what_chooses(tmp_path: Path) -> None:
    dataset = DemoDataset.open(write_reaching_data(tmp_path / "data", episodes=6))
    copy = DemoDataset.open(merge([tmp_path / "data"], tmp_path / "copy", episodes_per_shard=4))
    parts = [([0, 1, 2], [3, 4]), ([0, 1, 2], [3, 5]), ([0, 1, 5], [3, 4]), ([3, 4], [0, 1, 2]), ([0, 1, 2, 3], [4])]
    splits = [[data_lineage(data, *map(np.array, part)).split for part in parts] for data in (dataset, copy)]
    assert splits[0] == splits[1]
    assert len(set(splits[0])) == len(parts)


@pytest.mark.parametrize("name", ["data", "split", "task", "profile", "simulator"])
def test_a_run_is_not_continued_with_another(name: str, tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data", episodes=10)
    config = train(data, tmp_path / "run")
    lineage = load_checkpoint(tmp_path / "run", SKILL_MODULE_KIND).document[LINEAGE_KEY]
    assert name in lineage
    rewrite_last(tmp_path / "run", {**lineage, name: FLIPS[name][0]})
    with pytest.raises(CheckpointError, match=rf"(?s)run != now\):\n  - {name}: [^\n]* != [^\n]*\nrestore them"):
        train_skills(config, show_progress=False)


def test_what_an_older_run_does_not_say_is_said_to_be_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_reaching_data(tmp_path / "data", episodes=10)
    config = train(data, tmp_path / "run")
    rewrite_last(tmp_path / "run", None)
    with caplog.at_level(logging.WARNING):
        train_skills(config, show_progress=False)
    assert "does not say its split, task, simulator; taken to be as now" in caplog.text


def test_other_versions_of_what_computes_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_reaching_data(tmp_path / "data", episodes=10)
    config = train(data, tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        train_skills(config, show_progress=False)
    assert caplog.text == ""
    document = load_checkpoint(tmp_path / "run", SKILL_MODULE_KIND).document
    packages = {**document["provenance"]["packages"], "torch": "1.0.0", "mujoco": "2.0.0"}
    rewrite_last(tmp_path / "run", document[LINEAGE_KEY], provenance={"packages": packages})
    with caplog.at_level(logging.WARNING):
        train_skills(config, show_progress=False)
    assert "run continues with other versions, not to the same bits: torch: '1.0.0' != '" in caplog.text
    assert "mujoco" not in caplog.text


@pytest.mark.parametrize(
    ("worlds", "variation"),
    [
        ([DataWorld("exact", {"mass": [2.0, 2.0]})] * 2, {**NOMINAL, "mass": [2.0, 2.0]}),
        ([DataWorld("exact", {})], NOMINAL),
        ([DataWorld("exact", {}), DataWorld("exact", {"mass": [2.0, 2.0]})], None),
        ([DataWorld("exact", None)], None),
        ([DataWorld(REAL, {})], None),
    ],
)
def test_the_variation_of_data_is_that_of_all_its_episodes(
    worlds: list[DataWorld], variation: Mapping[str, Any] | None, tmp_path: Path
) -> None:
    episodes = write_reaching_data(tmp_path / "source", episodes=len(worlds))
    source = DemoDataset.open(episodes)
    with DatasetWriter(tmp_path / "data", replace(source.spec, profile=worlds[0].profile)) as writer:
        for number, world in enumerate(worlds):
            writer.add_shard([source.episode(number)], world=world)
    lineage = data_lineage(DemoDataset.open(tmp_path / "data"), np.arange(1), np.arange(0))
    assert lineage.variation == variation

"""Data sets of earlier format versions: read, continued and merged as those of today.

``data/version_1`` and ``data/version_2`` were written by the last programs of those versions:
``synthetic_episodes(spec, 3, min_steps=5, max_steps=8)`` as one shard, with the specifications below.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from reskill_core.data import DatasetSpec, DatasetWriter, DemoDataset, merge, read_header, validate
from reskill_core.data.schema import FORMAT_VERSION
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.spec import ImageFeature


@dataclass(frozen=True)
class Old:
    """A data set of an earlier version, with the content hash that its program computed."""

    folder: Path
    spec: DatasetSpec
    content_hash: str


SPECS = {1: synthetic_spec(5, 3), 2: synthetic_spec(5, 3, (ImageFeature("camera", 4, 6, 3),))}
CONTENT_HASHES = {
    1: "515bcfeb516c000f08c671beb4a3d0b63e617673d5652495ff6b35c930d45bb0",
    2: "a2bec10105ae3ebf7c21cee3a4e02754a67004a66078652f52caac1b05de56fd",
}


def version(path: Path) -> int:
    with h5py.File(path, "r") as file:
        return int(file.attrs["format_version"])


@pytest.fixture(params=SPECS, ids="version_{}".format)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    number = request.param
    folder = tmp_path / "old"
    shutil.copytree(Path(__file__).parent / "data" / f"version_{number}", folder)
    assert version(folder / "shard-000000.h5") == number < FORMAT_VERSION
    return Old(folder, SPECS[number], CONTENT_HASHES[number])


def test_it_means_what_it_did(old: Old) -> None:
    assert read_header(old.folder / "shard-000000.h5").spec == old.spec
    dataset = DemoDataset.open(old.folder)
    assert (dataset.content_hash(), dataset.num_episodes, dataset.num_steps) == (old.content_hash, 3, 22)
    assert dataset.seed.tolist() == [0, 1, 2]
    assert validate(old.folder).problems == []


def test_what_its_version_did_not_have_is_empty(old: Old) -> None:
    dataset = DemoDataset.open(old.folder)
    assert dataset.label.tolist() == ["", "", ""]
    assert dataset.episode(2).label == ""
    images = [item.name for item in old.spec.task.obs.images]
    assert list(dataset.images) == list(dataset.episode(2).images) == images


def test_it_is_continued_by_the_current_version(old: Old) -> None:
    episode = replace(synthetic_episodes(old.spec, 1, first_seed=3)[0], label="lift the block")
    with DatasetWriter(old.folder, old.spec) as writer:
        path = writer.add_shard([episode])
    assert version(path) == FORMAT_VERSION
    dataset = DemoDataset.open(old.folder)
    assert dataset.seed.tolist() == [0, 1, 2, 3]
    assert dataset.label.tolist() == ["", "", "", "lift the block"]
    assert validate(old.folder).problems == []


def test_merged_into_the_current_version_its_episodes_are_the_same(old: Old, tmp_path: Path) -> None:
    merge([old.folder], tmp_path / "new")
    new = DemoDataset.open(tmp_path / "new")
    assert version(tmp_path / "new" / "shard-000000.h5") == FORMAT_VERSION
    assert new.content_hash() == old.content_hash
    np.testing.assert_array_equal(new.observation, DemoDataset.open(old.folder).observation)

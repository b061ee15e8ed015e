"""Data sets of earlier format versions: read, continued and merged as those of today.

``data/version_1`` was written by the last program of that version: ``synthetic_episodes(synthetic_spec(5, 3), 3,
min_steps=5, max_steps=8)`` as one shard.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from reskill_core.data import DatasetWriter, DemoDataset, merge, read_header, validate
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec

# What that program said of it.
CONTENT_HASH = "515bcfeb516c000f08c671beb4a3d0b63e617673d5652495ff6b35c930d45bb0"
SPEC = synthetic_spec(5, 3)


def version(path: Path) -> int:
    with h5py.File(path, "r") as file:
        return int(file.attrs["format_version"])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    shutil.copytree(Path(__file__).parent / "data" / "version_1", folder)
    assert version(folder / "shard-000000.h5") == 1
    return folder


def test_version_1_means_what_it_did(old: Path) -> None:
    assert read_header(old / "shard-000000.h5").spec == SPEC
    dataset = DemoDataset.open(old)
    assert (dataset.content_hash(), dataset.num_episodes, dataset.num_steps) == (CONTENT_HASH, 3, 22)
    assert dataset.seed.tolist() == [0, 1, 2]
    assert dataset.images == {}
    assert dataset.episode(2).images == {}
    assert validate(old).problems == []


def test_version_1_is_continued_by_version_2(old: Path) -> None:
    with DatasetWriter(old, SPEC) as writer:
        path = writer.add_shard(synthetic_episodes(SPEC, 1, first_seed=3))
    assert version(path) == 2
    assert DemoDataset.open(old).seed.tolist() == [0, 1, 2, 3]
    assert validate(old).problems == []


def test_episodes_of_version_1_are_the_same_in_version_2(old: Path, tmp_path: Path) -> None:
    merge([old], tmp_path / "new")
    new = DemoDataset.open(tmp_path / "new")
    assert version(tmp_path / "new" / "shard-000000.h5") == 2
    assert new.content_hash() == CONTENT_HASH
    np.testing.assert_array_equal(new.observation, DemoDataset.open(old).observation)

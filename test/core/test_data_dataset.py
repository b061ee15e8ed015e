"""Data sets: what training sees of the shards, and what happens when some of them are damaged."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reskill_core.data import (
    DatasetWriter,
    DemoDataset,
    Episode,
    read_splits,
    split_episodes,
    validate,
    write_splits,
)
from reskill_core.data.schema import EPISODE_FIELDS
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import ConfigError, DataError

SPEC = synthetic_spec(observation_dim=5, sim_state_dim=3)
EPISODES = synthetic_episodes(SPEC, 7, min_steps=3, max_steps=9)


def write(folder: Path, episodes: list[Episode], per_shard: int) -> Path:
    with DatasetWriter(folder, SPEC) as writer:
        for start in range(0, len(episodes), per_shard):
            writer.add_shard(episodes[start : start + per_shard])
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "data", EPISODES, 3)


def assert_same_arrays(dataset: DemoDataset, episodes: list[Episode]) -> None:
    assert dataset.num_episodes == len(episodes)
    for field in EPISODE_FIELDS:
        values = [getattr(episode, field.name) for episode in episodes]
        expected = np.concatenate(values) if field.rows == "step" else np.array(values)
        actual = dataset.sim_state[:] if field.name == "sim_state" else getattr(dataset, field.name)
        np.testing.assert_array_equal(actual, expected, err_msg=field.name)
    lengths = [episode.num_steps for episode in episodes]
    assert dataset.episode_lengths.tolist() == lengths
    assert dataset.episode_starts.tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
    assert dataset.num_steps == sum(lengths)


def test_arrays_are_those_of_all_episodes_in_order(folder: Path) -> None:
    dataset = DemoDataset.open(folder)
    assert_same_arrays(dataset, EPISODES)
    assert dataset.spec == SPEC
    assert dataset.observation.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        dataset.observation[0, 0] = 1


def test_episodes_come_back_whole(folder: Path) -> None:
    dataset = DemoDataset.open(folder)
    for index, expected in enumerate(EPISODES):
        episode = dataset.episode(index)
        for field in EPISODE_FIELDS:
            np.testing.assert_array_equal(getattr(episode, field.name), getattr(expected, field.name))
    assert [episode.seed for episode in dataset.episodes(2, 6)] == [2, 3, 4, 5]
    for start, stop in ((-1, 2), (3, 3), (6, 8)):
        with pytest.raises(DataError, match="has episodes 0 to 6"):
            dataset.episodes(start, stop)


def test_simulator_states_are_read_by_row(folder: Path) -> None:
    states = DemoDataset.open(folder).sim_state
    expected = np.concatenate([episode.sim_state for episode in EPISODES])
    assert states.shape == expected.shape
    assert len(states) == len(expected)
    for rows in (slice(0, 4), slice(5, 31), slice(-3, None), slice(4, 4)):
        np.testing.assert_array_equal(states[rows], expected[rows])
    for row in (0, 17, -1):
        np.testing.assert_array_equal(states[row], expected[row])
    with pytest.raises(IndexError):
        states[len(expected)]
    with pytest.raises(DataError, match="contiguous"):
        states[::2]


def test_too_large_for_memory_is_mapped_from_a_file(folder: Path, tmp_path: Path) -> None:
    for limit in (0, 400, 1000):
        dataset = DemoDataset.open(folder, memory_limit_bytes=limit)
        assert isinstance(dataset.observation, np.memmap)
        assert_same_arrays(dataset, EPISODES)
    assert sorted(path.suffix for path in folder.iterdir() if path.suffix != ".h5") == ["", ".json"]
    with pytest.raises(DataError, match=r"nowhere cannot take its arrays.*scratch"):
        DemoDataset.open(folder, memory_limit_bytes=0, scratch=tmp_path / "nowhere")


def test_content_hash_depends_on_episodes_and_order_alone(tmp_path: Path) -> None:
    reference = DemoDataset.open(write(tmp_path / "a", EPISODES, 3)).content_hash()
    assert DemoDataset.open(write(tmp_path / "b", EPISODES, 1)).content_hash() == reference
    others = {
        "reversed": EPISODES[::-1],
        "shorter": EPISODES[:-1],
        "changed": [replace(EPISODES[0], success=not EPISODES[0].success), *EPISODES[1:]],
    }
    for name, episodes in others.items():
        assert DemoDataset.open(write(tmp_path / name, episodes, 3)).content_hash() != reference


def test_statistics_by_hand(tmp_path: Path) -> None:
    episodes = []
    for value in (1.0, 4.0):
        steps = np.full((2, 5), value, np.float32)
        steps[1] += 2
        base = synthetic_episodes(SPEC, 1, int(value), min_steps=2, max_steps=2)[0]
        episodes.append(replace(base, observation=steps, action=steps[:, :4] / np.float32(10)))
    dataset = DemoDataset.open(write(tmp_path, episodes, 1))
    # 1, 3, 4, 6: mean 3.5, squared deviations 6.25, .25, .25, 6.25.
    observation = dataset.statistics().observation
    np.testing.assert_allclose(observation.mean, 3.5)
    np.testing.assert_allclose(observation.std, 3.25**0.5)
    np.testing.assert_allclose(dataset.statistics().action.mean, 0.35, rtol=1e-6)
    part = dataset.statistics([1]).observation
    np.testing.assert_allclose([part.mean[0], part.std[0], part.min[0], part.max[0]], [5, 1, 4, 6])
    with pytest.raises(DataError, match="at least one episode"):
        dataset.statistics([])


@given(
    num_episodes=st.integers(1, 300),
    shares=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_splits_are_disjoint_complete_and_reproducible(num_episodes: int, shares: list[int], seed: int) -> None:
    fractions = {f"part{index}": share / sum(shares) for index, share in enumerate(shares)}
    try:
        parts = split_episodes(num_episodes, fractions, seed)
    except DataError as error:
        assert "empty" in str(error)  # noqa: PT017
        return
    assert sorted(np.concatenate(list(parts.values()))) == list(range(num_episodes))
    for name, part in parts.items():
        assert abs(len(part) - fractions[name] * num_episodes) <= 1
        assert (np.diff(part) > 0).all()
        np.testing.assert_array_equal(part, split_episodes(num_episodes, fractions, seed)[name])


def test_impossible_splits_are_refused(folder: Path) -> None:
    dataset = DemoDataset.open(folder)
    train, validation = dataset.split(0.3, seed=1)
    assert (len(train), len(validation)) == (5, 2)
    assert len({tuple(dataset.split(0.3, seed)[1]) for seed in range(10)}) > 5
    for fraction in (-0.1, 0.0, 1.0):
        with pytest.raises(DataError, match="add up to 1"):
            dataset.split(fraction, seed=0)
    with pytest.raises(DataError, match="leave validation empty"):
        dataset.split(0.01, seed=0)


def test_kept_splits_belong_to_the_episodes_they_were_made_for(folder: Path) -> None:
    dataset = DemoDataset.open(folder)
    assert read_splits(dataset) is None
    parts = write_splits(dataset, {"train": 0.6, "validation": 0.4}, seed=5)
    assert validate(folder).problems == []
    kept = read_splits(DemoDataset.open(folder))
    assert kept is not None
    assert {name: ids.tolist() for name, ids in kept.items()} == {name: ids.tolist() for name, ids in parts.items()}
    write(folder, synthetic_episodes(SPEC, 1, 90), 1)
    with pytest.raises(DataError, match="made for other episodes than the 8"):
        read_splits(DemoDataset.open(folder))
    [problem] = validate(folder).problems
    assert "made for other episodes than the 8" in problem
    (folder / "splits.json").write_text('{"splits": {"train": "x"}, "content_hash": ""}')
    with pytest.raises(DataError, match="is not a split"):
        read_splits(DemoDataset.open(folder))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": [0, 1, 2, 3, 4], "validation": [4, 5, 6]}, r"in more than one place: 4"),
        ({"train": [0, 1, 1, 2, 3, 4], "validation": [5, 6]}, r"in more than one place: 1"),
        ({"train": [0, 1, 2], "validation": [5, 6]}, r"in no part: 3, 4"),
        ({"train": [0, 1, 2, 3, 4], "validation": [5, 6, 7, 90]}, r"that do not exist: 7, 90"),
        ({"train": [-1, 0, 1, 2, 3, 4], "validation": [5, 6]}, r"that do not exist: -1"),
        ({"train": [0, 1], "validation": [1, 2], "test": [9]}, r"(?s)1.*3, 4, 5, 6.*9"),
        ({"train": [0, 1, 2, 3, 4, 5, 6], "validation": []}, r"validation is empty"),
        ({"train": [0, 1, 2, 3, 4], "validation": [5.5, 6]}, r"is not a split.*validation"),
        ({"train": [0, True, 2, 3, 4], "validation": [5, 6]}, r"is not a split.*train"),
        ({"train": "0123", "validation": [5, 6]}, r"is not a split.*train"),
        ({}, r"no parts"),
    ],
)
def test_a_split_made_by_hand_has_every_episode_once(folder: Path, parts: dict[str, object], message: str) -> None:
    dataset = DemoDataset.open(folder)
    document = {"content_hash": dataset.content_hash(), "splits": parts}
    (folder / "splits.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=message):
        read_splits(dataset)
    [problem] = validate(folder).problems
    assert re.search(message, problem)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        DemoDataset.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no shards"):
        DemoDataset.open(tmp_path)
    with pytest.raises(ConfigError, match="on_bad_shard 'ignore'; allowed: refuse, skip"):
        DemoDataset.open(tmp_path, on_bad_shard="ignore")  # type: ignore[arg-type]

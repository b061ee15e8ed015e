"""Damaged data: whatever happened to a shard is noticed, and named, before anybody learns from it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reskill_core.data import DatasetSpec, DatasetWriter, DemoDataset, Episode, read_shard, validate, write_shard
from reskill_core.data.seal import SEAL_BYTES, Seal, check_seal
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import DataError

SPEC = synthetic_spec(observation_dim=5, sim_state_dim=3)
EPISODES = synthetic_episodes(SPEC, 14, min_steps=3, max_steps=9)


def shard(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:06d}.h5"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven shards of two episodes each."""
    with DatasetWriter(tmp_path, SPEC) as writer:
        for start in range(0, len(EPISODES), 2):
            writer.add_shard(EPISODES[start : start + 2])
    return tmp_path


@contextmanager
def another_program(path: Path) -> Iterator[h5py.File]:
    """Change a shard as a program would that knows the format but has other ideas of what is right."""
    seal = check_seal(path)
    with h5py.File(path, "r+") as file:
        yield file
    image = path.read_bytes()[SEAL_BYTES:]
    path.write_bytes(Seal.of(image, seal.state_start, seal.state_stop).to_bytes() + image)


def flip_bit(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def replace_shard(path: Path, episodes: list[Episode], spec: DatasetSpec) -> None:
    path.unlink()
    write_shard(path, episodes, spec, {})


def seeds_without(*left_out: int) -> list[int]:
    return [episode.seed for index, episode in enumerate(EPISODES) if index not in left_out]


@pytest.mark.parametrize("damage", ["truncated", "missing", "garbage", "other kind"])
def test_one_bad_shard_is_refused_or_skipped_by_name(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = shard(folder, 1)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "garbage":
        path.write_bytes(b"garbage" * 1000)
    else:
        path.unlink()
        if damage == "other kind":
            other = synthetic_spec(observation_dim=6, sim_state_dim=3)
            write_shard(path, synthetic_episodes(other, 2), other, {})
    with pytest.raises(DataError, match=r"shard-000001\.h5[\s\S]*on_bad_shard=skip"):
        DemoDataset.open(folder)
    with caplog.at_level(logging.WARNING):
        dataset = DemoDataset.open(folder, on_bad_shard="skip")
    assert "shard-000001.h5" in caplog.text
    assert len(dataset.skipped) == 1
    assert dataset.seed.tolist() == seeds_without(2, 3)
    np.testing.assert_array_equal(dataset.episode(2).sim_state, EPISODES[4].sim_state)


def test_bad_episodes_are_refused_or_left_out_by_name(folder: Path) -> None:
    first_of_second = EPISODES[2].num_steps
    with another_program(shard(folder, 1)) as file:
        file["observation"][first_of_second + 1, 2] = np.nan
        file["executed_action"][first_of_second, 0] = 1.5
    with another_program(shard(folder, 4)) as file:
        file["reward"][2] = np.inf
    with pytest.raises(DataError, match="episode 1: observation has a value that is not finite at step 1"):
        DemoDataset.open(folder)
    dataset = DemoDataset.open(folder, on_bad_shard="skip")
    first, second = dataset.skipped
    assert "shard-000001.h5: episode 1" in first
    assert "executed_action has a value beyond 1 at step 0" in first
    assert "shard-000004.h5: episode 0: reward has a value that is not finite at step 2" in second
    assert dataset.seed.tolist() == seeds_without(3, 8)
    kept = [episode for index, episode in enumerate(EPISODES) if index not in (3, 8)]
    np.testing.assert_array_equal(dataset.observation, np.concatenate([episode.observation for episode in kept]))
    np.testing.assert_array_equal(dataset.sim_state[:], np.concatenate([episode.sim_state for episode in kept]))
    np.testing.assert_array_equal(dataset.episode(7).sim_state, EPISODES[9].sim_state)


def test_nothing_usable_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    shard(tmp_path, 0).write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"no usable shard:[\s\S]*shard-000000"):
        DemoDataset.open(tmp_path, on_bad_shard="skip")


def test_shards_that_vanish_while_the_data_set_is_open_are_named(folder: Path) -> None:
    dataset = DemoDataset.open(folder)
    path = shard(folder, 6)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"shard-000006\.h5 was cut short"):
        dataset.episode(13)
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*shard-000006\.h5"):
        dataset.episode(13)


def test_truncation_anywhere_is_noticed(folder: Path) -> None:
    path = shard(folder, 0)
    content = path.read_bytes()
    for length in (0, 1, 511, 512, 600, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"shard-000000\.h5 cannot be read"):
            read_shard(path)


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = shard(tmp_path_factory.mktemp("flip"), 0)
    write_shard(path, EPISODES[:2], SPEC, {})
    return path


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(one_shard: Path, place: float, bit: int) -> None:
    content = one_shard.read_bytes()
    seal = check_seal(one_shard)
    position = int(place * len(content))
    flip_bit(one_shard, position, bit)
    try:
        assert any(one_shard.name in problem for problem in validate(one_shard.parent).problems)
        if seal.state_start <= position < seal.state_stop:  # Read, and checked, on demand.
            dataset = DemoDataset.open(one_shard.parent)
            with pytest.raises(DataError, match="not what was written"):
                dataset.episodes(0, 2)
        else:
            with pytest.raises(DataError, match=r"shard-000000\.h5 cannot be read"):
                DemoDataset.open(one_shard.parent)
    finally:
        one_shard.write_bytes(content)


def test_layout_that_does_not_fit_is_listed_at_once(folder: Path) -> None:
    with another_program(shard(folder, 0)) as file:
        steps = file["reward"].shape[0]
        del file["seed"]
        del file["reward"]
        file["reward"] = np.zeros((steps, 2))
    with pytest.raises(
        DataError, match=rf"reward is float64\({steps}, 2\), expected float32\({steps},\); seed is missing"
    ):
        read_shard(shard(folder, 0))


@pytest.mark.parametrize("ends", [[4, 4], [5, 3], [0, 7], [3, 99]])
def test_episode_ends_must_rise_to_the_number_of_steps(folder: Path, ends: list[int]) -> None:
    with another_program(shard(folder, 0)) as file:
        file["episode_ends"][()] = ends
    with pytest.raises(DataError, match=r"episode_ends must rise to the number of steps"):
        read_shard(shard(folder, 0))


def test_another_format_version_is_refused(folder: Path) -> None:
    with another_program(shard(folder, 0)) as file:
        file.attrs["format_version"] = 99
    with pytest.raises(DataError, match="format version 99, this program reads 1, 2, 3"):
        read_shard(shard(folder, 0))


def test_validation_finds_every_kind_of_problem(folder: Path) -> None:
    paths = [shard(folder, index) for index in range(7)]
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    paths[2].unlink()
    flip_bit(paths[3], check_seal(paths[3]).state_start + 3)
    replace_shard(paths[4], EPISODES[8:10], replace(SPEC, profile="fast"))
    copies = [EPISODES[0], replace(EPISODES[1], reward=EPISODES[1].reward + 1)]
    replace_shard(paths[5], copies, SPEC)
    with another_program(paths[6]) as file:
        file["reward"][0] = np.nan
    problems = "\n".join(validate(folder).problems)
    for text in (
        "shard-000002.h5 was written but is missing now",
        "shard-000001.h5 cannot be read",
        "shard-000003.h5: episode 0: contents do not match their digest",
        "shard-000003.h5: its SHA-256 is not that of the file written",
        "shard-000004.h5 does not match the shards before it",
        "profile: 'fast' != 'exact'",
        "shard-000005.h5: episode 0: is equal to",
        "shard-000005.h5: episode 1: has the seed 1 and the source of",
        "shard-000006.h5: episode 0: reward has a value that is not finite at step 0",
    ):
        assert text in problems


def test_validation_finds_a_file_of_another_size(folder: Path) -> None:
    replace_shard(shard(folder, 0), synthetic_episodes(SPEC, 9, 50), SPEC)
    (problem,) = validate(folder).problems
    assert "were written" in problem

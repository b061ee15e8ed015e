"""Windows: exactly those that a slow search finds, and an order that a restart continues."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reskill_core.bench.data import measure_windows
from reskill_core.data import DatasetWriter, DemoDataset, EpochOrder, WindowSampler, WindowStream
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import DataError
from reskill_core.spec import ImageFeature

SPEC = synthetic_spec(observation_dim=5, sim_state_dim=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    folder = tmp_path_factory.mktemp("data")
    with DatasetWriter(folder, SPEC) as writer:
        for shard in range(3):
            writer.add_shard(synthetic_episodes(SPEC, 4, 4 * shard, min_steps=1, max_steps=12))
    return DemoDataset.open(folder)


@settings(max_examples=60, deadline=None)
@given(horizon=st.integers(1, 12), ids=st.lists(st.integers(0, 11), unique=True))
def test_all_windows_and_no_others(dataset: DemoDataset, horizon: int, ids: list[int]) -> None:
    expected = []
    for index in ids:
        episode = dataset.episode(index)
        for start in range(episode.num_steps - horizon + 1):
            rows = slice(start, start + horizon)
            expected.append((episode.observation[rows], episode.action[rows]))
    if not expected:
        with pytest.raises(DataError, match=f"no window of {horizon} steps"):
            WindowSampler(dataset, ids, horizon)
        return
    sampler = WindowSampler(dataset, ids, horizon)
    observation, action = sampler.gather(np.arange(sampler.num_windows))
    np.testing.assert_array_equal(observation, np.stack([item[0] for item in expected]))
    np.testing.assert_array_equal(action, np.stack([item[1] for item in expected]))
    assert observation.dtype == action.dtype == np.float32


def test_sampling_reaches_every_window_and_is_reproducible(dataset: DemoDataset) -> None:
    sampler = WindowSampler(dataset, None, 10)
    observation, action = sampler.sample(2000, np.random.default_rng(3))
    again, _ = sampler.sample(2000, np.random.default_rng(3))
    assert observation.shape == (2000, 10, 5)
    assert action.shape == (2000, 10, 4)
    np.testing.assert_array_equal(observation, again)
    every, _ = sampler.gather(np.arange(sampler.num_windows))
    assert {row.tobytes() for row in observation} == {row.tobytes() for row in every}


def test_windows_of_a_data_set_mapped_from_a_file(dataset: DemoDataset) -> None:
    mapped = DemoDataset.open(dataset.folder, memory_limit_bytes=0)
    indices = np.array([0, 9, 3])
    for left, right in zip(
        WindowSampler(mapped, None, 4).gather(indices), WindowSampler(dataset, None, 4).gather(indices), strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_windows_are_copies(dataset: DemoDataset) -> None:
    sampler = WindowSampler(dataset, None, 3)
    observation, _ = sampler.gather(np.array([0]))
    observation[:] = 7
    assert not (sampler.gather(np.array([0]))[0] == 7).any()


@settings(deadline=None)
@given(size=st.integers(1, 40), batches=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_each_epoch_has_every_index_once(size: int, batches: list[int]) -> None:
    order = EpochOrder(size, seed=1)
    drawn = np.concatenate([order.next(batch) for batch in batches])
    assert [len(drawn)] == [sum(batches)]
    for start in range(0, len(drawn) - size + 1, size):
        assert sorted(drawn[start : start + size]) == list(range(size))
    assert order.epoch == sum(batches) // size


@settings(deadline=None)
@given(size=st.integers(1, 40), before=st.integers(1, 90), seed=st.integers(0, 2**40))
def test_a_restart_continues_the_order(size: int, before: int, seed: int) -> None:
    order = EpochOrder(size, seed)
    order.next(before)
    state = json.loads(json.dumps(order.state()))
    resumed = EpochOrder.from_state(state, size)
    for _ in range(3):
        np.testing.assert_array_equal(order.next(17), resumed.next(17))
    assert order.state() == resumed.state()


def test_epochs_and_seeds_differ() -> None:
    order = EpochOrder(1000, seed=0)
    first, second = order.next(1000), order.next(1000)
    assert (first != second).any()
    assert (first != EpochOrder(1000, seed=1).next(1000)).any()


def test_order_of_other_data_is_refused() -> None:
    with pytest.raises(DataError, match="over 10 windows, the data now give 11"):
        EpochOrder.from_state(EpochOrder(10, 0).state(), 11)


@pytest.mark.parametrize("horizon", [0, -1])
def test_impossible_horizons_are_refused(dataset: DemoDataset, horizon: int) -> None:
    with pytest.raises(DataError, match="at least one step"):
        WindowSampler(dataset, None, horizon)


def test_rates_are_measured(dataset: DemoDataset) -> None:
    rates = measure_windows(dataset, horizon=4, batch_size=8, duration_s=0.01)
    assert rates.windows_per_s == pytest.approx(8e6 / rates.batch_time_us)
    assert rates.gather_gb_per_s == pytest.approx(rates.windows_per_s * 4 * 4 * (5 + 4) / 1e9)


@pytest.mark.parametrize("images", [(), (ImageFeature("camera", 4, 4, 3, stack=2),)])
def test_a_stream_goes_on_after_the_last_batch_that_was_taken(tmp_path: Path, images: tuple[ImageFeature, ...]) -> None:
    """Not after the one that was read ahead."""
    spec = synthetic_spec(observation_dim=5, images=images)
    with DatasetWriter(tmp_path / "data", spec) as writer:
        writer.add_shard(synthetic_episodes(spec, 6, min_steps=8, max_steps=12))
    windows = WindowSampler(DemoDataset.open(tmp_path / "data"), horizon=4)
    assert windows.has_images == bool(images)
    order = EpochOrder(windows.num_windows, 0)
    expected = [windows.gather(order.next(7)) for _ in range(9)]
    stream = WindowStream(windows, EpochOrder(windows.num_windows, 0), 7)
    found, epochs = [], []
    for step in range(9):
        if step in (2, 5):
            stream = WindowStream(windows, EpochOrder.from_state(stream.state(), windows.num_windows), 7)
        found.append(stream.next())
        epochs.append(stream.epoch)
    for (mine, label), (theirs, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(label, other)
        for part in ("vector", "camera") if images else ():
            np.testing.assert_array_equal(mine[part], theirs[part])
    assert epochs == [7 * (step + 1) // windows.num_windows for step in range(9)]

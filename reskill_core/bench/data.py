"""Benchmarks of data sets: opening, sampling of training windows, and compression of images."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reskill_core.data.compressed_frames import CompressedFrames
from reskill_core.data.dataset import DemoDataset
from reskill_core.data.images import Images
from reskill_core.data.synthetic import synthetic_episodes, synthetic_frames, synthetic_spec
from reskill_core.data.windows import EpochOrder, WindowSampler
from reskill_core.data.writer import DatasetWriter
from reskill_core.spec import ImageFeature

_MEMORY_PROBE_BYTES = 64 * 2**20
_IMAGE_EPISODES = 20
_IMAGE_BATCHES = 10


@dataclass(frozen=True)
class WindowRates:
    """Speed of sampling windows.

    Attributes:
        windows_per_s: windows per second.
        batch_time_us: mean time of one batch [us].
        gather_gb_per_s: throughput of window data [GB/s].
        copy_gb_per_s: throughput of copying a large array, the limit of the memory [GB/s].
    """

    windows_per_s: float
    batch_time_us: float
    gather_gb_per_s: float
    copy_gb_per_s: float


def measure_windows(
    dataset: DemoDataset, horizon: int = 10, batch_size: int = 128, duration_s: float = 1.0
) -> WindowRates:
    """Measure sampling of batches in the order of training (:class:`EpochOrder`) for about ``duration_s``."""
    sampler = WindowSampler(dataset, horizon=horizon)
    order = EpochOrder(sampler.num_windows, seed=0)
    sampler.gather(order.next(batch_size))
    batches = delivered = 0
    start = time.perf_counter()
    while (elapsed_s := time.perf_counter() - start) < duration_s or not batches:
        observation, action = sampler.gather(order.next(batch_size))
        batches += 1
        delivered += observation.nbytes + action.nbytes
    return WindowRates(
        windows_per_s=batches * batch_size / elapsed_s,
        batch_time_us=elapsed_s / batches * 1e6,
        gather_gb_per_s=delivered / elapsed_s / 1e9,
        copy_gb_per_s=_copy_gb_per_s(),
    )


def measure_open(folder: Path | str) -> float:
    """Measure the time to open a data set [s]."""
    start = time.perf_counter()
    DemoDataset.open(folder)
    return time.perf_counter() - start


@dataclass(frozen=True)
class ImageRates:
    """Size and speed of images in a data set: a square on a smooth background, with the noise of a camera.

    Attributes:
        pixels: height and width of an image.
        size_ratio: compressed size relative to the uncompressed size.
        compress_mb_per_s: throughput of compression [MB/s].
        windows_per_s: windows of 10 steps per second with images that are read and decompressed.
        cached_windows_per_s: the same with images in memory.
    """

    pixels: int
    size_ratio: float
    compress_mb_per_s: float
    windows_per_s: float
    cached_windows_per_s: float


def measure_images(pixels: int, horizon: int = 10, batch_size: int = 32) -> ImageRates:
    """Measure a small data set with square colour images of one size."""
    feature = ImageFeature("camera", pixels, pixels)
    frames = synthetic_frames(np.random.default_rng(0), 200, feature)
    start = time.perf_counter()
    compressed = CompressedFrames.of(frames)
    compress_s = time.perf_counter() - start
    spec = synthetic_spec(images=(feature,))
    with tempfile.TemporaryDirectory() as folder:
        with DatasetWriter(folder, spec) as writer:
            writer.add_shard(synthetic_episodes(spec, _IMAGE_EPISODES))
        dataset = DemoDataset.open(folder)
        cached_windows_per_s = _windows_per_s(dataset, horizon, batch_size, warm=True)
        dataset.images = {"camera": Images(feature, dataset.images["camera"].stored, cache_bytes=0)}
        windows_per_s = _windows_per_s(dataset, horizon, batch_size, warm=False)
    size_ratio = sum(map(len, compressed.blocks)) / frames.nbytes
    return ImageRates(pixels, size_ratio, frames.nbytes / compress_s / 1e6, windows_per_s, cached_windows_per_s)


def _windows_per_s(dataset: DemoDataset, horizon: int, batch_size: int, warm: bool) -> float:
    sampler = WindowSampler(dataset, horizon=horizon)
    if warm:
        sampler.gather(np.arange(0, sampler.num_windows, horizon // 2))
    order = EpochOrder(sampler.num_windows, seed=0)
    start = time.perf_counter()
    for _ in range(_IMAGE_BATCHES):
        sampler.gather(order.next(batch_size))
    return _IMAGE_BATCHES * batch_size / (time.perf_counter() - start)


def _copy_gb_per_s() -> float:
    source = np.ones(_MEMORY_PROBE_BYTES, np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    start = time.perf_counter()
    np.copyto(target, source)
    return _MEMORY_PROBE_BYTES / (time.perf_counter() - start) / 1e9

"""How fast a data set opens and gives training windows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reskill_core.data.dataset import DemoDataset
from reskill_core.data.windows import EpochOrder, WindowSampler

_MEMORY_PROBE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class WindowRates:
    """Speed of drawing windows.

    Attributes:
        windows_per_s: windows drawn per second.
        batch_time_us: mean time of one batch [us].
        gather_gb_per_s: bytes of windows delivered per second [GB/s].
        copy_gb_per_s: bytes per second of one plain copy of a large array [GB/s], the memory's limit.
    """

    windows_per_s: float
    batch_time_us: float
    gather_gb_per_s: float
    copy_gb_per_s: float


def measure_windows(
    dataset: DemoDataset, horizon: int = 10, batch_size: int = 128, duration_s: float = 1.0
) -> WindowRates:
    """Draw batches as training does, in the order of :class:`EpochOrder`, for about ``duration_s``."""
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
    """Time to open a data set [s]."""
    start = time.perf_counter()
    DemoDataset.open(folder)
    return time.perf_counter() - start


def _copy_gb_per_s() -> float:
    source = np.ones(_MEMORY_PROBE_BYTES, np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    start = time.perf_counter()
    np.copyto(target, source)
    return _MEMORY_PROBE_BYTES / (time.perf_counter() - start) / 1e9

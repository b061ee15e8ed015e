"""Training windows: H consecutive steps of an episode, gathered without a Python loop over samples."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.data.dataset import DemoDataset
from reskill_core.errors import DataError
from reskill_core.seeding import run_rng
from reskill_core.spec import VECTOR


class WindowSampler:
    """All windows of ``horizon`` steps in some episodes, to be indexed or sampled.

    Attributes:
        horizon: steps H of a window.
        starts: (W,) int64, data set row of each window's first step, in order.
    """

    def __init__(
        self,
        dataset: DemoDataset,
        episode_ids: ArrayLike | None = None,
        horizon: int = 10,
        image_steps: int | None = None,
    ) -> None:
        """List the windows.

        Args:
            dataset: the data.
            episode_ids: the episodes to take windows from; all by default.
            horizon: steps of a window; shorter episodes have none.
            image_steps: leading steps of a window whose images are gathered; all by default.

        Raises:
            DataError: there is no window.
        """
        ids = np.arange(dataset.num_episodes) if episode_ids is None else np.asarray(episode_ids, dtype=np.int64)
        if horizon < 1:
            raise DataError(f"a window needs at least one step, got horizon {horizon}")
        lengths = dataset.episode_lengths[ids]
        counts = np.maximum(lengths - horizon + 1, 0)
        if not counts.sum():
            longest = lengths.max(initial=0)
            raise DataError(f"no window of {horizon} steps: the longest of {len(ids)} episodes has {longest}")
        self.horizon = horizon
        self._image_steps = horizon if image_steps is None else image_steps
        first_window = np.cumsum(counts) - counts
        self.starts = np.arange(counts.sum()) + np.repeat(dataset.episode_starts[ids] - first_window, counts)
        self._observation_dim = dataset.observation.shape[1]
        self._action_dim = dataset.action.shape[1]
        self._observation = _overlapping(dataset.observation, horizon)
        self._action = _overlapping(dataset.action, horizon)
        self._images = dataset.images
        # Episode of each window and its first step within the episode; only needed for images.
        self._episode = np.repeat(ids, counts) if self._images else np.empty(0, np.int64)
        self._step = self.starts - dataset.episode_starts[self._episode] if self._images else self._episode

    @property
    def num_windows(self) -> int:
        """Number of windows W."""
        return len(self.starts)

    @property
    def has_images(self) -> bool:
        """Whether windows have images."""
        return bool(self._images)

    def gather(self, indices: NDArray[np.integer]) -> tuple[Any, NDArray[np.float32]]:
        """Gather windows by index (B,).

        Returns:
            observations (B, H, O) and labels (B, H, A), float32, copies. Observations with images are a mapping of the
            vectors and of each image feature, (B, H or its image steps, stack, H', W', C) uint8: see
            :mod:`reskill_core.spec.observations`.

        Raises:
            DataError: images were removed, truncated or damaged meanwhile.
        """
        starts = self.starts[indices]
        observation = self._observation[starts].view(np.float32)
        action = self._action[starts].view(np.float32)
        vector = observation.reshape(-1, self.horizon, self._observation_dim)
        label = action.reshape(-1, self.horizon, self._action_dim)
        return (self._with_images(vector, indices) if self._images else vector), label

    def _with_images(self, vector: NDArray[np.float32], indices: NDArray[np.integer]) -> dict[str, NDArray[Any]]:
        episodes, steps = self._episode[indices], self._step[indices]
        images = {name: item.windows(episodes, steps, self._image_steps) for name, item in self._images.items()}
        return {VECTOR: vector, **images}

    def sample(self, batch_size: int, rng: np.random.Generator) -> tuple[Any, NDArray[np.float32]]:
        """Sample windows uniformly with replacement; returns them as :meth:`gather` does."""
        return self.gather(rng.integers(self.num_windows, size=batch_size))


class EpochOrder:
    """Endless stream of indices: all of them once per epoch, in a new order each epoch.

    The order depends only on the seed and the epoch, so that three numbers suffice to resume the stream exactly.
    Batches are always full; one may extend into the next epoch.
    """

    def __init__(self, size: int, seed: int) -> None:
        """Start at the first epoch.

        Args:
            size: number of indices.
            seed: seed of the run.

        Raises:
            DataError: there is nothing to order.
        """
        if size < 1:
            raise DataError(f"cannot order {size} indices")
        self._size = size
        self._seed = seed
        self._start(epoch=0, position=0)

    @property
    def epoch(self) -> int:
        """Number of epochs completed."""
        return self._epoch

    def next(self, batch_size: int) -> NDArray[np.int64]:
        """Return the next ``batch_size`` indices."""
        pieces = []
        while batch_size > 0:
            piece = self._order[self._position : self._position + batch_size]
            pieces.append(piece)
            batch_size -= len(piece)
            self._position += len(piece)
            if self._position == self._size:
                self._start(self._epoch + 1, position=0)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def state(self) -> dict[str, int]:
        """Return the position in the stream, ready for JSON."""
        return {"size": self._size, "seed": self._seed, "epoch": self._epoch, "position": self._position}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], size: int) -> EpochOrder:
        """Continue a stream from a saved :meth:`state`.

        Raises:
            DataError: it is of another number of indices, so that the data differs.
        """
        if state["size"] != size:
            raise DataError(f"the order was over {state['size']} windows, the data now give {size}: not the same data")
        order = cls(size, state["seed"])
        order._start(state["epoch"], state["position"])
        return order

    def _start(self, epoch: int, position: int) -> None:
        self._epoch = epoch
        self._position = position
        self._order = run_rng(self._seed, "window_order", epoch).permutation(self._size)


class WindowStream:
    """Endless stream of batches of windows, in epochs.

    Batches with images are read ahead by one, on a thread of its own: while a step is computed, images are read and
    decompressed for the next one.
    """

    def __init__(self, windows: WindowSampler, order: EpochOrder, batch_size: int) -> None:
        """Start where the order is.

        Args:
            windows: the windows.
            order: their order.
            batch_size: windows per batch.
        """
        self._windows, self._order, self._batch_size = windows, order, batch_size
        self._reader = ThreadPoolExecutor(1, "windows") if windows.has_images else None
        self._ahead: Future[tuple[Any, NDArray[np.float32]]] | None = None
        # Of the order before the batch that has been read ahead.
        self._state, self._epoch = order.state(), order.epoch

    @property
    def epoch(self) -> int:
        """Number of epochs completed."""
        return self._epoch

    def next(self) -> tuple[Any, NDArray[np.float32]]:
        """Return the next batch, as :meth:`WindowSampler.gather` does.

        Raises:
            DataError: images were removed, truncated or damaged meanwhile.
        """
        batch = self._gather() if self._ahead is None else self._ahead.result()
        self._state, self._epoch = self._order.state(), self._order.epoch
        if self._reader is not None:
            indices = self._order.next(self._batch_size)
            self._ahead = self._reader.submit(self._windows.gather, indices)
        return batch

    def state(self) -> dict[str, int]:
        """Return the state of the order after the last batch, ready for JSON."""
        return self._state

    def _gather(self) -> tuple[Any, NDArray[np.float32]]:
        return self._windows.gather(self._order.next(self._batch_size))


def _overlapping(array: NDArray[np.float32], horizon: int) -> NDArray[np.void]:
    """View of ``array`` (N, D) as N - H + 1 overlapping items, each the bytes of H rows.

    Rows of a window are adjacent in memory: indexing this view copies a window at once, which takes a third of the time
    of indexing its rows.
    """
    row_bytes = array.strides[0]
    return np.ndarray((len(array) - horizon + 1,), f"V{row_bytes * horizon}", array, strides=(row_bytes,))

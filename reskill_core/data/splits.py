"""Dividing a data set's episodes into named parts, and keeping that division beside the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import DataError
from reskill_core.files import atomic_write_json, read_json

if TYPE_CHECKING:
    from reskill_core.data.dataset import DemoDataset

SPLITS = "splits.json"
_MAX_SPLITS_BYTES = 256 * 2**20


def split_episodes(num_episodes: int, fractions: Mapping[str, float], seed: int) -> dict[str, NDArray[np.int64]]:
    """Divide episodes at random into parts: disjoint, complete, sorted, the same for the same seed.

    Args:
        num_episodes: number of episodes.
        fractions: share of each named part; they add up to 1.
        seed: seed of the division.

    Raises:
        DataError: the fractions do not add up to 1, or leave a part without an episode.
    """
    shares = np.array(list(fractions.values()))
    if not math.isclose(shares.sum(), 1.0, abs_tol=1e-6) or not np.all((shares > 0) & (shares <= 1)):
        raise DataError(f"the parts of a split must be positive and add up to 1, got {dict(fractions)}")
    cuts = np.rint(np.cumsum(shares) * num_episodes).astype(np.int64)[:-1]
    order = np.random.default_rng(seed).permutation(num_episodes)
    parts = {name: np.sort(part) for name, part in zip(fractions, np.split(order, cuts), strict=True)}
    if empty := [name for name, part in parts.items() if not len(part)]:
        raise DataError(f"{num_episodes} episodes divided into {dict(fractions)} leave {', '.join(empty)} empty")
    return parts


def write_splits(dataset: DemoDataset, fractions: Mapping[str, float], seed: int) -> dict[str, NDArray[np.int64]]:
    """Divide a data set and keep the division in ``splits.json`` beside its shards.

    Raises:
        DataError: the fractions are impossible, or the file cannot be written.
    """
    parts = split_episodes(dataset.num_episodes, fractions, seed)
    document = {
        "format_version": 1,
        "content_hash": dataset.content_hash(),
        "seed": seed,
        "fractions": dict(fractions),
        "splits": {name: part.tolist() for name, part in parts.items()},
    }
    try:
        atomic_write_json(dataset.folder / SPLITS, document)
    except OSError as cause:
        raise DataError(f"cannot write {dataset.folder / SPLITS}: {cause.strerror}") from cause
    return parts


def read_splits(dataset: DemoDataset) -> dict[str, NDArray[np.int64]] | None:
    """The division kept beside a data set; None if there is none.

    Raises:
        DataError: the file is damaged, or was made for other episodes than those that are there now.
    """
    path = dataset.folder / SPLITS
    if not path.exists():
        return None
    document = read_json(path, DataError, _MAX_SPLITS_BYTES)
    try:
        made_for = document["content_hash"]
        parts = {str(name): np.array(ids, dtype=np.int64) for name, ids in document["splits"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise DataError(f"{path} is not a split: {cause}; make it anew with `reskill data split`") from cause
    if made_for != dataset.content_hash():
        raise DataError(
            f"{path} was made for other episodes than the {dataset.num_episodes} that are there now;"
            " make it anew with `reskill data split`"
        )
    return parts

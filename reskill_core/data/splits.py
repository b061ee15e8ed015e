"""Splits of a data set's episodes into named parts, stored next to the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import DataError
from reskill_core.files import atomic_write_json, read_json

if TYPE_CHECKING:
    from reskill_core.data.dataset import DemoDataset

SPLITS = "splits.json"
_MAX_SPLITS_BYTES = 256 * 2**20
_LISTED = 20  # Maximum number of episodes listed in an error.


def split_episodes(num_episodes: int, fractions: Mapping[str, float], seed: int) -> dict[str, NDArray[np.int64]]:
    """Split episodes at random into parts: disjoint, complete, sorted, deterministic for a seed.

    Args:
        num_episodes: number of episodes.
        fractions: share of each named part; they add up to 1.
        seed: random seed.

    Raises:
        DataError: the fractions do not add up to 1, or a part would be empty.
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
    """Split a data set and write the split to ``splits.json`` next to its shards.

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
    """Read the split stored next to a data set, each part in ascending order; None if there is none.

    Raises:
        DataError: the file is damaged, was made for other episodes, or does not contain every episode exactly once;
            lists the episodes.
    """
    return checked_splits(dataset.folder, dataset.content_hash(), dataset.num_episodes)


def checked_splits(folder: Path, content_hash: str, num_episodes: int) -> dict[str, NDArray[np.int64]] | None:
    """:func:`read_splits`, given the number of episodes and the content hash of the data set."""
    path = folder / SPLITS
    if not path.exists():
        return None
    document = read_json(path, DataError, _MAX_SPLITS_BYTES)
    try:
        made_for = document["content_hash"]
        parts = {str(name): _episode_ids(str(name), ids) for name, ids in document["splits"].items()}
    except (KeyError, TypeError, AttributeError, OverflowError) as cause:
        raise DataError(f"{path} is not a split: {cause}; make it anew with `reskill data split`") from cause
    if made_for != content_hash:
        raise DataError(
            f"{path} was made for other episodes than the {num_episodes} that are there now;"
            " make it anew with `reskill data split`"
        )
    if faults := _faults(parts, num_episodes):
        raise DataError(f"{path} divides episodes 0 to {num_episodes - 1} wrongly: {'; '.join(faults)}")
    return parts


def _episode_ids(part: str, ids: Any) -> NDArray[np.int64]:
    if not isinstance(ids, list) or not all(type(number) is int for number in ids):
        raise TypeError(f"part {part} is no list of integers")
    return np.sort(np.array(ids, dtype=np.int64))


def _faults(parts: Mapping[str, NDArray[np.int64]], num_episodes: int) -> list[str]:
    """Duplicate, missing and nonexistent episodes of a split, and empty parts."""
    if not parts:
        return ["it has no parts"]
    every = np.concatenate(list(parts.values()))
    known = every[(every >= 0) & (every < num_episodes)]
    count = np.bincount(known, minlength=num_episodes)
    found = {
        "episodes in more than one place": np.flatnonzero(count > 1),
        "episodes in no part": np.flatnonzero(count == 0),
        "episodes that do not exist": np.setdiff1d(every, known),
    }
    faults = [f"{fault}: {_listed(ids)}" for fault, ids in found.items() if len(ids)]
    return faults + [f"part {name} is empty" for name, ids in parts.items() if not len(ids)]


def _listed(ids: NDArray[np.int64]) -> str:
    more = f", … ({len(ids)} in all)" if len(ids) > _LISTED else ""
    return ", ".join(map(str, ids[:_LISTED])) + more

"""Which episodes a run learns from and which it holds out, and how to find them again from its checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.data import DemoDataset, read_splits
from reskill_core.errors import DataError

TRAIN, VALIDATION = "train", "validation"
DATA_KEY = "data"


def training_split(
    dataset: DemoDataset, validation_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Episodes for training and for validation: those of the data set's own split if it has one, else drawn."""
    kept = read_splits(dataset)
    if kept is not None and TRAIN in kept and VALIDATION in kept:
        return kept[TRAIN], kept[VALIDATION]
    return dataset.split(validation_fraction, seed)


def data_identity(dataset: DemoDataset, validation_fraction: float, seed: int) -> dict[str, Any]:
    """What a checkpoint says about its data."""
    return {
        "content_hash": dataset.content_hash(),
        "num_episodes": dataset.num_episodes,
        "num_steps": dataset.num_steps,
        "profile": dataset.spec.profile,
        "validation_fraction": validation_fraction,
        "split_seed": seed,
    }


def held_out_episodes(checkpoint: Checkpoint, dataset: DemoDataset) -> NDArray[np.int64]:
    """Episodes of ``dataset`` that the model of ``checkpoint`` has not learnt from.

    Raises:
        DataError: it was trained on other data.
    """
    identity = checkpoint.document[DATA_KEY]
    if identity["content_hash"] != dataset.content_hash():
        raise DataError(
            f"{checkpoint.folder} was trained on other episodes than {dataset.folder} holds (content "
            f"{identity['content_hash'][:12]} != {dataset.content_hash()[:12]}): what it has not seen is unknown"
        )
    return training_split(dataset, identity["validation_fraction"], identity["split_seed"])[1]

"""Training and validation episodes of a run, and held-out episodes of a data set for a trained model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import IntArray
from reskill_core.checkpoint import Arrays, Checkpoint, load_episodes
from reskill_core.data import DataWorld, DemoDataset, read_splits
from reskill_core.data.world import NOMINAL, REAL
from reskill_core.errors import DataError
from reskill_core.lineage import Lineage, short_hash
from reskill_core.seeding import EPISODES

TRAIN, VALIDATION = "train", "validation"
DATA_KEY = "data"
_WORLDS = "worlds"


def training_split(dataset: DemoDataset, validation_fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Return training and validation episodes, from the data set's own split if it has one, otherwise drawn at random.

    Raises:
        DataError: its own split is damaged or lacks these parts.
    """
    kept = read_splits(dataset)
    if kept is None:
        return dataset.split(validation_fraction, seed)
    if missing := [part for part in (TRAIN, VALIDATION) if part not in kept]:
        raise DataError(
            f"the split kept beside {dataset.folder} has no part {' and '.join(missing)}, only {', '.join(kept)}; make "
            f"it anew: reskill data split {dataset.folder} {TRAIN}=0.8 {VALIDATION}=0.1 test=0.1"
        )
    return kept[TRAIN], kept[VALIDATION]


def require_demonstrations(dataset: DemoDataset) -> None:
    """Refuse to train on episodes of the reported evaluation.

    Raises:
        DataError: the data set contains some.
    """
    reported = EPISODES["reported evaluations"]
    found = dataset.seed[(dataset.seed >= reported.start) & (dataset.seed < reported.stop)]
    if len(found):
        raise DataError(
            f"{dataset.folder} holds {len(found)} episodes that evaluations are made of, such as seed {found[0]}: what "
            f"learns from them cannot be evaluated; demonstrate with seeds below {reported.start}"
        )


def data_facts(dataset: DemoDataset, validation_fraction: float, seed: int) -> dict[str, Any]:
    """Return a readable description of the data, for a checkpoint's document."""
    return {
        "content_hash": dataset.content_hash(),
        "num_episodes": dataset.num_episodes,
        "num_steps": dataset.num_steps,
        "profile": dataset.spec.profile,
        "validation_fraction": validation_fraction,
        "split_seed": seed,
        _WORLDS: [{"profile": world.profile, **world.to_dict()} for world in dataset.worlds],
    }


def learnt_worlds(checkpoint: Checkpoint) -> list[DataWorld]:
    """Return the worlds of a skill module's training data, as far as recorded; empty if its data is unknown."""
    facts = checkpoint.document.get(DATA_KEY)
    if not isinstance(facts, Mapping):
        return []
    if (kept := facts.get(_WORLDS)) is None:
        return [DataWorld(str(facts["profile"]))]
    return [DataWorld.from_dict(str(world["profile"]), world) for world in kept]


def data_lineage(dataset: DemoDataset, train: IntArray, validation: IntArray) -> Lineage:
    """Return the lineage of a model trained on the episodes ``train`` and selected by ``validation``."""
    simulators = sorted({world.simulator for world in dataset.worlds if world.simulator})
    return Lineage(
        data=dataset.content_hash(),
        split=_split_hash(dataset, train, validation),
        task=dataset.spec.task.name,
        profile=dataset.spec.profile,
        variation=_one_variation(dataset),
        settings=dataset.spec.task.settings or None,
        simulator=" and ".join(simulators) or None,
    )


def _one_variation(dataset: DemoDataset) -> Mapping[str, Any] | None:
    """The variation of all episodes, complete; None if it is unknown or differs between episodes."""
    first, *others = dataset.worlds
    if first.variation is None or first.profile == REAL or any(other.variation != first.variation for other in others):
        return None
    return {**NOMINAL, **first.variation}


def episode_marks(dataset: DemoDataset, train: IntArray, validation: IntArray) -> Arrays:
    """Return (n,) identifiers of the training and of the validation episodes, for a checkpoint."""
    marks = _marks(dataset)
    return {TRAIN: marks[train], VALIDATION: marks[validation]}


@dataclass(frozen=True)
class HeldOut:
    """Held-out episodes of a data set, to evaluate a model on.

    Attributes:
        episodes: episode numbers, ascending.
        note: a sentence on their relation to the model.
    """

    episodes: IntArray
    note: str


def held_out_episodes(checkpoint: Checkpoint, dataset: DemoDataset) -> HeldOut:
    """Find the episodes of a data set that a checkpoint's model was not trained on, whatever data set that is.

    If there are episodes that were not used for validation either, only those are returned. A checkpoint that does not
    record its episodes is assumed to have been trained with the data set's current split.

    Raises:
        DataError: the model was trained on all of them, or its training episodes are unknown.
    """
    kept = load_episodes(checkpoint.folder)
    if not kept:
        return _believed_held_out(checkpoint, dataset)
    marks = _marks(dataset)
    learnt, chose = (np.isin(marks, kept[part]) for part in (TRAIN, VALIDATION))
    fresh, validation = np.flatnonzero(~learnt & ~chose), np.flatnonzero(~learnt & chose)
    if len(fresh):
        return HeldOut(fresh, f"{len(fresh)} of {len(marks)} episodes, none of them known to the model")
    if len(validation):
        return HeldOut(
            validation, f"{len(validation)} of {len(marks)} episodes, not learnt from; they chose the best checkpoint"
        )
    raise DataError(
        f"{checkpoint.folder} has learnt from all {len(marks)} episodes of {dataset.folder}: nothing in it is held out"
    )


def _believed_held_out(checkpoint: Checkpoint, dataset: DemoDataset) -> HeldOut:
    facts, learnt_from = checkpoint.document[DATA_KEY], Lineage.of(checkpoint.document).data
    if learnt_from != dataset.content_hash():
        raise DataError(
            f"{checkpoint.folder} was trained on other episodes than {dataset.folder} holds (content "
            f"{short_hash(learnt_from)} != {short_hash(dataset.content_hash())}): what it has not seen is unknown"
        )
    _, validation = training_split(dataset, facts["validation_fraction"], facts["split_seed"])
    note = "believed to be held out: the checkpoint does not say which episodes it has learnt from"
    return HeldOut(validation, f"{len(validation)} of {dataset.num_episodes} episodes, {note}")


def _marks(dataset: DemoDataset) -> NDArray[np.uint64]:
    """(E,) identifiers of episodes, the first eight bytes of their digests: enough to tell a million episodes apart."""
    return np.ascontiguousarray(dataset.digest[:, :8]).view("<u8").ravel()


def _split_hash(dataset: DemoDataset, train: IntArray, validation: IntArray) -> str:
    parts = (hashlib.sha256(dataset.digest[part].tobytes()).hexdigest() for part in (train, validation))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()

"""Operations on whole data sets: validation, repair and merging."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.data.dataset import DemoDataset
from reskill_core.data.episode import Episode, digests
from reskill_core.data.loading import OnBadShard
from reskill_core.data.manifest import MANIFEST, find_parts, find_shards, read_manifest, shard_name
from reskill_core.data.schema import DIGEST, MERGED_FROM, DatasetSpec, require_match
from reskill_core.data.shard import Shard, ShardEntry, read_header, read_shard
from reskill_core.data.splits import checked_splits
from reskill_core.data.world import DataWorld
from reskill_core.data.writer import DatasetWriter
from reskill_core.errors import DataError
from reskill_core.files import LOCK, commit, lock_new, sha256_of

Progress = Callable[[int, int], None]  # Called with the numbers of finished and of all items.
_BLOCK_EPISODES = 256  # Episodes whose simulator states are read together.


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass
class Validation:
    """Result of validating a data set.

    Attributes:
        problems: faults, each with file and place; a data set is valid if there are none.
        notes: harmless findings, such as an index that is out of date.
        num_episodes: number of checked episodes.
        num_steps: number of checked steps.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_episodes: int = 0
    num_steps: int = 0


def validate(folder: Path | str, progress: Progress = _no_progress) -> Validation:
    """Check a data set completely, with one shard in memory at a time.

    Checks the layout against the specification, values (finite, actions in range), the digest of every episode, the
    specification against that of the first shard, files against the index, duplicate episodes (bit-equal, or with the
    same seed, demonstrator and noise in the same world), and the split.

    Raises:
        DataError: there is no such folder.
    """
    folder = Path(folder)
    result = Validation()
    manifest = read_manifest(folder)  # Read first, so that a shard added meanwhile does not look missing.
    paths = find_shards(folder)
    if not paths:
        result.problems.append(f"{folder} has no shards such as {shard_name(0)}")
    _check_index(folder, paths, manifest, result)
    seen, content = _Seen(), hashlib.sha256()
    spec: DatasetSpec | None = None
    for done, (index, path) in enumerate(paths.items()):
        progress(done, len(paths))
        try:
            shard = read_shard(path)
            spec = spec or shard.header.spec
            require_match(spec, shard.header.spec, f"{path} does not match the shards before it")
        except DataError as error:
            result.problems.append(str(error))
            continue
        _check_contents(shard, result, seen)
        _check_fingerprint(path, (manifest or {}).get(index), result)
        content.update(shard.arrays[DIGEST].tobytes())
    progress(len(paths), len(paths))
    # The split can only be checked if all episodes were read.
    if paths and not result.problems:
        _check_splits(folder, content.hexdigest(), result)
    return result


def repair(folder: Path | str) -> tuple[str, ...]:
    """Update a data set's index and remove unfinished files; returns their names. Shards are not changed.

    Raises:
        DataError: there is no data set, none of its shards can be read, or another process writes to it.
    """
    for path in find_shards(Path(folder)).values():
        try:
            spec = read_header(path).spec
        except DataError:
            continue
        with DatasetWriter(folder, spec) as writer:
            return writer.removed_parts
    raise DataError(f"{folder} has no shard that can be read; nothing can be repaired")


def merge(
    sources: Sequence[Path | str],
    target: Path | str,
    episodes_per_shard: int = 1000,
    on_bad_shard: OnBadShard = "refuse",
    skip_duplicates: bool = False,
    progress: Progress = _no_progress,
) -> Path:
    """Merge data sets into a new one with large shards. The sources are not changed.

    Each new shard records the sources of its episodes: name, content hash and provenance of the source data sets. All
    its episodes are from one world (the same simulation settings); a new shard starts where the world changes.

    Args:
        sources: data sets of the same kind, in order.
        target: a new folder; it appears when it is complete.
        episodes_per_shard: size of the new shards.
        on_bad_shard: how to treat damaged shards of the sources.
        skip_duplicates: keep the first of duplicate episodes, as defined by :func:`validate`, instead of refusing.
        progress: called with the numbers of finished and of all episodes.

    Raises:
        DataError: the sources do not match (every difference is listed), share episodes, cannot be read, or the
            target exists or cannot be written.
    """
    target = Path(target)
    if episodes_per_shard < 1:
        raise DataError(f"episodes_per_shard must be at least 1, got {episodes_per_shard}")
    with lock_new(target, DataError):
        _merge(sources, target, episodes_per_shard, on_bad_shard, skip_duplicates, progress)
    return target


def _merge(
    sources: Sequence[Path | str],
    target: Path,
    episodes_per_shard: int,
    on_bad_shard: OnBadShard,
    skip_duplicates: bool,
    progress: Progress,
) -> None:
    datasets = [DemoDataset.open(source, on_bad_shard) for source in sources]
    if not datasets:
        raise DataError("nothing to merge: no data sets given")
    for dataset in datasets[1:]:
        require_match(datasets[0].spec, dataset.spec, f"{dataset.folder} does not match {datasets[0].folder}")
    kept = _first_occurrences(datasets, skip_duplicates)
    total = sum(map(len, kept))
    part = _fresh_part(target)
    stream = _episodes(datasets, kept)
    done = 0
    with DatasetWriter(part, _common_spec(datasets), resume=False) as writer:
        for world, batch in _batches(stream, episodes_per_shard):
            origins = [
                origin for which in sorted({which for which, _ in batch}) for origin in _origins(datasets[which])
            ]
            writer.add_shard([episode for _, episode in batch], extra={MERGED_FROM: origins}, world=world)
            done += len(batch)
            progress(done, total)
    (part / LOCK).unlink()
    commit(part, target)


class _Seen:
    """First occurrences of episodes, by digest and by the settings that determine an episode."""

    def __init__(self) -> None:
        self._digest: dict[bytes, str] = {}
        self._cause: dict[tuple[object, ...], str] = {}

    def twin(self, place: str, digest: bytes, world: DataWorld, source: object, seed: int, noise: float) -> str:
        """Return why an episode is a duplicate; empty if it is new.

        Args:
            place: its position in the data, for messages.
            digest: digest of its contents.
            world: its simulation settings.
            source: its demonstrator.
            seed: its seed; episodes without one are only compared by digest.
            noise: its noise scale.
        """
        if (first := self._digest.setdefault(digest, place)) != place:
            return f"is equal to {first}"
        cause = (world.profile, str(world.variation), str(world.settings), source, seed, noise)
        if seed >= 0 and not world.mixed and (first := self._cause.setdefault(cause, place)) != place:
            return f"has the seed {seed} and the source of {first}, in the same world and with the same noise"
        return ""


def _check_index(
    folder: Path, paths: dict[int, Path], manifest: dict[int, ShardEntry] | None, result: Validation
) -> None:
    known = manifest or {}
    missing = sorted(known.keys() - paths.keys())
    result.problems += [f"{folder / shard_name(index)} was written but is missing now" for index in missing]
    if behind := len(paths.keys() - known.keys()):
        result.notes.append(
            f"{MANIFEST} does not list {behind} of {len(paths)} shards; the next writer brings it up to date"
        )
    written = paths.keys() | known.keys()
    below = sum(index < max(paths, default=0) for index in written)
    if gaps := max(paths, default=0) - below:
        first = next(index for index in count() if index not in written)
        result.notes.append(
            f"{gaps} shards were not written yet, first {shard_name(first)}; the next writer fills them"
        )
    result.notes += [f"{part} is unfinished; the next writer removes it" for part in find_parts(folder)]


def _check_contents(shard: Shard, result: Validation, seen: _Seen) -> None:
    faults = shard.faults()
    try:
        actual = digests(shard.arrays, shard.frames)
    except DataError as error:
        result.problems.append(f"{shard.path}: {error}")
        return
    world = shard.world
    for episode in range(len(shard)):
        place = f"{shard.path}: episode {episode}"
        result.problems += [f"{place}: {fault}" for fault in faults.get(episode, [])]
        if not np.array_equal(actual[episode], shard.arrays[DIGEST][episode]):
            result.problems.append(f"{place}: contents do not match their digest, they were changed")
        facts = (shard.arrays[name][episode] for name in ("source", "seed", "noise_scale"))
        source, seed, noise = facts
        if twin := seen.twin(place, actual[episode].tobytes(), world, source.decode(), int(seed), float(noise)):
            result.problems.append(f"{place}: {twin}")
    result.num_episodes += len(shard)
    result.num_steps += shard.header.num_steps


def _check_splits(folder: Path, content_hash: str, result: Validation) -> None:
    try:
        checked_splits(folder, content_hash, result.num_episodes)
    except DataError as error:
        result.problems.append(str(error))


def _check_fingerprint(path: Path, entry: ShardEntry | None, result: Validation) -> None:
    if entry is None:
        return
    if path.stat().st_size != entry.size_bytes:
        result.problems.append(f"{path}: has {path.stat().st_size} bytes, {entry.size_bytes} were written")
    elif sha256_of(path) != entry.sha256:
        result.problems.append(f"{path}: its SHA-256 is not that of the file written")


def _common_spec(datasets: Sequence[DemoDataset]) -> DatasetSpec:
    """Specification of the sources; without settings of the task if they differ, which then each shard has."""
    spec = datasets[0].spec
    if all(dataset.spec.task.settings == spec.task.settings for dataset in datasets):
        return spec
    return replace(spec, task=replace(spec.task, settings={}))


def _first_occurrences(datasets: Sequence[DemoDataset], skip_duplicates: bool) -> list[list[int]]:
    """Indices of the non-duplicate episodes of each data set."""
    seen = _Seen()
    kept: list[list[int]] = []
    for dataset in datasets:
        kept.append([])
        for episode, digest in enumerate(dataset.digest):
            place = f"episode {episode} of {dataset.folder}"
            world = dataset.worlds[dataset.world_number[episode]]
            source, seed, noise = (column[episode] for column in (dataset.source, dataset.seed, dataset.noise_scale))
            twin = seen.twin(place, digest.tobytes(), world, str(source), int(seed), float(noise))
            if not twin:
                kept[-1].append(episode)
            elif not skip_duplicates:
                raise DataError(f"{place} {twin}; keep only the first with --skip-duplicates")
    return kept


def _batches(
    stream: Iterator[tuple[int, DataWorld, Episode]], size: int
) -> Iterator[tuple[DataWorld, list[tuple[int, Episode]]]]:
    """Batches of up to ``size`` consecutive episodes of one world."""
    for world, group in groupby(stream, key=itemgetter(1)):
        while batch := [(which, episode) for which, _, episode in islice(group, size)]:
            yield world, batch


def _episodes(
    datasets: Sequence[DemoDataset], kept: Sequence[Sequence[int]]
) -> Iterator[tuple[int, DataWorld, Episode]]:
    """The kept episodes in order, each with the index of its data set and its world."""
    for which, dataset in enumerate(datasets):
        wanted = set(kept[which])
        for start in range(0, dataset.num_episodes, _BLOCK_EPISODES):
            stop = min(start + _BLOCK_EPISODES, dataset.num_episodes)
            for index, episode in enumerate(dataset.episodes(start, stop), start):
                if index in wanted:
                    yield which, dataset.worlds[dataset.world_number[index]], episode


def _origins(dataset: DemoDataset) -> list[dict[str, Any]]:
    """Sources of a data set's episodes: the data set itself, or those that it was merged from."""
    origins = [dict(origin) for origin in dataset.merged_from]
    if dataset.provenance:
        name, provenance = dataset.folder.resolve().name, list(dataset.provenance)
        origins.append({"name": name, "content_hash": dataset.content_hash(), "provenance": provenance})
    return origins


def _fresh_part(target: Path) -> Path:
    """Temporary folder of a merge; the remains of a killed merge are removed."""
    part = target.with_name(f".part-{target.name}")
    if part.exists():
        shutil.rmtree(part)
    return part

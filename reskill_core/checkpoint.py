"""Checkpoint folders: safetensors and JSON with a SHA-256 manifest, written atomically, never unpickled.

::

    <folder>/
      checkpoint.json              format version, kind and its data (config, task, normaliser, provenance)
      weights.safetensors          tensors by name
      episodes.safetensors         optional: identifies the training and validation episodes
      training_state.json          } optional: state for resuming the training
      training_state.safetensors   }
      manifest.json                size and SHA-256 of each of the above, and of itself

A run keeps its checkpoints in ``checkpoints/<step>/``, next to the links ``last`` and ``best``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from reskill_core.errors import CheckpointError, SpecError
from reskill_core.files import (
    PART_PREFIX,
    atomic_write_bytes,
    atomic_write_json,
    commit,
    open_regular,
    part_path,
    read_json,
)
from reskill_core.provenance import provenance
from reskill_core.resources import shipped_folder, shipped_models
from reskill_core.spec import TaskSpec

FORMAT_VERSION = 1

MANIFEST = "manifest.json"
DOCUMENT = "checkpoint.json"
WEIGHTS = "weights.safetensors"
EPISODES = "episodes.safetensors"
STATE_VALUES = "training_state.json"
STATE_ARRAYS = "training_state.safetensors"
_REQUIRED = (DOCUMENT, WEIGHTS)
_FILES = (*_REQUIRED, EPISODES, STATE_VALUES, STATE_ARRAYS)

CHECKPOINTS_FOLDER = "checkpoints"
LAST_LINK = "last"
BEST_LINK = "best"
# Any of these identifies a folder as a run or a checkpoint, even an unfinished or damaged one.
_MARKS = (*_FILES, MANIFEST, CHECKPOINTS_FOLDER, "config.yaml", LAST_LINK, BEST_LINK)

_MAX_MANIFEST_BYTES = 64 * 2**10
_MAX_DOCUMENT_BYTES = 16 * 2**20

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        weights: tensors by name.
        document: contents of ``checkpoint.json``.
        folder: the folder it was read from.
        sha256: its hash, ``sha256sum checkpoint.json weights.safetensors | sha256sum``, the same for a checkpoint and
            its export; None if it was not loaded from a checkpoint folder.
    """

    weights: dict[str, NDArray[Any]]
    document: dict[str, Any]
    folder: Path
    sha256: str | None = None

    @property
    def kind(self) -> str:
        """Kind of checkpoint, such as a skill module or an agent."""
        return str(self.document.get("kind"))

    @property
    def task(self) -> TaskSpec:
        """The task it was trained for.

        Raises:
            CheckpointError: the document holds none.
        """
        try:
            return TaskSpec.from_dict(self.document["task"])
        except (KeyError, TypeError, SpecError) as error:
            raise CheckpointError(f"{self.folder / DOCUMENT} holds no valid task specification: {error}") from error

    def require_task(self, task: TaskSpec, interface_only: bool = False) -> None:
        """Refuse a task, robot or control rate that differs from the training task.

        Args:
            task: the task of the consumer.
            interface_only: compare only layouts and control rate, not the task's name and horizon, as for an agent that
                reuses skills in a new task.

        Raises:
            CheckpointError: lists every difference.
        """
        mine = self.task
        differences = mine.interface_differences(task) if interface_only else mine.differences(task)
        if differences:
            raise CheckpointError(
                f"checkpoint {self.folder} was made for task {mine.name!r} and does not fit {task.name!r}; "
                "checkpoint != task in:\n" + "\n".join(f"  - {difference}" for difference in differences)
            )


def save_checkpoint(
    folder: Path,
    kind: str,
    weights: Arrays,
    document: Mapping[str, Any],
    training_state: Mapping[str, Any] | None = None,
    episodes: Arrays | None = None,
) -> Path:
    """Write a checkpoint folder atomically.

    Args:
        folder: the new folder; must not exist.
        kind: kind of checkpoint, checked when loading.
        weights: tensors by name, finite.
        document: further data for consumers, ready for JSON, such as ``task`` and ``config``.
        training_state: arrays and JSON values by name, for exact resume.
        episodes: identifiers of the episodes, by split.

    Returns:
        The folder.

    Raises:
        CheckpointError: the folder exists or a weight is not finite.
    """
    if folder.exists():
        raise CheckpointError(f"checkpoint {folder} exists; checkpoints are never overwritten")
    _require_finite(weights, "refusing to save")
    files = {
        DOCUMENT: _json_bytes({"format_version": FORMAT_VERSION, "kind": kind, "provenance": provenance(), **document}),
        WEIGHTS: safetensors.numpy.save(_contiguous(weights)),
    }
    if episodes:
        files[EPISODES] = safetensors.numpy.save(_contiguous(episodes))
    if training_state is not None:
        arrays = {name: value for name, value in training_state.items() if isinstance(value, np.ndarray)}
        files[STATE_VALUES] = _json_bytes({name: v for name, v in training_state.items() if name not in arrays})
        files[STATE_ARRAYS] = safetensors.numpy.save(_contiguous(arrays))
    part = part_path(folder)
    shutil.rmtree(part, ignore_errors=True)
    for name, content in files.items():
        atomic_write_bytes(part / name, content)
    entries = {name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()}
    atomic_write_json(part / MANIFEST, {"files": entries, "sha256": _sha256(_json_bytes(entries))})
    commit(part, folder)
    return folder


def load_checkpoint(folder: Path | str, *kinds: str) -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        folder: the checkpoint, or a run folder, of which the best checkpoint is used, or else the last.
        kinds: the accepted kinds.

    Raises:
        CheckpointError: it is missing, incomplete, damaged (naming the file), of another kind or a newer format.
    """
    folder = resolve_checkpoint(Path(folder))
    entries = _read_manifest(folder)
    document = _parse_json(folder / DOCUMENT, _verified(folder, DOCUMENT, entries))
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{folder} has checkpoint format {version!r}; this version reads {FORMAT_VERSION}")
    if document.get("kind") not in kinds:
        expected = " or ".join(map(repr, kinds))
        raise CheckpointError(f"{folder} is a checkpoint of kind {document.get('kind')!r}, expected {expected}")
    weights = _parse_tensors(folder / WEIGHTS, _verified(folder, WEIGHTS, entries))
    _require_finite(weights, f"{folder / WEIGHTS} is unusable")
    return Checkpoint(weights, document, folder, _identity(entries))


def load_training_state(folder: Path | str) -> dict[str, Any]:
    """Read and verify the training state that was given to ``save_checkpoint``.

    Raises:
        CheckpointError: it is damaged, or the checkpoint was saved without one.
    """
    folder = resolve_checkpoint(Path(folder))
    entries = _read_manifest(folder)
    if STATE_VALUES not in entries or STATE_ARRAYS not in entries:
        raise CheckpointError(f"{folder} has no training state: training cannot resume from it")
    values = _parse_json(folder / STATE_VALUES, _verified(folder, STATE_VALUES, entries))
    return {**values, **_parse_tensors(folder / STATE_ARRAYS, _verified(folder, STATE_ARRAYS, entries))}


def load_episodes(folder: Path | str) -> dict[str, NDArray[Any]]:
    """Read and verify the episodes that were given to ``save_checkpoint``; empty if there were none.

    Raises:
        CheckpointError: they are damaged.
    """
    folder = resolve_checkpoint(Path(folder))
    entries = _read_manifest(folder)
    return _parse_tensors(folder / EPISODES, _verified(folder, EPISODES, entries)) if EPISODES in entries else {}


def resolve_checkpoint(path: Path) -> Path:
    """Find the checkpoint folder for a path: the path itself, or the best, or else the last one of a run folder.

    If the path is neither a run nor a checkpoint, not even a damaged one, it may name a shipped model such as
    ``agents/clean_up``, even if a folder of that name with other contents exists.

    Raises:
        CheckpointError: there is none.
    """
    if path.is_file():
        raise CheckpointError(
            f"{path} is a file; a checkpoint is a folder with {MANIFEST}. Pickled checkpoints are never loaded"
        )
    runs = (path, path / CHECKPOINTS_FOLDER)
    candidates = [path, *(run / link for link in (BEST_LINK, LAST_LINK) for run in runs)]
    for candidate in candidates:
        if (candidate / MANIFEST).is_file():
            return candidate.resolve()
    shipped = shipped_models()
    if str(path) in shipped and not any(os.path.lexists(path / mark) for mark in _MARKS):
        return (shipped_folder("models") / path).resolve()
    raise CheckpointError(
        f"no checkpoint at {path}: neither {MANIFEST} nor a {BEST_LINK} or {LAST_LINK} link in it; "
        f"shipped with the package: {', '.join(shipped) or 'none'}"
    )


def prune_checkpoints(checkpoints: Path, keep: int) -> None:
    """Delete leftovers of killed runs, and all numbered checkpoints but the newest ``keep`` and the linked ones."""
    numbered = sorted((path for path in checkpoints.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    linked = {(checkpoints / link).resolve() for link in (LAST_LINK, BEST_LINK)}
    for path in numbered[: max(len(numbered) - keep, 0)]:
        if path.resolve() not in linked:
            discard_checkpoint(path)
    for path in checkpoints.glob(f"{PART_PREFIX}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def discard_checkpoint(folder: Path) -> None:
    """Delete a checkpoint; if interrupted, it leaves a ``.part-`` folder and no damaged checkpoint."""
    part = part_path(folder)
    shutil.rmtree(part, ignore_errors=True)
    folder.rename(part)
    shutil.rmtree(part)


def _identity(entries: dict[str, dict[str, Any]]) -> str:
    """SHA-256 of the files that inference needs, without the training state."""
    return _sha256("".join(f"{entries[name]['sha256']}  {name}\n" for name in _REQUIRED).encode())


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / MANIFEST
    manifest = read_json(path, CheckpointError, _MAX_MANIFEST_BYTES)
    entries = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(entries, dict) or manifest.get("sha256") != _sha256(_json_bytes(entries)):
        raise CheckpointError(f"{path} is damaged: its contents do not match its own SHA-256")
    if not all(isinstance(entry, dict) and entry.keys() == {"size", "sha256"} for entry in entries.values()):
        raise CheckpointError(f"{path} must give size and sha256 of each file, and nothing else")
    foreign = [name for name in entries if name not in _FILES]
    if foreign:
        raise CheckpointError(f"{path} lists {foreign}, which are no checkpoint files; allowed: {', '.join(_FILES)}")
    missing = [name for name in _REQUIRED if name not in entries]
    if missing:
        raise CheckpointError(f"{path} lacks an entry for {', '.join(missing)}")
    return entries


def _verified(folder: Path, name: str, entries: dict[str, dict[str, Any]]) -> bytes:
    path, entry = folder / name, entries[name]
    try:
        size = path.stat().st_size
        if size != entry["size"]:
            raise CheckpointError(f"{path} has {size} bytes, the manifest says {entry['size']}: truncated or replaced")
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    if _sha256(content) != entry["sha256"]:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the manifest's")
    return content


def _parse_json(path: Path, content: bytes) -> dict[str, Any]:
    if len(content) > _MAX_DOCUMENT_BYTES:
        raise CheckpointError(f"{path} has {len(content)} bytes; more than {_MAX_DOCUMENT_BYTES} are not accepted")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} must hold an object, found {type(document).__name__}")
    return document


def _parse_tensors(path: Path, content: bytes) -> dict[str, NDArray[Any]]:
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def _require_finite(weights: Arrays, message: str) -> None:
    bad = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if bad:
        raise CheckpointError(f"{message}: not finite in {', '.join(bad)}")


def _contiguous(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _json_bytes(document: Any) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

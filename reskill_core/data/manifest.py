"""Index of a data set's folder: its shards, their sizes and hashes.

Shards are self-contained. The index only lists the expected shards and their hashes; it is replaced atomically, and
rebuilt from the shards if it is missing or out of date.
"""

from __future__ import annotations

import logging
import re
from dataclasses import asdict
from pathlib import Path

from reskill_core.data.schema import FORMAT, FORMAT_VERSION, DatasetSpec
from reskill_core.data.shard import ShardEntry
from reskill_core.errors import DataError
from reskill_core.files import PART_PREFIX, atomic_write_json, read_json

MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 256 * 2**20
# Exactly one name per index, so that similar names are not taken for a shard.
_SHARD_NAME = re.compile(r"shard-([0-9]{6}|[1-9][0-9]{6,8})\.h5")
_LOG = logging.getLogger(__name__)


def shard_name(index: int) -> str:
    """Return the file name of shard ``index``."""
    return f"shard-{index:06d}.h5"


def find_shards(folder: Path) -> dict[int, Path]:
    """List the shards of a folder by index, in order.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; a data set is a folder of shards such as {shard_name(0)}")
    found = {int(match[1]): path for path in folder.iterdir() if (match := _SHARD_NAME.fullmatch(path.name))}
    return dict(sorted(found.items()))


def find_parts(folder: Path) -> list[Path]:
    """List unfinished files (shards and index) of a killed writer."""
    names = re.compile(re.escape(PART_PREFIX) + rf"\d+-({_SHARD_NAME.pattern}|{re.escape(MANIFEST)})")
    return sorted(path for path in folder.iterdir() if names.fullmatch(path.name))


def read_manifest(folder: Path) -> dict[int, ShardEntry] | None:
    """Read the expected shards by index; None without a valid manifest."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        document = read_json(path, DataError, _MAX_MANIFEST_BYTES)
        entries = document["shards"].items()
        return {int(_SHARD_NAME.fullmatch(name)[1]): ShardEntry(**entry) for name, entry in entries}  # type: ignore[index]
    except (DataError, KeyError, TypeError, AttributeError) as cause:
        _LOG.warning("%s is not usable and will be made anew from the shards: %s", path, cause)
        return None


def write_manifest(folder: Path, spec: DatasetSpec, entries: dict[int, ShardEntry]) -> None:
    """Replace the index."""
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "num_episodes": sum(entry.num_episodes for entry in entries.values()),
        "num_steps": sum(entry.num_steps for entry in entries.values()),
        "spec": spec.to_dict(),
        "shards": {shard_name(index): asdict(entry) for index, entry in sorted(entries.items())},
    }
    atomic_write_json(folder / MANIFEST, document)

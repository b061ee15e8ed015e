"""Sequential reading of a data set's shards; damaged ones are skipped or refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from reskill_core.data.episode import episode_rows
from reskill_core.data.manifest import find_shards, read_manifest, shard_name
from reskill_core.data.schema import DatasetSpec, require_match
from reskill_core.data.shard import Shard, read_shard
from reskill_core.errors import DataError, require_choice

OnBadShard = Literal["refuse", "skip"]
_LOG = logging.getLogger(__name__)


class ShardReader:
    """Iterator over the intact shards of a folder, in order.

    Attributes:
        folder: the data set.
        skipped: shards and episodes left out so far, with file, episode and reason.
    """

    def __init__(self, folder: Path, on_bad_shard: OnBadShard) -> None:
        """Find the shards.

        Raises:
            DataError: there are none.
        """
        require_choice("value of on_bad_shard", on_bad_shard, ("refuse", "skip"))
        self.folder = folder
        self.skipped: list[str] = []
        self._refuse = on_bad_shard == "refuse"
        # Read before the files are listed, so that a shard added meanwhile does not look missing.
        self._expected = read_manifest(folder) or {}
        self._paths = find_shards(folder)
        if not self._paths:
            raise DataError(f"{folder} has no shards such as {shard_name(0)}; it is not a data set or is still empty")

    def __iter__(self) -> Iterator[tuple[Shard, list[slice]]]:
        """Yield each shard without its simulator states and invalid episodes, with the rows of the remaining ones.

        Raises:
            DataError: a shard or episode is damaged and ``on_bad_shard`` is ``refuse``.
        """
        for index in sorted(self._expected.keys() - self._paths.keys()):
            self._leave_out(f"{self.folder / shard_name(index)} was written but is missing now")
        spec: DatasetSpec | None = None
        for path in self._paths.values():
            try:
                shard = read_shard(path, sim_state=False)
                spec = spec or shard.header.spec
                require_match(spec, shard.header.spec, f"{path} does not match the shards before it")
            except DataError as error:
                self._leave_out(str(error))
                continue
            sound, rows = self._without_faults(shard)
            if rows:
                yield sound, rows

    def _without_faults(self, shard: Shard) -> tuple[Shard, list[slice]]:
        faulty = shard.faults()
        if not faulty:
            return shard, [slice(0, shard.header.num_steps)]
        for episode, faults in faulty.items():
            self._leave_out(f"{shard.path}: episode {episode}: {'; '.join(faults)}")
        kept = [episode for episode in range(len(shard)) if episode not in faulty]
        rows = [episode_rows(shard.arrays, episode) for episode in kept]
        return shard.keep(np.isin(np.arange(len(shard)), kept)), rows

    def _leave_out(self, reason: str) -> None:
        if self._refuse:
            raise DataError(f"{reason}\nRestore it, or leave out what is damaged: on_bad_shard=skip.")
        _LOG.warning("left out: %s", reason)
        self.skipped.append(reason)

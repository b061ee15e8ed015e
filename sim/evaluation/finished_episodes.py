"""Outcomes of an evaluation that is under way, in a file, so that an interrupted one can be continued."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from reskill_core.lineage import Lineage
from reskill_core.provenance import provenance
from reskill_core.results import EpisodeOutcome

FILE = "episodes.partial.jsonl"


class FinishedEpisodes:
    """File with one line per finished episode, deleted when the results are written.

    Outcomes depend only on the lineage, the policy and the seed, so those of an earlier start are used again, and
    lines of other evaluations are ignored. The last line may be torn.

    Args:
        folder: folder of the results.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._found: dict[str, dict[int, EpisodeOutcome]] = defaultdict(dict)
        adapter = TypeAdapter(EpisodeOutcome)
        for line in self._path.read_text(errors="replace").splitlines() if self._path.is_file() else ():
            try:
                document = json.loads(line)
                adapter.validate_python(document["outcome"])
                # Not the validated one, in which truth values have become numbers.
                outcome = EpisodeOutcome(**document["outcome"])
                self._found[str(document["evaluation"])][outcome.seed] = outcome
            except (ValueError, KeyError, TypeError, ValidationError):
                continue

    def of(self, lineage: Lineage, policy: str) -> dict[int, EpisodeOutcome]:
        """Return the outcomes of an evaluation so far, by seed."""
        return dict(self._found[_identity(lineage, policy)])

    def add(self, lineage: Lineage, outcome: EpisodeOutcome) -> None:
        """Append an outcome."""
        line = json.dumps({"evaluation": _identity(lineage, outcome.policy), "outcome": asdict(outcome)})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A torn line of an earlier start is ended first.
        torn = self._path.is_file() and self._path.read_bytes()[-1:] not in (b"", b"\n")
        with self._path.open("a") as file:
            file.write(("\n" if torn else "") + line + "\n")

    def discard(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)


def _identity(lineage: Lineage, policy: str) -> str:
    document: dict[str, Any] = {"lineage": lineage.to_document(), "policy": policy}
    document["code"] = provenance().get("git_commit")
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()

"""Outcome of mutation testing, as a table and as a list of the survivors."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "mutants"
TREE = OUT / "tree"
EQUIVALENT = "test/equivalent_mutants.yaml"


@dataclass(frozen=True)
class Mutant:
    """A mutant: the changed line before and after, and the text of the whole file."""

    file: str
    line: int
    before: str
    after: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """Outcome of a mutant: ``caught``, ``timeout``, ``survived``, or ``untested`` if no test covers its line."""

    mutant: Mutant
    outcome: str
    tests: int
    duration_s: float


def explanations() -> dict[tuple[str, str, str], str]:
    """Return the reasons of equivalent mutants, by file, line before and line after."""
    path = TREE / EQUIVALENT
    entries = yaml.safe_load(path.read_text()) if path.is_file() else []
    return {(entry["file"], entry["before"], entry["after"]): entry["reason"] for entry in entries or ()}


def report(verdicts: Sequence[Verdict], known: dict[tuple[str, str, str], str], population: int, seed: int) -> float:
    """Write and print the table; returns the share of non-equivalent mutants that was caught."""
    rows: dict[str, list[int]] = {}
    survivors: list[tuple[Verdict, str]] = []
    for verdict in verdicts:
        module = verdict.mutant.file
        counts = rows.setdefault(module, [0, 0, 0, 0])
        mutant = verdict.mutant
        reason = known.get((mutant.file, mutant.before, mutant.after), "")
        survived = verdict.outcome in ("survived", "untested")
        counts[0] += 1
        counts[1 if not survived else 2 if reason else 3] += 1
        if survived:
            survivors.append((verdict, reason))
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    share = total[1] / max(total[0] - total[2], 1)
    lines = ["| module | mutants | caught | explained | survived |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(map(str, counts))} |" for name, counts in sorted(rows.items())]
    lines.append(f"| all | {' | '.join(map(str, total))} |")
    lines += ["", f"{total[1] / max(total[0], 1):.1%} of all are caught, {share:.1%} of those without an explanation."]
    text = [f"# {len(verdicts)} of {population} mutants, seed {seed}", "", *lines, "", "## Survivors", ""]
    for verdict, reason in survivors:
        text += [f"- {described(verdict.mutant)} ({verdict.outcome}, {verdict.tests} tests)", ""]
        text += [f"  {reason}", ""] if reason else []
        text += ["  ```diff", *(f"  {line}" for line in diff(verdict.mutant)), "  ```", ""]
    (OUT / "report.md").write_text("\n".join(text))
    print("\n".join(lines))
    print(f"[mutants] {OUT / 'report.md'}")
    return share


def described(mutant: Mutant) -> str:
    """Describe a mutant in one line."""
    return f"{mutant.file}:{mutant.line}: {mutant.before} -> {mutant.after}"


def diff(mutant: Mutant) -> list[str]:
    """Return the diff of a mutant, with one line of context."""
    before = (TREE / mutant.file).read_text().splitlines()
    return list(difflib.unified_diff(before, mutant.text.splitlines(), lineterm="", n=1))[2:]

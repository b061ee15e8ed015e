"""Findings of an examination, and their page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reskill_ros.plumbing.diagnostics import Level


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        section: what was examined.
        level: how bad it is.
        text: what was found.
        remedy: what to do about it; empty if nothing.
    """

    section: str
    level: Level
    text: str
    remedy: str = ""


def page(findings: Sequence[Finding]) -> str:
    """Format findings by section, with a summary."""
    lines = []
    for section in dict.fromkeys(finding.section for finding in findings):
        lines.append(section)
        for finding in [finding for finding in findings if finding.section == section]:
            lines.append(f"  {finding.level.name:5}  {finding.text}")
            lines += [f"         -> {finding.remedy}"] if finding.remedy else []
        lines.append("")
    counts = Counter(finding.level for finding in findings)
    summary = f"{counts[Level.ERROR]} errors, {counts[Level.WARN]} warnings, {counts[Level.OK]} checks passed"
    return "\n".join([*lines, summary])

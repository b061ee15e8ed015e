"""Results of many runs as a table and as learning curves, for a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reskill_core.files import atomic_write_bytes, atomic_write_json
from reskill_core.intervals import Estimate
from reskill_core.lineage import LINEAGE_KEY
from reskill_core.provenance import provenance
from reskill_core.report.figures import plot_learning
from reskill_core.report.runs import AgentRun, Comparison, PolicyOutcomes, Variant

RESULTS_FILE = "results.md"
RESULTS_DATA_FILE = "results.json"
_INTERVALS = (("episode_return", ".2f"), ("success", ".3f"))


def write_results(folder: Path, comparisons: Sequence[Comparison]) -> None:
    """Write ``results.md``, ``results.json`` with each run's lineage, and ``learning_<task>.svg`` per task."""
    atomic_write_bytes(folder / RESULTS_FILE, "\n".join([*results_table(comparisons), ""]).encode())
    atomic_write_json(folder / RESULTS_DATA_FILE, {"results": _rows(comparisons), "provenance": provenance()})
    for comparison in comparisons:
        lines = plot_learning(comparison).splitlines()
        content = "\n".join([*(line.rstrip() for line in lines), ""])
        atomic_write_bytes(folder / f"learning_{comparison.task}.svg", content.encode())


def results_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Format a Markdown table: a row per variant and reference, a column per task.

    An entry is the return and the success rate. For a variant they are means over its seeds, with the 95 % interval
    over seeds, and with the lowest and highest seed in parentheses; for a single seed the interval is over its
    episodes, and labelled so. For a reference they are means over its episodes, with their 95 % interval.
    """
    entries: dict[str, dict[str, str]] = {}
    for comparison in comparisons:
        for variant in comparison.variants:
            entries.setdefault(variant.title, {})[comparison.task] = _of_variant(variant)
        for reference in comparison.references:
            entries.setdefault(f"*{reference.policy}*", {})[comparison.task] = _of_reference(reference)
    # References after all variants, including variants that only a later task has.
    names = sorted(entries, key=lambda name: name.startswith("*"))
    tasks = [comparison.task for comparison in comparisons]
    return [
        f"| | {' | '.join(tasks)} |",
        "|---" * (1 + len(tasks)) + "|",
        *(f"| {name} | {' | '.join(entries[name].get(task, '') for task in tasks)} |" for name in names),
    ]


def _rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Data of the table: a row per run and reference."""
    rows: list[dict[str, Any]] = []
    for comparison in comparisons:
        for variant in comparison.variants:
            for run in variant.runs:
                row = {"task": comparison.task, "variant": variant.name, "seed": run.config.seed}
                rows.append(row | _measured(run) | {LINEAGE_KEY: run.lineage.to_document()})
        for one in comparison.references:
            acting = {"checkpoint": one.checkpoint} if one.checkpoint else {}
            row = {"task": comparison.task, "reference": one.policy, **acting}
            rows.append(row | _measured(one) | {LINEAGE_KEY: one.world.to_document()})
    return rows


def _measured(one: AgentRun | PolicyOutcomes) -> dict[str, Any]:
    success, returned = one.success, one.episode_return
    return {
        "folder": str(one.folder),
        "success": success.mean if isinstance(success, Estimate) else success,
        "episode_return": returned.mean if isinstance(returned, Estimate) else returned,
        "measured": one.measured,
    }


def _of_variant(variant: Variant) -> str:
    returns = [run.episode_return for run in variant.runs]
    seeds = f" ({min(returns):.2f}, {max(returns):.2f})" if len(returns) > 1 else ""
    # If a seed was not evaluated, only its return during training is known.
    found, success = ((f" {variant.interval(*how)}" if variant.evaluated else "") for how in _INTERVALS)
    return f"{variant.episode_return:.2f}{found}{seeds}, {variant.success:.3f}{success}"


def _of_reference(reference: PolicyOutcomes) -> str:
    found = reference.episode_return
    return f"{found.text('.2f')}, {reference.success.mean:.3f}"

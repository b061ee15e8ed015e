"""Results of many runs as a table and as learning curves, for a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reskill_core.files import atomic_write_bytes
from reskill_core.report.figures import plot_learning
from reskill_core.report.runs import Comparison, PolicyOutcomes, Variant

RESULTS_FILE = "results.md"


def write_results(folder: Path, comparisons: Sequence[Comparison]) -> None:
    """Write ``results.md`` and a ``learning_<task>.svg`` for each task."""
    atomic_write_bytes(folder / RESULTS_FILE, "\n".join([*results_table(comparisons), ""]).encode())
    for comparison in comparisons:
        lines = plot_learning(comparison).splitlines()
        content = "\n".join([*(line.rstrip() for line in lines), ""])
        atomic_write_bytes(folder / f"learning_{comparison.task}.svg", content.encode())


def results_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Lines of a Markdown table: a row for each variant and reference, a column for each task.

    An entry is the return and the share of success. Of a variant that is the mean over its seeds, with the lowest and
    the highest of them in parentheses; of a reference it is that of its episodes, with a 95 % interval.
    """
    entries: dict[str, dict[str, str]] = {}
    for comparison in comparisons:
        for variant in comparison.variants:
            entries.setdefault(variant.name, {})[comparison.task] = _of_variant(variant)
        for reference in comparison.references:
            entries.setdefault(f"*{reference.policy}*", {})[comparison.task] = _of_reference(reference)
    # References behind all variants, also behind those that only a later task has.
    names = sorted(entries, key=lambda name: name.startswith("*"))
    tasks = [comparison.task for comparison in comparisons]
    return [
        f"| | {' | '.join(tasks)} |",
        "|---" * (1 + len(tasks)) + "|",
        *(f"| {name} | {' | '.join(entries[name].get(task, '') for task in tasks)} |" for name in names),
    ]


def _of_variant(variant: Variant) -> str:
    returns = [run.episode_return for run in variant.runs]
    seeds = f" ({min(returns):.1f}, {max(returns):.1f})" if len(returns) > 1 else ""
    return f"{variant.episode_return:.1f}{seeds}, {variant.success:.3f}"


def _of_reference(reference: PolicyOutcomes) -> str:
    found = reference.episode_return
    return f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}], {reference.success.mean:.3f}"

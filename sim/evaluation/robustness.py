"""Robustness of a policy to changes of the simulated world, in one parameter at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, require_choice
from reskill_core.provenance import provenance
from reskill_core.results import ROBUSTNESS_PLOT, RobustnessResults, SweepFigures, SweepPoint, write_robustness
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.evaluation.finished_episodes import FinishedEpisodes
from reskill_sim.evaluation.plots import plot_sweeps
from reskill_sim.evaluation.policies import (
    PolicyEvaluation,
    PolicyEvaluationConfig,
    checkpoint_names,
    evaluate_runs,
    with_checkpoints,
)
from reskill_sim.evaluation.worlds import settings_for
from reskill_sim.families import get_task


@dataclass(frozen=True)
class Sweep:
    """Values of one parameter, each for all episodes, while the other parameters are nominal.

    Attributes:
        name: name of the parameter, a range of :class:`~reskill_sim.engine.variation.Variation`.
        unit: unit of its values.
        values: values in ascending order.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    def variations(self) -> list[Variation]:
        """Return one variation per value.

        Raises:
            ConfigError: a value is out of range.
        """
        return [
            config_from_dict(Variation, {self.name: (value, value)}, source=f"sweep {self.name}={value:g}")
            for value in self.values
        ]


_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)

SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep("friction", "factor", _FACTORS),
        Sweep("mass", "factor", _FACTORS),
        # At 1.3 the gripper cannot grasp the block any more, at 0.7 demonstrators often miss it.
        Sweep("size", "factor", (0.8, 0.9, 1.0, 1.1, 1.2)),
        Sweep("action_delay", "control steps", (0, 1, 2, 3)),
        Sweep("perception_delay", "control steps", (0, 1, 2, 3)),
        Sweep("perception_noise", "m", (0.0, 0.0025, 0.005, 0.0075, 0.01)),
        Sweep("speed", "factor", (0.25, 0.5, 0.75, 1.0)),
    )
}


def parse_sweeps(entries: Sequence[str]) -> tuple[Sweep, ...]:
    """Parse sweeps from ``name`` and ``name=value,value,…`` entries; without entries, all of ``SWEEPS``.

    Raises:
        ConfigError: an entry is malformed, unknown or out of range.
    """
    sweeps = {entry.partition("=")[0]: _parse_sweep(entry) for entry in entries}
    return tuple((sweeps or SWEEPS).values())


def _parse_sweep(entry: str) -> Sweep:
    name, separator, text = entry.partition("=")
    require_choice("sweep", name, tuple(SWEEPS))
    if not separator:
        return SWEEPS[name]
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise ConfigError(f"sweep {entry!r} is not of the form name or name=value,value,…") from None
    sweep = replace(SWEEPS[name], values=tuple(values))
    # Converted by the variation: delays are integers.
    return replace(sweep, values=tuple(getattr(variation, name)[0] for variation in sweep.variations()))


@dataclass(frozen=True)
class Robustness:
    """Evaluations of one policy over one sweep.

    Attributes:
        sweep: the sweep.
        evaluations: one evaluation per value.
    """

    sweep: Sweep
    evaluations: tuple[PolicyEvaluation, ...]

    @property
    def points(self) -> list[tuple[float, PolicyEvaluation]]:
        """Values with their evaluations."""
        return list(zip(self.sweep.values, self.evaluations, strict=True))

    @property
    def figures(self) -> SweepFigures:
        """Figures with their intervals."""
        points = [
            SweepPoint(value, done.success, done.episode_return, done.num_diverged) for value, done in self.points
        ]
        return SweepFigures(self.sweep.name, self.sweep.unit, tuple(points))


def evaluate_robustness(
    config: PolicyEvaluationConfig, sweeps: Sequence[Sweep] = tuple(SWEEPS.values()), show_progress: bool = True
) -> list[Robustness]:
    """Evaluate one policy on one task over sweeps, and write ``robustness.json`` and ``robustness.png`` to ``out``.

    Every point has the same seeds. Variations that several sweeps share, such as the nominal one, are simulated once.

    Raises:
        ConfigError: there are several policies, tasks or checkpoints, the configuration has a variation, or as for
            :func:`~reskill_sim.evaluation.policies.evaluate_policies`.
        CheckpointError: the checkpoint cannot be read.
    """
    config, checkpoints = with_checkpoints(config)
    _require_one(config)
    task, policy = config.tasks[0], config.policies[0]
    worlds = list(dict.fromkeys(variation for sweep in sweeps for variation in sweep.variations()))
    settings = settings_for(task, checkpoints, config.task_settings)
    runs = [(get_task(task, variation, settings), policy) for variation in worlds]
    finished = FinishedEpisodes(Path(config.out))
    done = dict(zip(worlds, evaluate_runs(runs, config, checkpoints, show_progress, finished), strict=True))
    results = [Robustness(sweep, tuple(done[variation] for variation in sweep.variations())) for sweep in sweeps]
    figures = RobustnessResults(
        tuple(result.figures for result in results),
        task,
        policy,
        config.episodes,
        config.profile,
        checkpoint_names(config, checkpoints),
        # Without the variation, which is swept.
        replace(next(iter(done.values())).lineage, variation=None).to_document(),
        provenance(),
    )
    write_robustness(Path(config.out), figures)
    finished.discard()
    plot_sweeps(Path(config.out) / ROBUSTNESS_PLOT, f"{policy} on {task}, {config.episodes} episodes a point", results)
    return results


def _require_one(config: PolicyEvaluationConfig) -> None:
    given = {"policy": config.policies, "task": config.tasks, "checkpoint": config.checkpoints}
    faults = [f"one {what} at a time, got {', '.join(names)}" for what, names in given.items() if len(names) > 1]
    if config.variation != NOMINAL:
        faults.append("a world that does not vary otherwise; give the values to sweep instead, as in friction=0.5,1,2")
    if faults:
        raise ConfigError("a sweep takes " + "; and ".join(faults))


def table(results: Sequence[Robustness]) -> list[str]:
    """Format a Markdown table of success at the end and return, with 95 % intervals."""
    lines = ["| variation | value | success | return | diverged |", "|---|---|---|---|---|"]
    for result in results:
        name = f"{result.sweep.name} [{result.sweep.unit}]"
        lines += [f"| {name} | {value:g} | {' | '.join(done.cells())} |" for value, done in result.points]
    return lines

"""Robustness of a policy to changes of the simulated world, in one parameter at a time or in several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.data.world import deviations
from reskill_core.errors import ConfigError, require_choice
from reskill_core.provenance import provenance
from reskill_core.results import (
    ROBUSTNESS_PLOT,
    CombinationFigures,
    RobustnessResults,
    SweepFigures,
    SweepPoint,
    write_robustness,
)
from reskill_sim.engine.variation import NOMINAL, Variation, parse_variation
from reskill_sim.evaluation.finished_episodes import FinishedEpisodes
from reskill_sim.evaluation.plots import plot_robustness
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


@dataclass(frozen=True)
class Combination:
    """Several parameters changed together, for all episodes, while the other parameters are nominal.

    Attributes:
        name: the changes, as in ``action_delay=2+speed=0.6``.
        variation: the same as a variation.
    """

    name: str
    variation: Variation

    @classmethod
    def parse(cls, text: str) -> Combination:
        """Parse a combination from its name; see :func:`~reskill_sim.engine.variation.parse_variation`.

        Raises:
            ConfigError: a change is malformed, unknown, out of range or given twice.
        """
        entries = text.split("+")
        names = [entry.partition("=")[0] for entry in entries]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ConfigError(f"combination {text!r} gives {', '.join(twice)} more than once")
        return cls(text, parse_variation(entries))

    def variations(self) -> list[Variation]:
        """Return the one variation, as of a sweep."""
        return [self.variation]


Change = Sweep | Combination

_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)

SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep("friction", "factor", _FACTORS),
        Sweep("mass", "factor", _FACTORS),
        # At 1.3 the gripper cannot grasp the block any more, at 0.7 demonstrators often miss it.
        Sweep("size", "factor", (0.8, 0.9, 1.0, 1.1, 1.2)),
        Sweep("action_delay", "control steps", (0, 1, 2, 3)),
        Sweep("lateness", "control steps", (0.0, 0.25, 0.5, 0.75)),
        Sweep("perception_delay", "control steps", (0, 1, 2, 3)),
        Sweep("perception_noise", "m", (0.0, 0.0025, 0.005, 0.0075, 0.01)),
        Sweep("perception_bias", "m", (0.0, 0.005, 0.01, 0.015)),
        Sweep("speed", "factor", (0.25, 0.5, 0.75, 1.0)),
        Sweep("speed_limit", "share of full speed", (0.1, 0.2, 0.4, 1.0)),
        Sweep("lag", "s", (0.0, 0.04, 0.08, 0.12)),
        Sweep("overshoot", "share", (0.0, 0.2, 0.4)),
        Sweep("unsteadiness", "share", (0.0, 0.2, 0.4)),
        Sweep("force_limit", "N", (30.0, 60.0, 120.0, 200.0)),
        Sweep("finger_start", "m", (0.0, 0.025, 0.05)),
    )
}


# Name that stands for all of ``COMBINATIONS``.
COMBINED = "combinations"
COMBINATIONS = tuple(
    map(
        Combination.parse,
        (
            "action_delay=1+perception_delay=1",
            "action_delay=2+perception_noise=0.005",
            "action_delay=1+speed=0.6",
            "perception_delay=2+friction=0.7+mass=1.4",
            "perception_delay=2+perception_noise=0.005+speed=0.6",
            "action_delay=2+perception_noise=0.005+speed=0.6",
            "action_delay=1+perception_delay=1+speed=0.6+lag=0.06",
            "perception_delay=2+size=1.1+mass=1.4",
            "action_delay=2+size=0.9+friction=0.7",
        ),
    )
)


def parse_sweeps(entries: Sequence[str]) -> tuple[Change, ...]:
    """Parse sweeps and combinations; without entries, all of ``SWEEPS``.

    Args:
        entries: each ``name`` or ``name=value,value,…`` for a sweep, ``name=value+name=value+…`` for a combination, or
            ``combinations`` for the usual ones.

    Raises:
        ConfigError: an entry is malformed, unknown or out of range.
    """
    changes: dict[str, Change] = {}
    for entry in entries:
        if entry == COMBINED:
            changes |= {combination.name: combination for combination in COMBINATIONS}
        elif "+" in entry:
            changes[entry] = Combination.parse(entry)
        else:
            changes[entry.partition("=")[0]] = _parse_sweep(entry)
    return tuple((changes or SWEEPS).values())


def _parse_sweep(entry: str) -> Sweep:
    name, separator, text = entry.partition("=")
    require_choice("sweep", name, (*SWEEPS, COMBINED))
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
    """Evaluations of one policy over one sweep, or in one combination.

    Attributes:
        change: the sweep or combination.
        evaluations: one evaluation per value of a sweep; one of a combination.
    """

    change: Change
    evaluations: tuple[PolicyEvaluation, ...]


def evaluate_robustness(
    config: PolicyEvaluationConfig, changes: Sequence[Change] = tuple(SWEEPS.values()), show_progress: bool = True
) -> list[Robustness]:
    """Evaluate one policy on one task over sweeps and in combinations of changes.

    It writes ``robustness.json`` and ``robustness.png`` to ``out``. Every point has the same seeds. Variations that
    several sweeps share, such as the nominal one, are simulated once.

    Raises:
        ConfigError: there are several policies, tasks or checkpoints, the configuration has a variation, or as for
            :func:`~reskill_sim.evaluation.policies.evaluate_policies`.
        CheckpointError: the checkpoint cannot be read.
    """
    config, checkpoints = with_checkpoints(config)
    _require_one(config)
    task, policy = config.tasks[0], config.policies[0]
    worlds = list(dict.fromkeys(variation for change in changes for variation in change.variations()))
    settings = settings_for(task, checkpoints, config.task_settings)
    runs = [(get_task(task, variation, settings), policy) for variation in worlds]
    finished = FinishedEpisodes(Path(config.out))
    done = dict(zip(worlds, evaluate_runs(runs, config, checkpoints, show_progress, finished), strict=True))
    results = [Robustness(change, tuple(done[variation] for variation in change.variations())) for change in changes]
    title = f"{policy} on {task}, {config.episodes} episodes a point"
    figures = RobustnessResults(
        tuple(_swept(result.change, result.evaluations) for result in results if isinstance(result.change, Sweep)),
        task,
        policy,
        config.episodes,
        config.profile,
        checkpoint_names(config, checkpoints),
        # Without the variation, which is swept.
        replace(next(iter(done.values())).lineage, variation=None).to_document(),
        provenance(),
        tuple(
            _combined(result.change, *result.evaluations)
            for result in results
            if isinstance(result.change, Combination)
        ),
    )
    write_robustness(Path(config.out), figures)
    finished.discard()
    plot_robustness(Path(config.out) / ROBUSTNESS_PLOT, title, figures.sweeps, figures.combinations)
    return results


def _swept(sweep: Sweep, evaluations: Sequence[PolicyEvaluation]) -> SweepFigures:
    points = [
        SweepPoint(value, done.success, done.episode_return, done.num_diverged)
        for value, done in zip(sweep.values, evaluations, strict=True)
    ]
    return SweepFigures(sweep.name, sweep.unit, tuple(points))


def _combined(combination: Combination, done: PolicyEvaluation) -> CombinationFigures:
    variation = deviations(config_to_dict(combination.variation)) or {}
    return CombinationFigures(combination.name, variation, done.success, done.episode_return, done.num_diverged)


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
        change = result.change
        if isinstance(change, Combination):
            rows = [("combination", ", ".join(change.name.split("+")))]
        else:
            rows = [(f"{change.name} [{change.unit}]", f"{value:g}") for value in change.values]
        for row, done in zip(rows, result.evaluations, strict=True):
            lines.append(f"| {' | '.join((*row, *done.cells()))} |")
    return lines

"""Evaluation of a skill module: reconstruction, rollouts of the prior, likelihoods, as table, files and plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.config import config_to_dict
from reskill_core.data import DemoDataset, Episode
from reskill_core.errors import DataError
from reskill_core.files import atomic_write_json, atomic_write_jsonl, sha256_of
from reskill_core.intervals import Estimate, estimates, rate
from reskill_core.lineage import LINEAGE_KEY, Lineage
from reskill_core.parameters import parameter
from reskill_core.progress import progress_bar
from reskill_core.provenance import provenance
from reskill_core.results import EPISODES_FILE, EPISODES_KEY, PATHS_PLOT, ROLLOUTS_PLOT, SKILLS_FILE
from reskill_core.runtime import SkillModule
from reskill_core.training.split import HeldOut, held_out_episodes
from reskill_sim.engine.variation import Variation
from reskill_sim.evaluation.acting_lineage import acting_lineage
from reskill_sim.evaluation.plots import plot_paths, plot_rollouts
from reskill_sim.evaluation.reconstruction import ReconstructionOutcome, reconstruct
from reskill_sim.evaluation.rollouts import RolloutOutcome, paths_from_one_state, policy_of, rollout_outcomes
from reskill_sim.evaluation.spread import Spread
from reskill_sim.evaluation.windows import SAMPLES, best_of_samples, window_likelihood
from reskill_sim.evaluation.worlds import learnt_world, task_in, task_of

SOURCES = ("prior", "standard_normal", "uniform")
_PATHS = 48


@dataclass(frozen=True)
class SkillEvaluationConfig:
    """Configuration of an evaluation of a skill module.

    Attributes:
        skills: run folder or checkpoint.
        data: folder of a data set, for its held-out episodes; if empty, measurements that need them are omitted.
        out: folder for the results.
        episodes: number of episodes per measurement.
        profile: fidelity profile of the rollouts; if empty, that of the training data.
        variation: variation of the rollouts; if None, that of the training data.
        task_settings: settings of the task that differ from those of the training data.
        threads: number of simulation threads.
    """

    skills: str
    data: str = ""
    out: str = "runs/evaluation"
    episodes: int = parameter(250, low=1, high=10**6)
    profile: str = ""
    variation: Variation | None = None
    task_settings: dict[str, Any] = field(default_factory=dict)
    threads: int = parameter(2, low=0, high=256)


@dataclass(frozen=True)
class SkillEvaluation:
    """Results of the evaluation of a skill module.

    Attributes:
        task: name of the task.
        rollouts: outcomes of rollouts, by source of the skills.
        reconstructions: outcomes of reconstructed held-out demonstrations; empty without data.
        likelihood: action error and likelihoods on held-out windows; empty without data.
        best_of_samples: squared action error of the best of 100 sampled skills on held-out windows, by source of the
            skills; empty without data.
        spread: how widely the rollouts of each source spread, see :class:`~reskill_sim.evaluation.spread.Spread`.
        held_out: a sentence on the held-out episodes; empty without data.
        titles: titles of metrics in a table, by name; by default their names.
        worlds: simulation settings of rollouts and reconstructed demonstrations, for messages.
    """

    task: str
    rollouts: dict[str, list[RolloutOutcome]]
    reconstructions: list[ReconstructionOutcome] = field(default_factory=list)
    likelihood: dict[str, float] = field(default_factory=dict)
    held_out: str = ""
    worlds: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    best_of_samples: Mapping[str, Estimate] = field(default_factory=dict)
    spread: Mapping[str, Estimate] = field(default_factory=dict)

    def measures(self) -> dict[str, dict[str, Estimate]]:
        """Return means of all measures of the rollouts, by source: rates first."""
        found = {}
        for source, outcomes in self.rollouts.items():
            judged = [{**o.metrics, "success": o.success, "return": o.episode_return} for o in outcomes]
            found[source] = estimates(judged)
            if source in self.spread:
                found[source]["spread"] = self.spread[source]
        return found

    def summary(self) -> dict[str, Any]:
        """Return means with intervals, ready for JSON."""
        found: dict[str, Any] = {"task": self.task, "held_out": self.held_out, "likelihood": self.likelihood}
        found |= {"worlds": dict(self.worlds), "rollouts": {}, "reconstruction": {}}
        for source, measures in self.measures().items():
            found["rollouts"][source] = {name: asdict(estimate) for name, estimate in measures.items()}
        found["best_of_samples"] = {source: asdict(estimate) for source, estimate in self.best_of_samples.items()}
        done_again = {
            "demonstrated": [dict(o.demonstrated) for o in self.reconstructions],
            "reconstructed": [dict(o.metrics) for o in self.reconstructions],
            "prolonged": [dict(o.prolonged) for o in self.reconstructions],
        }
        found["metrics_of_reconstruction"] = {
            name: {metric: asdict(estimate) for metric, estimate in estimates(rows).items()}
            for name, rows in done_again.items()
            if any(rows)
        }
        for source in ("all", *sorted({outcome.source for outcome in self.reconstructions})):
            mine = [o.reconstructed for o in self.reconstructions if source in ("all", o.source)]
            if mine:
                found["reconstruction"][source] = asdict(rate(mine))
        return found

    def table(self) -> list[str]:
        """Format the results for the terminal."""
        summary = self.summary()
        names = next(iter(summary["rollouts"].values()))
        heads = "  ".join(f"{self.titles.get(name, name):20}" for name in names)
        lines = [f"{'rollouts of':20}{heads}".rstrip()]
        for source, measures in summary["rollouts"].items():
            lines.append(f"  {source:16}" + "  ".join(f"{_interval(value):20}" for value in measures.values()))
        lines += [f"world of the {what}: {world}" for what, world in self.worlds.items()]
        if self.held_out:
            lines.append(f"held out: {self.held_out}")
        if summary["reconstruction"]:
            lines.append("reconstruction in the simulator, result within 3 cm of the demonstration's")
            lines += [f"  {source:16}{_interval(value)}" for source, value in summary["reconstruction"].items()]
        for metric in summary["metrics_of_reconstruction"].get("reconstructed", {}):
            told = {name: of[metric] for name, of in summary["metrics_of_reconstruction"].items()}
            title = self.titles.get(metric, metric)
            lines.append(f"  {title:16}" + ", ".join(f"{_interval(value)} {name}" for name, value in told.items()))
        if self.likelihood:
            lines.append("held-out windows")
            lines += [f"  {name:16}{value:.4f}" for name, value in self.likelihood.items()]
        if self.best_of_samples:
            lines.append(f"squared action error of the best of {SAMPLES} sampled skills")
            lines += [f"  {source:16}{value.text('.4f')}" for source, value in self.best_of_samples.items()]
        return lines


def _interval(value: Mapping[str, Any]) -> str:
    if value["low"] is None:
        return f"{value['mean']:.3f}"
    return f"{value['mean']:.3f} [{value['low']:.3f},{value['high']:.3f}]"


def evaluate_skills(config: SkillEvaluationConfig, show_progress: bool = True) -> SkillEvaluation:
    """Evaluate a skill module, and write ``evaluation.json``, ``episodes.jsonl`` and plots to ``out``.

    Demonstrations are reconstructed with their own simulation settings.

    Raises:
        CheckpointError: the skill module cannot be read, or the data is of another task.
        ConfigError: the training data has several worlds, and profile and variation are not both given.
        DataError: the data cannot be read, the module was trained on all of it, its training episodes are unknown, or
            this simulator does not have the settings of the data.
    """
    module = SkillModule.load(config.skills)
    world = learnt_world(module.checkpoint, config.profile, config.variation, config.task_settings)
    task = task_in(world, module.task_spec.name, f"what {config.skills} learnt from")
    config = replace(config, profile=world.profile, variation=task.variation, task_settings=dict(task.spec.settings))
    module.checkpoint.require_task(task.spec)
    # Before simulating, so that errors of the data are raised immediately.
    held_out = _held_out(config.data, module) if config.data else None
    out = Path(config.out)
    rollouts, spread = {}, Spread()
    with progress_bar(shown=show_progress, total=len(SOURCES) * config.episodes, unit="episodes") as progress:

        def seen(source: str, episode: Episode) -> None:
            spread.add(source, episode)
            progress.update()

        for source in SOURCES:
            rollouts[source] = rollout_outcomes(
                task,
                partial(policy_of, source, module),
                config.episodes,
                config.threads,
                config.profile,
                partial(seen, source),
            )
    found = _with_data(config, module, *held_out) if held_out else {}
    data = held_out[0].content_hash() if held_out else None
    worlds = {"rollouts": world.describe(), **found.pop("worlds", {})}
    titles = task.family.metric_titles
    evaluation = SkillEvaluation(
        task.spec.name, rollouts, worlds=worlds, titles=titles, spread=spread.estimates(), **found
    )
    plot_rollouts(out / ROLLOUTS_PLOT, evaluation.measures(), evaluation.best_of_samples, titles)
    if task.path_term is not None:
        paths = {
            source: paths_from_one_state(task, policy_of(source, module, _PATHS), _PATHS, config.profile)
            for source in SOURCES
        }
        plot_paths(out / PATHS_PLOT, task, paths)
    split = Lineage.of(module.checkpoint.document).split
    lineage = replace(acting_lineage(task, config.profile, module.checkpoint), data=data, split=split)
    _write(out, config, evaluation, lineage)
    return evaluation


def _held_out(data: str, module: SkillModule) -> tuple[DemoDataset, HeldOut]:
    """The data set, and its held-out episodes that are long enough for a skill.

    Raises:
        CheckpointError: the data is of another task.
        DataError: there are none, or this simulator does not have their settings.
    """
    dataset = DemoDataset.open(data)
    module.checkpoint.require_task(dataset.spec.task)
    held_out = held_out_episodes(module.checkpoint, dataset)
    long_enough = held_out.episodes[dataset.episode_lengths[held_out.episodes] >= module.horizon]
    if not len(long_enough):
        raise DataError(f"{data} holds out no episode of at least {module.horizon} steps")
    for number in np.unique(dataset.world_number[long_enough]):
        task_of(dataset, dataset.worlds[number])
    return dataset, replace(held_out, episodes=long_enough)


def _with_data(
    config: SkillEvaluationConfig, module: SkillModule, dataset: DemoDataset, held_out: HeldOut
) -> dict[str, Any]:
    """Results on held-out episodes, as fields of :class:`SkillEvaluation`."""
    chosen = held_out.episodes[: config.episodes]
    outcomes: list[ReconstructionOutcome] = []
    worlds = []
    for number in np.unique(dataset.world_number[chosen]):
        world = dataset.worlds[number]
        task = task_of(dataset, world)
        demonstrations = [dataset.episode(int(index)) for index in chosen[dataset.world_number[chosen] == number]]
        outcomes += reconstruct(task, module, demonstrations, config.threads, world.profile)
        worlds.append(f"{len(demonstrations)} in {world.describe()}")
    return {
        "reconstructions": outcomes,
        "likelihood": window_likelihood(module, dataset, held_out.episodes),
        "best_of_samples": best_of_samples(module, dataset, held_out.episodes),
        "held_out": held_out.note,
        "worlds": {"demonstrations": "; ".join(worlds)},
    }


def _write(out: Path, config: SkillEvaluationConfig, evaluation: SkillEvaluation, lineage: Lineage) -> None:
    rows = [
        {
            "diagnostic": "rollout",
            "skills": source,
            "seed": outcome.seed,
            **outcome.metrics,
            "success": outcome.success,
            "return": outcome.episode_return,
        }
        for source, outcomes in evaluation.rollouts.items()
        for outcome in outcomes
    ]
    rows += [{"diagnostic": "reconstruction", **asdict(outcome)} for outcome in evaluation.reconstructions]
    atomic_write_jsonl(out / EPISODES_FILE, rows)
    document = {
        "config": config_to_dict(config),
        LINEAGE_KEY: lineage.to_document(),
        **evaluation.summary(),
        EPISODES_KEY: sha256_of(out / EPISODES_FILE),
        "provenance": provenance(),
    }
    atomic_write_json(out / SKILLS_FILE, document)

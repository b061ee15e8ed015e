"""HTML page of a report, as one self-contained file."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reskill_core.checkpoint import Checkpoint, load_checkpoint
from reskill_core.config import config_to_dict
from reskill_core.files import atomic_write_bytes
from reskill_core.intervals import Estimate
from reskill_core.provenance import provenance
from reskill_core.report.figures import SkillChoices, plot_choices, plot_learning, plot_robustness
from reskill_core.report.runs import AgentRun, Comparison, Variant
from reskill_core.results import CombinationFigures
from reskill_core.runtime.agent import AGENT_KIND, SKILLS_KEY
from reskill_core.training.run_folder import EVALUATION_FOLDER

TEMPLATE = "page.html.jinja"
# Entries of a skill module's document on its training, if present.
_SKILL_KEYS = ("training", "data", "validation", "provenance")


@dataclass(frozen=True)
class Video:
    """Video of an episode.

    Attributes:
        title: what the episode is an example of.
        seed: seed of the episode.
        episode_return: its return.
        mp4: contents of the video file.
    """

    title: str
    seed: int
    episode_return: float
    mp4: bytes


@dataclass(frozen=True)
class Showcase:
    """Figures and videos of one run that require the simulator."""

    run: AgentRun
    choices: SkillChoices | None
    videos: tuple[Video, ...]


def write_page(out: Path, comparisons: Sequence[Comparison], showcases: Mapping[str, Showcase]) -> None:
    """Write the page atomically.

    Args:
        out: the HTML file.
        comparisons: one per task.
        showcases: showcases by task; a task without one lacks these figures.

    Raises:
        CheckpointError: a run has no checkpoint, or a damaged one.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(data_uri=_data_uri, span=_span, interval=_interval, yaml=_yaml)
    sections = [_section(comparison, showcases.get(comparison.task)) for comparison in comparisons]
    page = environment.get_template(TEMPLATE).render(sections=sections, provenance=provenance())
    atomic_write_bytes(out, page.encode())


def reproduction(variant: Variant, config_file: str) -> list[str]:
    """Return the commands that reproduce a variant's runs from the first one's configuration, and evaluate them."""
    first = config_to_dict(variant.runs[0].config)
    commands = []
    for run in variant.runs:
        changes = list(_overrides(first, config_to_dict(run.config)))
        commands.append(shlex.join(["reskill", run.config.PROGRAM, config_file, *changes]))
        if run.outcomes:
            out = run.config.out
            measured = ["--episodes", str(len(run.outcomes.episodes)), "--profile", run.outcomes.profile]
            place = ["--out", f"{out}/{EVALUATION_FOLDER}"]
            commands.append(shlex.join(["reskill", "evaluate", out, "--policy", "agent", *measured, *place]))
    return commands


def _section(comparison: Comparison, showcase: Showcase | None) -> dict[str, Any]:
    """Template variables of a task."""
    checkpoints = [load_checkpoint(variant.best.folder, AGENT_KIND) for variant in comparison.variants]
    return {
        "comparison": comparison,
        "spec": checkpoints[0].task,
        "learning": plot_learning(comparison),
        "robustness": plot_robustness(comparison.variants),
        "combinations": _combinations(comparison),
        "showcase": showcase,
        "choices": plot_choices(showcase.choices) if showcase and showcase.choices else None,
        "origins": [_origin(*each) for each in zip(comparison.variants, checkpoints, strict=True)],
    }


def _combinations(comparison: Comparison) -> dict[str, dict[str, CombinationFigures]]:
    """Figures of runs in each combination of changes, by its name and the label of the run."""
    figures: dict[str, dict[str, CombinationFigures]] = {}
    for run in (run for variant in comparison.variants for run in variant.runs):
        for combination in run.robustness.combinations if run.robustness else ():
            figures.setdefault(combination.name, {})[run.label] = combination
    return figures


def _origin(variant: Variant, checkpoint: Checkpoint) -> dict[str, Any]:
    """Origin of a variant: commands, and documents by title."""
    config_file = f"{variant.task}-{variant.name}.yaml".replace(" ", "_")
    first, skills = variant.runs[0], checkpoint.document.get(SKILLS_KEY, {})
    config = first.config
    documents = {
        f"{config_file}: configuration": config_to_dict(config),
        f"skills: {config.skills_source}": {key: skills[key] for key in _SKILL_KEYS if key in skills},
        "made from": variant.best.lineage.to_document(),
        "versions it was trained with": checkpoint.document["provenance"],
    }
    if first.outcomes:
        documents["world it was evaluated in"] = first.outcomes.world.to_document()
    return {"name": variant.name, "commands": reproduction(variant, config_file), "documents": documents}


def _overrides(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """``key.subkey=value`` for each value of a configuration that differs."""
    for key, value in now.items():
        if isinstance(value, dict):
            yield from _overrides(before[key], value, f"{path}{key}.")
        elif value != before[key]:
            yield f"{path}{key}={value if isinstance(value, str) else json.dumps(value)}"


def _data_uri(content: bytes | str, media_type: str) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return f"data:{media_type};base64,{base64.b64encode(raw).decode()}"


def _span(values: Sequence[float], form: str) -> str:
    """Lowest and highest value, or the single value if they are equal."""
    return " – ".join(dict.fromkeys(format(value, form) for value in (min(values), max(values))))


def _interval(estimate: Estimate, form: str) -> str:
    return estimate.interval(form)


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)

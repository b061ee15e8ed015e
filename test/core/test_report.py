"""Reports: what runs left on disk becomes the right figures, and the page needs nothing beside it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skill_fixtures import TASK

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.config import save_config
from reskill_core.errors import ConfigError, DataError
from reskill_core.files import append_jsonl, atomic_write_json
from reskill_core.intervals import mean_over_seeds, rate, rate_over_seeds
from reskill_core.report import (
    Showcase,
    SkillChoices,
    Video,
    compare,
    pick_episodes,
    read_outcomes,
    read_run,
    write_page,
    write_results,
)
from reskill_core.report.figures import principal_plane
from reskill_core.report.page import reproduction
from reskill_core.report.results import results_table
from reskill_core.report.runs import seed_band
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.runtime.agent import AGENT_KIND, SKILLS_KEY
from reskill_sim.cli.main import main

NOMINAL = {"friction": [1.0, 1.0]}
# Of the two seeds of a variant below.
SUCCESSES = ([True] * 4, [False, True])


def write_evaluation(
    folder: Path,
    returns: Sequence[float],
    policy: str = "agent",
    profile: str = "exact",
    task: str = "reach",
    checkpoint: str | None = None,
    mujoco: str = "3.11.0",
    settings: Mapping[str, object] | None = None,
) -> Path:
    """An evaluation whose episodes succeed where they earn more than 1."""
    measured = {"mean": 0.5, "low": 0.25, "high": 0.75, "count": 4}
    result = {"task": task, "policy": policy, "success": measured, "episode_return": measured}
    lineage = {"agent": checkpoint, "settings": settings}
    result["lineage"] = {name: value for name, value in lineage.items() if value}
    document = {
        "config": {"profile": profile, "variation": NOMINAL},
        "results": [result],
        "provenance": {"packages": {"mujoco": mujoco}},
    }
    atomic_write_json(folder / "policies.json", document)
    for number, earned in enumerate(returns):
        outcome = {"task": task, "policy": policy, "seed": 100 + number, "success": earned > 1, "steps": 9}
        append_jsonl(folder / "episodes.jsonl", {**outcome, "checkpoint": checkpoint, "episode_return": earned})
    return folder


def write_run(
    folder: Path,
    seed: int,
    returns: Sequence[float] = (),
    variant: str = "agent",
    steps: int = 200,
    speed: float = 1.0,
    settings: Mapping[str, object] | None = None,
    evaluated_settings: Mapping[str, object] | None = None,
) -> Path:
    """A run of two evaluations, which earned 1 and 3, and an evaluation with these returns."""
    config = AgentTrainingConfig("reach", str(folder), "runs/skills/reach", variant, seed, steps, evaluation_episodes=8)
    save_config(config, folder / "config.yaml")
    for share, earned in ((0.5, 1.0), (1.0, 3.0)):
        step = int(share * steps)
        append_jsonl(folder / "metrics.jsonl", {"step": step, "train/trained_s": 120 * share / speed})
        evaluation = {"evaluation/return": earned, "evaluation/success": share}
        append_jsonl(folder / "metrics.jsonl", {"step": step, **evaluation})
    document = {"task": TASK.to_dict(), SKILLS_KEY: {"training": {"beta": 0.001}}, "lineage": {"settings": settings}}
    best = save_checkpoint(folder / "checkpoints" / "best", AGENT_KIND, {}, document)
    if returns:
        sha256 = load_checkpoint(best, AGENT_KIND).sha256
        write_evaluation(folder / "evaluation", returns, checkpoint=sha256, settings=evaluated_settings or settings)
    return folder


def write_robustness(run: Path) -> None:
    best = load_checkpoint(run, AGENT_KIND).sha256
    interval = {"mean": 0.5, "low": 0.25, "high": 0.75, "count": 4}
    points = [{"value": value, "success": interval, "episode_return": interval} for value in (0.5, 1.0)]
    sweeps = [{"name": name, "unit": "factor", "points": points} for name in ("friction", "mass", "a", "b", "c")]
    together = {"name": "mass=2+friction=0.5", "variation": {}, "success": interval, "episode_return": interval}
    document = {"task": "reach", "lineage": {"agent": best}, "sweeps": sweeps, "combinations": [together]}
    atomic_write_json(run / "evaluation" / "robustness.json", document)


def test_runs_of_a_variant_are_one_row(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "b", 1, (0.0, 2.0)),
        write_run(tmp_path / "plain", 0, (5.0, 5.0), variant="no residual"),
        write_run(tmp_path / "a", 0, (2.0, 2.0, 2.0, 4.0), steps=400, speed=2.0),
    ]
    [comparison] = compare(map(read_run, runs))
    assert [variant.name for variant in comparison.variants] == ["agent", "no residual"]
    agent = comparison.variants[0]
    assert [(run.folder.name, run.steps, run.minutes) for run in agent.runs] == [("a", 400, 1.0), ("b", 200, 2.0)]
    # The seeds earn 2.5 and 1 and succeed in 4 of 4 and 1 of 2 episodes.
    assert agent.episode_return == 1.75
    assert (agent.worst.config.seed, agent.best.config.seed) == (1, 0)
    assert agent.success == 0.75
    assert agent.evaluated
    # Over seeds: two of them, between whose means everything is as likely.
    over_seeds, returned = rate_over_seeds(SUCCESSES), mean_over_seeds([[2.0, 2.0, 2.0, 4.0], [0.0, 2.0]])
    assert agent.interval("success", ".3f") == over_seeds.interval()
    assert agent.interval("episode_return", ".1f") == returned.interval(".1f")
    # One seed says nothing of others.
    assert comparison.variants[1].interval("success", ".3f") == f"one seed; its episodes {rate([True] * 2).interval()}"
    # As a study prints it.
    [_, _, *rows] = results_table([comparison])
    assert rows[0] == f"| agent | 1.75 {returned.interval('.2f')} (1.00, 2.50), 0.750 {over_seeds.interval()} |"
    alone = "one seed; its episodes"
    assert rows[1] == f"| no residual | 5.00 {alone} [5.00, 5.00], 1.000 {alone} [0.342, 1.000] |"
    assert agent.measured == "4 episodes, exact; 2 episodes, exact"


def test_variants_with_settings_of_their_own_are_named_by_them(tmp_path: Path) -> None:
    """Such as the layouts of a maze; in what they share they do not differ."""
    small, large = {"size": 20, "layout": 1, "goal": [1, 2]}, {"size": 40, "layout": 1, "goal": None}
    runs = {
        name: write_run(tmp_path / name, seed, (5.0,), name[0], settings=settings)
        for name, seed, settings in (("small0", 0, small), ("small1", 1, small), ("large0", 0, large))
    }
    [comparison] = compare(map(read_run, runs.values()))
    assert [each.title for each in comparison.variants] == ["s (size 20, goal [1, 2])", "l (size 40, goal None)"]
    [_, _, *rows] = results_table([comparison])
    assert [row.split(" | ")[0] for row in rows] == ["| s (size 20, goal [1, 2])", "| l (size 40, goal None)"]
    [alone] = compare([read_run(runs["small0"])])
    assert alone.variants[0].title == "s"

    def refused(**other: Any) -> None:
        runs["other"] = write_run(tmp_path / "other", 2, (5.0,), **other)
        with pytest.raises(ConfigError, match=r"different worlds: .*settings.size: 20 != 40; .*--task-settings"):
            compare(map(read_run, runs.values()))
        shutil.rmtree(runs.pop("other"))

    refused(variant="s", settings=large)
    refused(variant="o", settings=small, evaluated_settings=large)
    zero = read_outcomes(write_evaluation(tmp_path / "zero", (0.0,), "zero", settings=large))
    with pytest.raises(ConfigError, match=r"different worlds: .*settings.size: 20 != 40"):
        compare([read_run(runs["small0"])], zero)


def test_without_an_evaluation_the_last_one_in_training_stands_in_and_is_marked(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "one" / "evaluation", (7.0,), policy="prior")
    [comparison] = compare([read_run(write_run(tmp_path / "one", 0)), read_run(write_run(tmp_path / "two", 1, (5.0,)))])
    [variant] = comparison.variants
    assert [run.episode_return for run in variant.runs] == [3.0, 5.0]
    assert not variant.evaluated
    assert variant.interval("success", ".3f") == "–"
    assert variant.measured == "in training only: 8 episodes, fast; 1 episodes, exact"


def test_the_band_of_seeds_reaches_as_far_as_all_of_them() -> None:
    one = np.array([1.0, 2.0, 3.0]), np.array([0.0, 10.0, 20.0])
    other = np.array([0.5, 2.5]), np.array([4.0, 8.0])
    x, mean, low, high = seed_band([one, other])
    assert x.tolist() == [1.0, 2.0, 2.5]
    assert low.tolist() == [0.0, 7.0, 8.0]
    assert high.tolist() == [5.0, 10.0, 15.0]
    assert mean.tolist() == [2.5, 8.5, 11.5]
    assert seed_band([one, (other[0] + 9, other[1])])[0].size == 0


def test_best_median_and_worst_episode(tmp_path: Path) -> None:
    [outcomes] = read_outcomes(write_evaluation(tmp_path, (4.0, 9.0, 1.0, 6.0, 5.0)))
    picked = {title: episode.seed for title, episode in pick_episodes(outcomes.episodes).items()}
    assert picked == {"best": 101, "median": 104, "worst": 102}


def test_the_plane_is_that_of_most_variance() -> None:
    latents = np.array([[0, 3, 0], [0, -3, 0], [1, 0, 0], [-1, 0, 0]], np.float32) + 7
    points, share = principal_plane(latents)
    np.testing.assert_allclose(np.abs(points), [[3, 0], [3, 0], [0, 1], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(share, [0.9, 0.1])
    assert principal_plane(latents[:, 1:2])[0].shape == (4, 2)


def test_commands_say_how_the_runs_of_a_variant_differ(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", 0, (5.0, 4.0)), write_run(tmp_path / "b", 3, steps=400)]
    [comparison] = compare(map(read_run, runs))
    commands = reproduction(comparison.variants[0], "reach.yaml")
    assert commands == [
        "reskill train-agent reach.yaml",
        f"reskill evaluate {runs[0]} --policy agent --episodes 2 --profile exact --out {runs[0]}/evaluation",
        f"reskill train-agent reach.yaml out={runs[1]} seed=3 steps=400",
    ]


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (lambda run: (run / "config.yaml").unlink(), DataError, "no run folder of .* no config.yaml"),
        (lambda run: (run / "metrics.jsonl").unlink(), DataError, "it has no metrics.jsonl"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": 1}\n'), DataError, "no evaluation yet"),
        (lambda run: (run / "evaluation/episodes.jsonl").unlink(), DataError, "run reskill evaluate again"),
        (lambda run: (run / "evaluation/episodes.jsonl").write_text("{}\n"), DataError, r"damaged.*0\.task"),
        (
            lambda run: (run / "evaluation/policies.json").write_text("{}\n"),
            DataError,
            "damaged.*config: Field required",
        ),
        (lambda run: (run / "evaluation/robustness.json").write_text("{}\n"), DataError, "damaged.*sweeps"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    break_it: Callable[[Path], object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    run = write_run(tmp_path, 0, (5.0,))
    break_it(run)
    with pytest.raises(error, match=message):
        read_run(run)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one, other = (read_run(write_run(tmp_path / name, 4, (5.0,))) for name in "ab")
    with pytest.raises(ConfigError, match=r"(?s)/a and .*/b are both seed 4 of variant 'agent' on reach.*variant:"):
        compare([one, other])
    references = read_outcomes(write_evaluation(tmp_path / "r", (5.0,), policy="zero", profile="turbo"))
    with pytest.raises(ConfigError, match=r"different worlds: profile: 'exact' != 'turbo'; .*--profile"):
        compare([one], references)
    references = read_outcomes(write_evaluation(tmp_path / "s", (5.0,), policy="zero", mujoco="4.0.0"))
    with pytest.raises(ConfigError, match=r"worlds: simulator: 'mujoco 3.11.0' != 'mujoco 4.0.0'; .*same simulator"):
        compare([one], references)

    # One whose simulator is unknown stands between those that differ.
    known = [read_outcomes(write_evaluation(tmp_path / v, (5.0,), f"zero {v}", mujoco=v)) for v in ("", "4.0.0")]
    with pytest.raises(ConfigError, match=r"worlds: simulator: 'mujoco 3.11.0' != 'mujoco 4.0.0'"):
        compare([one], [outcome for outcomes in known for outcome in outcomes])


def replace_best(run: Path, step: int) -> None:
    """Let the run have another best checkpoint, as when it goes on."""
    best = run / "checkpoints" / "best"
    document = load_checkpoint(best, AGENT_KIND).document
    shutil.rmtree(best)
    save_checkpoint(best, AGENT_KIND, {"weight": np.full(1, step, np.float32)}, document)


def test_figures_of_another_checkpoint_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", 0, (7.0, 7.0))
    write_robustness(run)
    assert read_run(run).outdated == ()
    replace_best(run, 400)
    stale = read_run(run)
    assert (stale.episode_return, stale.outcomes, stale.robustness) == (3.0, None, None)
    assert stale.measured == "in training only: 8 episodes, fast; its evaluation is outdated"
    [comparison] = compare([stale])
    write_page(tmp_path / "report.html", [comparison], {})
    text = (tmp_path / "report.html").read_text()
    for name in ("policies.json", "robustness.json"):
        assert f"{run}/evaluation/{name} is outdated and left out: the best checkpoint is" in text
    now = load_checkpoint(run, AGENT_KIND).sha256
    write_evaluation(run / "evaluation", (4.0,), checkpoint=now)
    again = read_run(run)
    # The episodes of the one before are still in the file: they are another agent's.
    assert (again.episode_return, again.outdated) == (4.0, ("robustness.json",))
    write_results(tmp_path / "table", compare([again]))
    [row] = json.loads((tmp_path / "table" / "results.json").read_text())["results"]
    assert (row["variant"], row["seed"], row["episode_return"], row["lineage"]["agent"]) == ("agent", 0, 4.0, now)


def test_a_prior_of_skills_that_no_agent_has_is_said_to_be(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", 0, (5.0,)))
    run = replace(run, lineage=replace(run.lineage, skills="a" * 64))
    for checkpoint, warnings in (("a" * 64, 0), ("b" * 64, 1), (None, 0)):
        folder = write_evaluation(tmp_path / str(warnings) / str(checkpoint), (5.0,), "prior", checkpoint=checkpoint)
        [comparison] = compare([run], read_outcomes(folder))
        assert len(comparison.warnings) == warnings
        assert all("prior is that of skills bbbbbbbbbbbb, which no agent" in line for line in comparison.warnings)


def test_of_an_older_evaluation_the_step_shows_whether_it_is_outdated(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", 0)
    write_evaluation(run / "evaluation", (7.0,))
    document = json.loads((run / "evaluation" / "policies.json").read_text())
    assert read_run(run).measured == "1 episodes, exact, of an unknown checkpoint"
    for step, outdated in (("best", ()), ("00000400", ("policies.json",))):
        (run / "evaluation" / "policies.json").write_text(json.dumps({**document, "checkpoints": {str(run): step}}))
        assert read_run(run).outdated == outdated


class _Page(HTMLParser):
    """Checks that every element is closed and collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "poster", "data")]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th", "figcaption"):
            self.cells.append(data)


def test_the_page_shows_the_figures_and_needs_nothing_beside_it(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", 0, (2.0, 2.0, 2.0, 4.0)),
        write_run(tmp_path / "b", 1, (0.0, 2.0)),
        write_run(tmp_path / "c", 0, variant="<plain>"),
    ]
    write_robustness(runs[0])
    [comparison] = compare(map(read_run, runs), read_outcomes(write_evaluation(tmp_path / "r", (0.5, 1.5), "zero")))
    latents = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    choices = SkillChoices(latents[0], latents[1], np.arange(6) % 3, 2)
    show = Showcase(comparison.variants[0].best, choices, (Video("best", 103, 4.0, b"video"),))
    out = tmp_path / "report.html"
    write_page(out, [comparison], {"reach": show})
    text = out.read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    kinds = [re.match(r"data:(\w+/[\w+]+);base64,[\w+/=]+$", source) for source in page.fetched]
    assert [kind and kind[1] for kind in kinds] == ["image/svg+xml"] * 3 + ["video/mp4"]
    assert "url(" not in text
    assert "<script" not in text
    for cell in (
        "1.75",
        "1.00 (seed 1)",
        "0.750",
        rate_over_seeds(SUCCESSES).interval(),
        "<plain>",
        "in training only: 8 episodes, fast",
        "mass=2, friction=0.5",
        "0.50 [0.25, 0.75]",
    ):
        assert cell in page.cells
    assert "best: return 4.00, seed 103" in page.cells
    write_page(out, [comparison], {"reach": show})
    assert out.read_text() == text


def test_the_command_line_explains_itself_and_its_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--help"])
    assert "--references FOLDER" in capsys.readouterr().out
    assert main(["report", str(tmp_path)]) == 2
    assert "error: " in capsys.readouterr().err

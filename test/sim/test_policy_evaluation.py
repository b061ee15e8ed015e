"""The protocol by which policies are judged on tasks."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from reskill_core.checkpoint import resolve_checkpoint, save_checkpoint
from reskill_core.data import Episode
from reskill_core.errors import CheckpointError, ConfigError
from reskill_core.lineage import Lineage
from reskill_core.resources import shipped_folder
from reskill_core.results import EpisodeOutcome
from reskill_core.runtime.loading import load_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.seeding import EVALUATION_SEED
from reskill_sim.cli.main import main
from reskill_sim.engine.variation import Variation
from reskill_sim.evaluation import PolicyEvaluationConfig, evaluate_policies, evaluate_policy, policy_table
from reskill_sim.evaluation.acting_lineage import acting_lineage
from reskill_sim.evaluation.finished_episodes import FinishedEpisodes
from reskill_sim.evaluation.policies import ZeroPolicy
from reskill_sim.evaluation.rollouts import with_places
from reskill_sim.families import get_task
from reskill_sim.fetch.demonstrators import make_demonstrator


def test_return_success_and_seeds_are_those_of_the_episodes() -> None:
    task = get_task("clean_up")
    episodes: list[Episode] = []
    evaluation = evaluate_policy(
        task, lambda n: make_demonstrator("clean_up", num_envs=n), "demonstrator", 5, "fast", on_episode=episodes.append
    )
    by_seed = {episode.seed: episode for episode in episodes}
    assert [row.seed for row in evaluation.outcomes] == list(range(EVALUATION_SEED, EVALUATION_SEED + 5))
    for row in evaluation.outcomes:
        episode = by_seed[row.seed]
        assert row.episode_return == pytest.approx(float(np.sum(episode.reward)), rel=1e-5)
        assert (row.success, row.steps, row.scene) == (episode.success, 50, 0)
    returns = [row.episode_return for row in evaluation.outcomes]
    assert evaluation.episode_return.mean == pytest.approx(np.mean(returns))
    assert evaluation.success.mean == np.mean([row.success for row in evaluation.outcomes])


def test_standing_still_earns_nothing_and_is_the_same_however_many_run_at_once() -> None:
    task = get_task("complex_hook")
    few = evaluate_policy(task, lambda n: ZeroPolicy(task.spec), "zero", 2, "fast")
    more = evaluate_policy(task, lambda n: ZeroPolicy(task.spec), "zero", 4, "fast")
    assert few.outcomes == more.outcomes[:2]
    assert {row.episode_return for row in more.outcomes} == {0.0}
    assert len({row.scene for row in more.outcomes}) > 1


def test_results_are_left_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = PolicyEvaluationConfig(
        ("zero", "random"), ("block", "slippery_push"), out=str(tmp_path), episodes=3, profile="fast", threads=0
    )
    results = evaluate_policies(config)
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("slippery_push, random: 100%")
    assert " 12/12 " in last
    rows = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * 3
    document = json.loads((tmp_path / "policies.json").read_text())
    assert [(r["task"], r["policy"]) for r in document["results"]] == [(r.task, r.policy) for r in results]
    assert document["config"]["variation"]["friction"] == [1.0, 1.0]
    lines = policy_table(results)
    assert len(lines) == 2 + 4
    assert lines[2].startswith("| block | zero | 0.000 [0.000, ")
    assert "| -50.00 [-50.00, -50.00] | 0 |" in lines[2]


def test_a_variation_reaches_the_episodes() -> None:
    plain, heavy = (
        evaluate_policy(
            get_task("slippery_push", variation),
            lambda n: make_demonstrator("slippery_push", noise_range=(0.0, 0.0), num_envs=n),
            "demonstrator",
            8,
            "fast",
        )
        for variation in (Variation(), Variation(action_delay=(4, 4)))
    )
    assert plain.episode_return.mean != heavy.episode_return.mean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one skill module, or policies by --policy"),
        (["--policy", "zero"], "name the tasks by --task"),
        (["--policy", "best", "--task", "block"], "unknown policy 'best'; allowed: agent, demonstrator, fast-script"),
        (["--policy", "prior", "--task", "block"], "the observation layout of task 'block'; given: none"),
        (["--policy", "zero", "--task", "blok"], "unknown task 'blok'"),
        (["--policy", "zero", "--task", "block", "--vary", "frictoin=2"], "did you mean friction"),
        (["--policy", "zero", "--task", "block", "--data", "d"], "--data goes with a skill module"),
        (["--task", "block"], "give one skill module"),
        (["--policy", "zero", "--task", "block", "--episodes", "0"], "episodes: must be at least 1"),
    ],
)
def test_wrong_questions_are_answered_with_what_is_allowed(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) != 0
    assert message in capsys.readouterr().err


def test_policies_run_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "block", "--episodes", "2", "--profile", "fast", "--out", str(tmp_path), "--quiet"]
    assert main(["evaluate", "--policy", "zero", "demonstrator", *options]) == 0
    assert "| block | demonstrator | " in capsys.readouterr().out


@pytest.mark.parametrize("given", ["run", "run/", "run/checkpoints/00000001"])
def test_one_checkpoint_names_the_task_and_takes_the_results_into_its_run(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    document = {"task": get_task("block").spec.to_dict()}
    save_checkpoint(run / "checkpoints" / "00000001", SKILL_MODULE_KIND, {"weight": np.zeros(1)}, document)
    (run / "checkpoints" / "last").symlink_to("00000001")
    assert main(["evaluate", given, "--policy", "zero", "--episodes", "1", "--profile", "fast", "--quiet"]) == 0
    assert "results in run/evaluation:" in capsys.readouterr().out
    results = json.loads((run / "evaluation" / "policies.json").read_text())
    assert results["config"]["tasks"] == ["block"]
    # Later, the best one may be another.
    assert results["checkpoints"] == {given: "00000001"}


def test_results_of_a_shipped_model_do_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "agents/clean_up", "--policy", "zero", "--episodes", "1", "--profile", "turbo", "--quiet"]
    for _ in range(2):
        assert main(command) == 0
        assert "results in runs/evaluation/agents/clean_up:" in capsys.readouterr().out
    # Wherever the model is named from: nothing is written beside it either.
    before = sorted(shipped_folder("models").rglob("*"))
    assert main([command[0], str(shipped_folder("models") / "agents/clean_up"), *command[2:]]) == 0
    assert sorted(shipped_folder("models").rglob("*")) == before
    assert not (tmp_path / "agents").exists()


def test_a_folder_called_like_a_shipped_model_stands_for_it_unless_it_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = resolve_checkpoint(Path("agents/clean_up"))
    mine = tmp_path / "agents/clean_up"
    (mine / "evaluation").mkdir(parents=True)
    (mine / "evaluation" / "policies.json").write_text("{}")
    assert resolve_checkpoint(Path("agents/clean_up")) == shipped == shipped_folder("models") / "agents/clean_up"
    # A run that has not got anywhere yet is meant by its name, not something else that is called alike.
    (mine / "config.yaml").write_text("task: clean_up\n")
    with pytest.raises(CheckpointError, match="no checkpoint at agents/clean_up"):
        resolve_checkpoint(Path("agents/clean_up"))


def test_unknown_policies_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown policy"):
        evaluate_policies(PolicyEvaluationConfig(("zero", "nothing"), ("block",), out=str(tmp_path)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["slippery_push", "clean_up", "pyramid_stack", "complex_hook"])
def test_the_agent_that_ships_for_a_task_solves_it(task: str) -> None:
    make_actor = partial(with_places, load_policy(f"agents/{task}"))
    result = evaluate_policy(get_task(task), make_actor, "agent", 8, "fast")
    assert sum(row.success for row in result.outcomes) >= 7


def test_an_interrupted_evaluation_is_continued_to_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in the middle, with a torn line; what was finished is not simulated again."""
    simulated: list[int] = []
    add = FinishedEpisodes.add

    def config(out: str) -> PolicyEvaluationConfig:
        return PolicyEvaluationConfig(("random",), ("slippery_push",), (), out, 6, "fast", threads=0)

    def stop(self: FinishedEpisodes, lineage: Lineage, outcome: EpisodeOutcome) -> None:
        simulated.append(outcome.seed)
        add(self, lineage, outcome)
        if len(simulated) == 4:
            raise KeyboardInterrupt

    evaluate_policies(config(str(tmp_path / "whole")), show_progress=False)
    monkeypatch.setattr(FinishedEpisodes, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate_policies(config(str(tmp_path / "parts")), show_progress=False)
    partial_file = tmp_path / "parts" / "episodes.partial.jsonl"
    with partial_file.open("a") as file:
        file.write('{"evaluation": "torn')
    evaluate_policies(config(str(tmp_path / "parts")), show_progress=False)
    assert sorted(simulated) == list(range(EVALUATION_SEED, EVALUATION_SEED + 6)), "each once"
    whole, parts = ((tmp_path / name / "episodes.jsonl").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    assert not partial_file.exists()


def test_outcomes_of_another_evaluation_are_not_used(tmp_path: Path) -> None:
    """Another variation, profile or policy in the same folder."""
    lineage = acting_lineage(get_task("slippery_push"), "fast")
    finished = FinishedEpisodes(tmp_path)
    finished.add(lineage, EpisodeOutcome("slippery_push", "random", EVALUATION_SEED, True, 77.0))
    again = FinishedEpisodes(tmp_path)
    assert again.of(lineage, "random")[EVALUATION_SEED].episode_return == 77.0
    assert again.of(lineage, "zero") == {}
    assert again.of(acting_lineage(get_task("slippery_push"), "exact"), "random") == {}
    varied = get_task("slippery_push", Variation(friction=(0.5, 1.5)))
    assert again.of(acting_lineage(varied, "fast"), "random") == {}

"""Studies: variants of configurations, trained and evaluated, each in its own folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml

from reskill_core.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from reskill_core.config import config_from_dict, load_config
from reskill_core.errors import ConfigError, ReskillError
from reskill_core.models.config import ReskillModelConfig
from reskill_core.models.spirl.config import FlatConfig
from reskill_core.report import compare, read_run
from reskill_core.resources import config_folder
from reskill_core.rl.config import PpoConfig, SacConfig
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_sim.cli.main import main
from reskill_sim.evaluation import PolicyEvaluationConfig, evaluate_policies
from reskill_sim.experiments.study import (
    StudyConfig,
    _is_evaluated,
    _references_of,
    plan_skills,
    plan_study,
    run_study,
)
from reskill_sim.families import get_task


@pytest.mark.parametrize("path", sorted((config_folder() / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_can_be_planned(path: Path) -> None:
    config = load_config(StudyConfig, path)
    runs = plan_study(config)
    assert len({run.out for run in runs}) == len(runs) == len(config.agents) * len(config.variants) * len(config.seeds)


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    variants = {"agent": {}, "bold": {"agent": {"low_level": {"std": 0.5}}}}
    config = StudyConfig(("agents/complex_hook.yaml",), variants, "runs/s", common={"steps": 7}, seeds=(4,))
    plain, bold = plan_study(config)
    learns = [cast(PpoConfig, run.agent.low_level) for run in (plain, bold)]
    assert (plain.out, plain.variant, plain.seed) == ("runs/s/complex_hook/agent/seed_4", "agent", 4)
    assert (plain.steps, bold.steps, *(level.std for level in learns)) == (7, 7, 0.3, 0.5)
    assert [level.minibatch for level in learns] == [512, 512]
    with pytest.raises(ConfigError, match=r"(?s)variant wrong of agents/complex_hook.yaml.*agent.residul"):
        plan_study(StudyConfig(config.agents, {"wrong": {"agent": {"residul": True}}}, "runs/s"))


def test_a_variant_by_another_algorithm_keeps_no_settings_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(
        "task: clean_up\nskills: runs/skills/block\nout: o\nagent: {high_level: {algorithm: sac, target: 4.0}}\n"
    )
    variants: dict[str, dict[str, Any]] = {
        "sac": {"skills": "{skills}_flat", "agent": {"high_level": {"updates": 0.5}}},
        "ppo": {"agent": {"high_level": {"algorithm": "ppo", "clip": 0.3}}},
    }
    sac, ppo = plan_study(StudyConfig((str(tmp_path / "agent.yaml"),), variants, "runs/s", seeds=(0,)))
    assert sac.agent.high_level == SacConfig(target=4.0, updates=0.5)
    # What is not said is as in the default of an agent.
    assert ppo.agent.high_level == PpoConfig(clip=0.3, discount=0.993, final_learning_rate=0.1)
    assert (sac.skills, ppo.skills) == ("runs/skills/block_flat", "runs/skills/block")


def test_skills_of_a_study_are_trained_with_what_changes(tmp_path: Path) -> None:
    skills = {"skills/block.yaml": {"": {}, "_short": {"steps": 7, "model": {"prior": {"kind": "gaussian"}}}}}
    runs: dict[str, dict[str, Any]] = {"agent": {}, "short": {"skills": "{skills}_short"}}
    config = StudyConfig(("agents/clean_up.yaml",), runs, "runs/s", skills=skills)
    plain, short = plan_skills(config)
    models: list[Any] = [plain.model, short.model]
    assert (plain.out, short.out, short.steps) == ("runs/skills/block", "runs/skills/block_short", 7)
    assert models[0].features == models[1].features != ReskillModelConfig().features
    assert [model.prior.kind for model in models] == ["flow", "gaussian"]
    flat = replace(config, skills={"skills/block.yaml": {"_short": {"model": {"kind": "flat"}}}})
    assert [plan.model for plan in plan_skills(flat)] == [FlatConfig()]


def test_only_skills_that_something_in_the_study_has_are_trained() -> None:
    skills: dict[str, dict[str, dict[str, Any]]] = {
        path: {"": {}, "_flat": {"model": {"kind": "flat"}}} for path in ("skills/kitchen.yaml", "skills/block.yaml")
    }
    flat = {"flat": {"skills": "{skills}_flat"}}
    config = StudyConfig(("agents/kitchen.yaml",), flat, "runs/s", skills=skills)
    assert [plan.out for plan in plan_skills(config)] == ["runs/skills/kitchen_flat"]
    compared = replace(config, references=("prior",))
    assert [plan.out for plan in plan_skills(compared)] == ["runs/skills/kitchen", "runs/skills/kitchen_flat"]


def test_references_are_those_of_what_all_variants_have_in_common(tmp_path: Path) -> None:
    skills = load_checkpoint("skills/block", SKILL_MODULE_KIND)
    weights = {name: array * np.float32(1.01) for name, array in skills.weights.items()}
    other = save_checkpoint(tmp_path / "skills", SKILL_MODULE_KIND, weights, skills.document)
    small = {"steps": 80, "num_envs": 4, "rollout_steps": 20, "profile": "turbo", "evaluation_episodes": 2}
    common = {**small, "task": "clean_up", "skills": str(other)}
    out = tmp_path / "out"
    config = StudyConfig(
        ("agents/slippery_push.yaml",), {"agent": {}}, str(out), common, (0,), 2, 1, references=("prior",)
    )
    run_study(config, show_progress=False)
    [reference] = json.loads((out / "clean_up" / "references" / "policies.json").read_text())["results"]
    [agent] = json.loads((out / "clean_up/agent/seed_0/evaluation/policies.json").read_text())["results"]
    assert reference["task"] == agent["task"] == "clean_up"
    same = ("skills", "task", "profile", "variation", "simulator")
    assert [reference["lineage"][name] for name in same] == [agent["lineage"][name] for name in same]
    assert agent["lineage"]["skills"] == load_checkpoint(other, SKILL_MODULE_KIND).sha256
    rows = [
        [json.loads(line)["seed"] for line in (out / "clean_up" / place / "episodes.jsonl").read_text().splitlines()]
        for place in ("references", "agent/seed_0/evaluation")
    ]
    assert rows[0] == rows[1]


def test_references_do_what_the_agents_do_not_what_their_skills_were_learnt_for(tmp_path: Path) -> None:
    """The skills of the kitchen are of any four of seven subtasks, its agent's task is four certain ones."""
    common = {"skills": "skills/kitchen", "task_settings": {"ordered": True}}
    config = StudyConfig(
        ("agents/kitchen.yaml",), {"agent": {}}, str(tmp_path), common, (0,), episodes=2, references=("zero",)
    )
    [evaluation] = evaluate_policies(_references_of(config, config.agents[0]), show_progress=False)
    assert evaluation.lineage.settings == get_task("kitchen", settings={"ordered": True}).spec.settings
    assert evaluation.lineage.settings != load_checkpoint("skills/kitchen", SKILL_MODULE_KIND).task.settings


def test_what_would_share_a_folder_is_refused() -> None:
    agents = ("agents/clean_up.yaml", "agents/slippery_push.yaml")
    with pytest.raises(ConfigError, match="several runs of the study would go to out/block/agent/seed_0: of each task"):
        plan_study(StudyConfig(agents, {"agent": {}}, "out", {"task": "block"}, (0,)))


def test_a_study_evaluates_again_what_is_another_checkpoint_now(tmp_path: Path) -> None:
    small = {"steps": 80, "num_envs": 4, "rollout_steps": 20, "profile": "turbo", "evaluation_episodes": 2}
    out = tmp_path / "out"
    common = {**small, "skills": "skills/block"}
    config = StudyConfig(("agents/slippery_push.yaml",), {"agent": {}}, str(out), common, (0,), 2, 1)
    [run] = run_study(config, show_progress=False)
    best = run / "checkpoints" / "00000080"
    checkpoint, state = load_checkpoint(best, AGENT_KIND), load_training_state(best)
    shutil.rmtree(best)
    weights = {name: array * np.float32(0.9) for name, array in checkpoint.weights.items()}
    save_checkpoint(best, AGENT_KIND, weights, checkpoint.document, state)
    # As if it had been there before the evaluation: only what is in it tells.
    os.utime(best, (0, 0))
    run_study(config, show_progress=False)
    [result] = json.loads((run / "evaluation" / "policies.json").read_text())["results"]
    assert result["lineage"]["agent"] == load_checkpoint(best, AGENT_KIND).sha256 != checkpoint.sha256
    found = run / "evaluation" / "policies.json"
    now = found.read_text()
    found.write_text(now.replace(result["lineage"]["simulator"], "mujoco 2.0.0"))
    run_study(config, show_progress=False)
    assert found.read_text() == now
    # Moved, it is as good as ever.
    moved = Path(shutil.copytree(out, tmp_path / "moved", symlinks=True))
    kept = moved / found.relative_to(out)
    before = kept.stat().st_mtime_ns
    run_study(replace(config, out=str(moved)), show_progress=False)
    assert kept.stat().st_mtime_ns == before
    # So is one of before tasks had settings.
    document = json.loads(now)
    evaluation = config_from_dict(PolicyEvaluationConfig, document["config"])
    assert document["config"].pop("task_settings") == {}
    found.write_text(json.dumps(document))
    assert _is_evaluated(evaluation)
    assert not _is_evaluated(replace(evaluation, task_settings={"goal": 1}))


def test_runs_are_evaluated_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    small = {"steps": 80, "num_envs": 4, "rollout_steps": 20, "profile": "turbo", "evaluation_episodes": 2}
    agent = {"task": "slippery_push", "skills": "skills/block", "out": "unused", **small}
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump(agent))
    variants = {"missing": {"skills": str(tmp_path / "nowhere")}, "agent": {}}
    config = StudyConfig((str(tmp_path / "agent.yaml"),), variants, str(tmp_path / "out"), {}, (0,), 2, 1)
    with pytest.raises(ReskillError, match=r"(?s)1 of 2 runs failed.*missing/seed_0: no checkpoint at"):
        run_study(config, show_progress=False)
    run = tmp_path / "out" / "slippery_push" / "agent" / "seed_0"
    evaluation = json.loads((run / "evaluation" / "policies.json").read_text())
    assert [result["episodes"] for result in evaluation["results"]] == [2]
    assert len(compare([read_run(run)])) == 1


def test_a_study_leaves_a_table_of_agents_beside_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"steps": 80, "num_envs": 4, "rollout_steps": 20, "profile": "turbo", "evaluation_episodes": 2}
    agent = {"task": "slippery_push", "skills": "skills/block", "out": "unused", **small}
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump(agent))
    out = tmp_path / "out"
    study = {
        "agents": [str(tmp_path / "agent.yaml")],
        "variants": {"agent": {}},
        "out": str(out),
        "seeds": [0, 1],
        "references": ["zero"],
        "episodes": 2,
        "workers": 1,
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    assert main(["study", str(tmp_path / "study.yaml"), "--quiet"]) == 0
    written = (out / "results.md").read_text()
    assert written in capsys.readouterr().out
    _, _, agents, zero = written.splitlines()
    band = r"\[-?\d+\.\d+, \d+\.\d+\]"
    assert re.fullmatch(rf"\| agent \| \d+\.\d\d {band} \(\d+\.\d\d, \d+\.\d\d\), [01]\.\d{{3}} {band} \|", agents)
    assert re.fullmatch(rf"\| \*zero\* \| \d+\.\d\d {band}, [01]\.\d{{3}} \|", zero)
    assert "zero" in (out / "learning_slippery_push.svg").read_text()
    # Done again, nothing is: a study goes on with what is missing.
    files = sorted(out.glob("**/policies.json"))
    before = [path.stat().st_mtime_ns for path in files]
    assert main(["study", str(tmp_path / "study.yaml"), "--quiet"]) == 0
    assert len(files) == 3
    assert [path.stat().st_mtime_ns for path in files] == before

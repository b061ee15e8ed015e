"""What is handed on of a run, and the models that ship with the package."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skill_fixtures import TASK, random_model, save_module, small_config

from reskill_core import results
from reskill_core.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from reskill_core.errors import CheckpointError
from reskill_core.files import lock_new
from reskill_core.lineage import LINEAGE_KEY
from reskill_core.resources import shipped_folder, shipped_model, shipped_models
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.loading import load_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.training import run_folder
from reskill_core.training.export import export_run, learnt_in

ROOT = shipped_folder("models")
RESULTS = (results.SKILLS_FILE, results.POLICIES_FILE, results.ROBUSTNESS_FILE)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with two checkpoints, the first of which is the best."""
    folder = tmp_path / "run"
    module = load_checkpoint(save_module(tmp_path / "module", random_model(small_config())), SKILL_MODULE_KIND)
    for step in (10, 20):
        weights = {name: array + (step == 20) for name, array in module.weights.items()}
        state = {"step": step, "moments": np.ones(3)}
        save_checkpoint(run_folder.checkpoint_folder(folder, step), SKILL_MODULE_KIND, weights, module.document, state)
    run_folder.link_checkpoints(folder, last=20, best=10)
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "evaluation.json").write_text("{}")
    (folder / run_folder.CONFIG_FILE).write_text("beta: 1.0")
    return folder


def test_an_export_is_the_best_checkpoint_without_what_only_training_needs(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "exported"
    names = {path.name for path in export_run(run, out)}
    assert names == {"checkpoint.json", "weights.safetensors", "manifest.json", "config.yaml", "evaluation.json"}
    best, exported = (load_checkpoint(folder, SKILL_MODULE_KIND) for folder in (run, out))
    assert exported.document == best.document
    summed = "sha256sum checkpoint.json weights.safetensors | sha256sum"
    listed = subprocess.run(summed, shell=True, cwd=out, capture_output=True, text=True, check=True).stdout
    assert best.sha256 == exported.sha256 == listed.split()[0]
    last = load_checkpoint(run_folder.checkpoint_folder(run, 20), SKILL_MODULE_KIND)
    assert last.sha256 != best.sha256
    for name, array in best.weights.items():
        np.testing.assert_array_equal(exported.weights[name], array)
    with pytest.raises(CheckpointError, match="no training state"):
        load_training_state(out)
    with pytest.raises(CheckpointError, match="exists"):
        export_run(run, out)


def test_what_another_checkpoint_has_done_is_not_exported(run: Path, tmp_path: Path) -> None:
    for name in ("policies.json", "evaluation.json"):
        last = load_checkpoint(run_folder.checkpoint_folder(run, 20), SKILL_MODULE_KIND).sha256
        lineage = {"lineage": {"skills": last}}
        document = {"results": [lineage]} if name == "policies.json" else lineage
        (run / "evaluation" / name).write_text(json.dumps(document))
        with pytest.raises(CheckpointError, match=rf"(?s){name}: measured with another checkpoint than .*00000010"):
            export_run(run, tmp_path / "exported")
        (run / "evaluation" / name).unlink()
    assert not (tmp_path / "exported").exists()


def test_of_two_exports_to_one_place_the_second_is_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    with lock_new(out, CheckpointError), pytest.raises(CheckpointError, match="written to by somebody else"):
        export_run(run, out)
    files = export_run(run, out)
    with pytest.raises(CheckpointError, match="shared exists"):
        export_run(run, out)
    assert sorted(out.iterdir()) == files
    assert not list(tmp_path.glob(".lock*"))


def test_a_path_that_does_not_exist_may_name_a_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_policy("skills/block").checkpoint.folder == ROOT / "skills" / "block"
    monkeypatch.chdir(tmp_path)
    mine = save_module(tmp_path / "skills" / "block", random_model(small_config()))
    assert load_policy("skills/block").task_spec.name == TASK.name
    assert load_policy("skills/block").checkpoint.folder == mine
    with pytest.raises(CheckpointError, match=r"shipped with the package: .*agents/clean_up"):
        load_policy("agents/clean_upp")


def test_each_task_has_its_models() -> None:
    tasks = ("clean_up", "complex_hook", "pyramid_stack", "slippery_push")
    varied = [f"agents/{task}{kind}" for task in tasks for kind in ("", "_varied")]
    skills = [f"skills/{task}" for task in ("block", "hook", "kitchen", "maze_images")]
    assert shipped_models() == sorted([*varied, "agents/kitchen", "agents/maze_images"]) + skills
    # Where nothing is said, the one that knows the task's own world.
    assert [shipped_model(task) for task in tasks] == varied[::2]
    assert shipped_model("kitchen") == "agents/kitchen"


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_says_how_it_was_made_and_how_good_it_is(name: str) -> None:
    checkpoint = load_policy(name).checkpoint
    assert checkpoint.document["provenance"]["git_commit"]
    folder = "skills" if checkpoint.kind == SKILL_MODULE_KIND else "agents"
    assert name.removesuffix("_varied") == f"{folder}/{checkpoint.task.name}"
    files = {path.name for path in (ROOT / name).iterdir()}
    measured = {"evaluation.json", "losses.png"} if name.startswith("skills") else {"policies.json", "returns.png"}
    assert {"config.yaml", *measured} <= files
    found = {path.name: results.read_result(path) for path in (ROOT / name).glob("*.json") if path.name in RESULTS}
    # Nobody can say of the first skills' any more, and only Fetch has sweeps.
    first = checkpoint.task.name not in ("kitchen", "maze_images")
    expected = {"evaluation.json": None if first else True} if name.startswith("skills") else {"policies.json": True}
    if first and not name.startswith("skills"):
        expected["robustness.json"] = True
    assert {file: results.is_result_of(result, checkpoint) for file, result in found.items()} == expected


def test_an_agent_says_the_simulator_that_it_learnt_in() -> None:
    agent = load_checkpoint("agents/clean_up", AGENT_KIND)
    provenance = {"packages": {"mujoco": "3.1"}}
    assert learnt_in(replace(agent, document={**agent.document, "provenance": provenance})).endswith("mujoco 3.1")
    known = {**agent.document, "provenance": provenance, LINEAGE_KEY: {"simulator": "mujoco 3.2"}}
    assert learnt_in(replace(agent, document=known)).endswith("mujoco 3.2")
    assert "unknown" not in learnt_in(agent)

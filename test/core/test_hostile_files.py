"""Files that are anything: they are read, or refused with a message; nothing else ever comes of them."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated, scrambled
from skill_fixtures import random_model, save_module, small_config, write_reaching_data

from reskill_core.checkpoint import DOCUMENT, MANIFEST, load_checkpoint
from reskill_core.config import load_config
from reskill_core.data import DemoDataset, read_splits, write_splits
from reskill_core.data.splits import SPLITS
from reskill_core.errors import ConfigError, DataError, ReskillError
from reskill_core.files import atomic_write_json, read_json
from reskill_core.report import read_outcomes, read_run
from reskill_core.resources import config_folder, shipped_folder
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.runtime.loading import POLICY_KINDS, load_policy
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.yaml_text import parse_yaml

# Reproducible, and no judgement about how fast a busy machine is.
steady = settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(steady, max_examples=15)


def survives(read: Callable[[], object]) -> None:
    """A refusal is one of ours; that its text is fit to be printed, its class sees to."""
    with suppress(ReskillError):
        read()


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        yield Path(shutil.copytree(folder, Path(parent) / "copy"))


SKILLS_YAML = (config_folder() / "skills" / "block.yaml").read_bytes()
AGENT_YAML = (config_folder() / "agents" / "clean_up.yaml").read_bytes()


@steady
@given(scrambled(SKILLS_YAML))
def test_yaml_that_is_anything(content: bytes) -> None:
    survives(lambda: parse_yaml(content.decode("utf-8", "replace"), "the text", ConfigError))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "c.yaml").write_bytes(content)
        survives(lambda: load_config(SkillTrainingConfig, Path(folder) / "c.yaml"))


@steady
@given(st.data())
@pytest.mark.parametrize(("schema", "content"), [(SkillTrainingConfig, SKILLS_YAML), (AgentTrainingConfig, AGENT_YAML)])
def test_configurations_with_something_wrong(schema: type, content: bytes, data: st.DataObject) -> None:
    document = data.draw(mutated(yaml.safe_load(content)))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "c.yaml").write_text(json.dumps(document))
        survives(lambda: load_config(schema, Path(folder) / "c.yaml"))


@steady
@given(st.lists(st.text(max_size=12) | st.sampled_from(["steps", "model.prior"]).map(lambda key: f"{key}=[")))
def test_overrides_that_are_anything(overrides: list[str]) -> None:
    survives(lambda: load_config(SkillTrainingConfig, None, ["data=d", "out=o", *overrides]))


@steady
@given(scrambled(b'{"a": [1, 2.5e3, null, {"b": "c"}], "d": -7}'))
def test_json_that_is_anything(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.json").write_bytes(content)
        survives(lambda: read_json(Path(folder) / "a.json", DataError))


def seal(folder: Path, document: Any) -> None:
    """Put a document into a checkpoint, with a manifest that agrees."""
    content = json.dumps(document).encode()
    (folder / DOCUMENT).write_bytes(content)
    entries = json.loads((folder / MANIFEST).read_text())["files"]
    entries[DOCUMENT] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    own = (json.dumps(entries, indent=1) + "\n").encode()
    (folder / MANIFEST).write_text(json.dumps({"files": entries, "sha256": hashlib.sha256(own).hexdigest()}))


def act(folder: Path) -> None:
    policy = load_policy(folder)
    policy.reset([0])
    action = policy.act(np.zeros((1, policy.task_spec.obs.dim))).action
    assert action.shape == (1, policy.task_spec.action.dim)


@pytest.fixture(scope="module")
def skills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skills") / "skills"
    save_module(folder, random_model(small_config()))
    return folder


@pytest.fixture(scope="module")
def agent() -> Path:
    return shipped_folder("models") / "agents" / "clean_up"


@few
@given(st.data())
@pytest.mark.parametrize("kind", ["skills", "agent"])
def test_checkpoints_with_something_wrong_either_act_or_are_refused(
    kind: str, request: pytest.FixtureRequest, data: st.DataObject
) -> None:
    with copied(request.getfixturevalue(kind)) as folder:
        seal(folder, data.draw(mutated(json.loads((folder / DOCUMENT).read_text()))))
        survives(lambda: act(folder))


@few
@given(st.data())
@pytest.mark.parametrize("name", [MANIFEST, DOCUMENT])
def test_files_of_checkpoints_that_are_anything(name: str, skills: Path, data: st.DataObject) -> None:
    with copied(skills) as folder:
        (folder / name).write_bytes(data.draw(scrambled((folder / name).read_bytes())))
        survives(functools.partial(load_checkpoint, folder, *POLICY_KINDS))


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "data"
    write_reaching_data(folder, episodes=6)
    write_splits(DemoDataset.open(folder), {"train": 0.5, "validation": 0.5}, 0)
    return folder


@few
@given(st.data())
@pytest.mark.parametrize("name", ["manifest.json", SPLITS])
@pytest.mark.parametrize("how", ["mutated", "scrambled"])
def test_indices_and_splits_of_data_sets_with_something_wrong(
    name: str, how: str, demonstrations: Path, data: st.DataObject
) -> None:
    with copied(demonstrations) as folder:
        content = (folder / name).read_bytes()
        if how == "mutated":
            content = json.dumps(data.draw(mutated(json.loads(content)))).encode()
        else:
            content = data.draw(scrambled(content))
        (folder / name).write_bytes(content)
        survives(lambda: read_splits(DemoDataset.open(folder)))
        survives(lambda: DemoDataset.open(folder, on_bad_shard="skip"))


def evaluated_run(parent: Path, agent: Path) -> Path:
    """A run folder as a report takes it, made of a shipped agent's files."""
    run = parent / "run"
    shutil.copytree(agent, run / "checkpoints" / "00000001")
    (run / "checkpoints" / "best").symlink_to("00000001")
    shutil.copy(agent / "config.yaml", run)
    evaluation = {"evaluation/return": 1.0, "evaluation/success": 0.5, "train/trained_s": 2.0}
    (run / "metrics.jsonl").write_text("".join(json.dumps({"step": n, **evaluation}) + "\n" for n in (1, 2)))
    (run / "evaluation").mkdir()
    for name in ("policies.json", "robustness.json"):
        shutil.copy(agent / name, run / "evaluation")
    document = json.loads((run / "evaluation" / "policies.json").read_text())
    row = {
        "task": "clean_up",
        "policy": "agent",
        "seed": 1,
        "success": True,
        "episode_return": 2.0,
        "steps": 50,
        "scene": 0,
    }
    content = json.dumps({**row, "scene": 0}) + "\n"
    (run / "evaluation" / "episodes.jsonl").write_text(content)
    document.pop("episodes", None)
    atomic_write_json(run / "evaluation" / "policies.json", document)
    return run


@few
@given(st.data())
@pytest.mark.parametrize("name", ["policies.json", "robustness.json", "episodes.jsonl", "../metrics.jsonl"])
@pytest.mark.parametrize("how", ["mutated", "scrambled"])
def test_results_with_something_wrong(name: str, how: str, agent: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as parent:
        run = evaluated_run(Path(parent), agent)
        path = run / "evaluation" / name
        if how == "scrambled":
            path.write_bytes(data.draw(scrambled(path.read_bytes())))
        elif path.suffix == ".json":
            path.write_text(json.dumps(data.draw(mutated(json.loads(path.read_text())))))
        else:
            rows = data.draw(mutated([json.loads(line) for line in path.read_text().splitlines()]))
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        survives(lambda: read_run(run))
        survives(lambda: read_outcomes(run / "evaluation"))


def test_the_run_is_one_that_a_report_takes(agent: Path, tmp_path: Path) -> None:
    assert read_run(evaluated_run(tmp_path, agent)).outcomes is not None

"""Checkpoints: whole or not at all, verified, never unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skill_fixtures import TASK

from reskill_core import checkpoint as checkpoints
from reskill_core.checkpoint import load_checkpoint, load_training_state, prune_checkpoints, save_checkpoint
from reskill_core.errors import CheckpointError
from reskill_core.files import replace_link
from reskill_core.spec import ObsSpec, TaskSpec

KIND = "test"
WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(3.0), "empty": np.zeros((0, 2), np.int64)}
STATE = {
    "optimiser/a": np.linspace(0, 1, 5),
    "step": 7,
    "rng": {"state": 2**100, "has_uint32": 0},
    "transposed": np.arange(6).reshape(2, 3).T,
}


@pytest.fixture
def folder(tmp_path):
    return save_checkpoint(tmp_path / "one", KIND, WEIGHTS, {"task": TASK.to_dict(), "note": "µ"}, STATE)


def resign(folder: Path) -> None:
    """Make the manifest match the files, as somebody who means harm would."""
    files = [path for path in folder.iterdir() if path.name != checkpoints.MANIFEST]
    entries = {
        path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in files
    }
    write_manifest(folder, entries)


def write_manifest(folder: Path, entries: object) -> None:
    digest = hashlib.sha256((json.dumps(entries, indent=1) + "\n").encode()).hexdigest()
    (folder / checkpoints.MANIFEST).write_text(json.dumps({"files": entries, "sha256": digest}))


def test_gives_back_what_was_saved(folder):
    loaded = load_checkpoint(folder, KIND)
    assert loaded.document["note"] == "µ"
    assert loaded.document["provenance"]["packages"]["numpy"]
    assert loaded.task == TASK
    assert loaded.weights.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(loaded.weights[name], array)
        assert loaded.weights[name].dtype == array.dtype
    state = load_training_state(folder)
    assert state["step"] == 7
    assert state["rng"] == STATE["rng"]
    np.testing.assert_array_equal(state["transposed"], STATE["transposed"])


def test_run_folder_stands_for_its_best_then_its_last_checkpoint(tmp_path):
    run = tmp_path / "run"
    for step in (1, 2):
        save_checkpoint(run / "checkpoints" / str(step), KIND, WEIGHTS, {"step": step})
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(run, KIND)
    replace_link(run / "checkpoints" / "last", "2")
    assert load_checkpoint(run, KIND).document["step"] == 2
    replace_link(run / "checkpoints" / "best", "1")
    assert load_checkpoint(run, KIND).document["step"] == 1
    assert load_checkpoint(run / "checkpoints" / "last", KIND).document["step"] == 2


def test_never_overwrites(folder):
    with pytest.raises(CheckpointError, match="never overwritten"):
        save_checkpoint(folder, KIND, WEIGHTS, {})


def test_refuses_weights_that_are_not_finite(tmp_path):
    with pytest.raises(CheckpointError, match="not finite in bad"):
        save_checkpoint(tmp_path / "one", KIND, {"good": np.ones(2), "bad": np.array([1.0, np.nan])}, {})
    assert list(tmp_path.iterdir()) == []


# F43: killed while it was being written. What a kill leaves behind is the folder under its unfinished name.
def test_killed_while_saving_leaves_no_checkpoint(tmp_path, monkeypatch):
    run = tmp_path / "checkpoints"
    save_checkpoint(run / "1", KIND, WEIGHTS, {"step": 1})
    replace_link(run / "last", "1")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(run / "2", KIND, WEIGHTS, {"step": 2})
    assert load_checkpoint(run, KIND).document["step"] == 1
    save_checkpoint(run / "2", KIND, WEIGHTS, {"step": 2})
    prune_checkpoints(run, keep=5)
    assert sorted(path.name for path in run.iterdir()) == ["1", "2", "last"]


def test_prunes_the_oldest_but_no_linked_one(tmp_path):
    for step in (1, 2, 3, 10):
        save_checkpoint(tmp_path / str(step), KIND, WEIGHTS, {})
    replace_link(tmp_path / "best", "1")
    replace_link(tmp_path / "last", "10")
    prune_checkpoints(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "10", "3", "best", "last"]


class TestDamage:
    # F24
    @pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.json"])
    def test_truncated_file_is_named(self, folder, name):
        os.truncate(folder / name, (folder / name).stat().st_size // 2)
        with pytest.raises(CheckpointError, match=rf"{name} has \d+ bytes, the manifest says \d+"):
            load_checkpoint(folder, KIND)

    # F25
    @pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.json"])
    @pytest.mark.parametrize("position", [0.0, 0.5, 0.999])
    def test_flipped_bit_is_named(self, folder, name, position):
        content = bytearray((folder / name).read_bytes())
        content[int(position * len(content))] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            load_checkpoint(folder, KIND)

    @pytest.mark.parametrize("name", ["training_state.safetensors", "training_state.json"])
    def test_damaged_training_state_is_named(self, folder, name):
        content = bytearray((folder / name).read_bytes())
        content[-2] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            load_training_state(folder)
        load_checkpoint(folder, KIND)  # what a policy needs is whole

    def test_any_flipped_bit_of_the_manifest_is_noticed(self, folder):
        path = folder / checkpoints.MANIFEST
        content = path.read_bytes()
        for position in range(0, len(content), 7):
            damaged = bytearray(content)
            damaged[position] ^= 4
            path.write_bytes(damaged)
            if json_or_none(damaged) != json.loads(content):
                with pytest.raises(CheckpointError, match=r"manifest\.json"):
                    load_checkpoint(folder, KIND)

    def test_missing_file_is_named(self, folder):
        (folder / "weights.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"cannot read .*weights\.safetensors"):
            load_checkpoint(folder, KIND)

    def test_no_training_state_is_said(self, tmp_path):
        folder = save_checkpoint(tmp_path / "one", KIND, WEIGHTS, {})
        with pytest.raises(CheckpointError, match="no training state"):
            load_training_state(folder)

    def test_huge_manifest_is_not_parsed(self, folder):
        (folder / checkpoints.MANIFEST).write_text("[" + " " * 100_000 + "]")
        with pytest.raises(CheckpointError, match="more than 65536 are not accepted"):
            load_checkpoint(folder, KIND)

    @pytest.mark.parametrize("text", ["[" * 20_000, "{", "[]", "NaN"])
    def test_malformed_document_is_named(self, folder, text):
        (folder / "checkpoint.json").write_text(text)
        resign(folder)
        with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
            load_checkpoint(folder, KIND)


def json_or_none(content: bytes | bytearray) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


class TestHostile:
    # F26
    def test_f26_pickle_is_never_executed(self, folder, tmp_path):
        canary = tmp_path / "canary"
        evil = pickle.dumps(Evil(str(canary)))
        for name in ("weights.safetensors", "training_state.safetensors", "checkpoint.json"):
            victim = save_checkpoint(tmp_path / f"copy of {name}", KIND, WEIGHTS, {}, STATE)
            (victim / name).write_bytes(evil)
            resign(victim)
            with pytest.raises(CheckpointError, match=name):
                load_training_state(victim) if "training" in name else load_checkpoint(victim, KIND)
        alone = tmp_path / "model.pt"
        alone.write_bytes(evil)
        with pytest.raises(CheckpointError, match="Pickled checkpoints are never loaded"):
            load_checkpoint(alone, KIND)
        assert not canary.exists()
        pickle.loads(evil)  # the canary does sing
        assert canary.exists()

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "sub/weights.safetensors", "weights.pkl"])
    def test_names_in_the_manifest_cannot_lead_out_of_the_folder(self, folder, name):
        entries = json.loads((folder / checkpoints.MANIFEST).read_text())["files"]
        write_manifest(folder, {**entries, name: {"size": 1, "sha256": "0" * 64}})
        with pytest.raises(CheckpointError, match=r"are no checkpoint files; allowed: checkpoint\.json"):
            load_checkpoint(folder, KIND)

    @pytest.mark.parametrize("entries", [{}, {"weights.safetensors": 3}, {"checkpoint.json": {"size": 1}}])
    def test_incomplete_manifest_is_refused(self, folder, entries):
        write_manifest(folder, entries)
        with pytest.raises(CheckpointError, match=r"manifest\.json"):
            load_checkpoint(folder, KIND)


class Evil:
    """Creates a file when unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


class TestOtherUse:
    def test_other_kind_is_refused(self, folder):
        with pytest.raises(CheckpointError, match="of kind 'test', expected 'skill_module'"):
            load_checkpoint(folder, "skill_module")

    def test_newer_format_is_refused(self, tmp_path):
        folder = save_checkpoint(tmp_path / "one", KIND, WEIGHTS, {"format_version": 99})
        with pytest.raises(CheckpointError, match="format 99; this version reads 1"):
            load_checkpoint(folder, KIND)

    # F27
    def test_every_difference_to_another_task_is_listed(self, folder):
        terms = (replace(TASK.obs.terms[0], name="palm_position"), *TASK.obs.terms[1:])
        other = replace(TASK, name="push", control_period_s=0.1, obs=ObsSpec(TASK.obs.frames, TASK.obs.joints, terms))
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(folder, KIND).require_task(other)
        message = str(caught.value)
        assert "name: 'reach' != 'push'" in message
        assert "control_period_s: 0.04 != 0.1" in message
        assert "'gripper_position' != 'palm_position'" in message

    def test_interface_may_be_shared_by_other_tasks(self, folder):
        loaded = load_checkpoint(folder, KIND)
        loaded.require_task(TASK)
        similar = TaskSpec("push", TASK.obs, TASK.action, horizon=99)
        loaded.require_task(similar, interface_only=True)
        with pytest.raises(CheckpointError, match="name"):
            loaded.require_task(similar)

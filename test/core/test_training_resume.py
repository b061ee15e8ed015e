"""Skill training that is killed or started again: it continues to the same bits, or says why it does not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skill_fixtures import small_config, training_config, write_reaching_data
from skill_runs import finished_run, no_plots, reaching_data  # noqa: F401 - fixtures

from reskill_core.checkpoint import load_checkpoint, load_training_state
from reskill_core.config import save_config
from reskill_core.errors import CheckpointError
from reskill_core.models.config import EncoderConfig
from reskill_core.models.spirl.config import DecoderConfig, SpirlConfig, SpirlEncoderConfig, SpirlPriorConfig
from reskill_core.runtime import load_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.training.metrics import read_metrics
from reskill_core.training.skill_learner import SkillLearner
from reskill_core.training.skill_trainer import train_skills

# How often the tests that kill a process do so.
KILLS = int(os.environ.get("RESKILL_KILLS", "2"))
_CLOCK_TAGS = ("train/windows_per_s", "train/data_share")


def rows_without_clock(run: Path) -> list[dict[str, float]]:
    return [{tag: value for tag, value in row.items() if tag not in _CLOCK_TAGS} for row in read_metrics(run)]


def assert_same_run(one: Path, other: Path) -> None:
    """Same weights, training state and metrics, to the last bit."""
    for load in (lambda run: load_checkpoint(run / "checkpoints/last", SKILL_MODULE_KIND).weights, load_training_state):
        expected, found = load(one), load(other)
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            np.testing.assert_equal(found[name], value, err_msg=name)
    assert rows_without_clock(one) == rows_without_clock(other)


class TestResume:
    # F43: SIGKILL at random moments, among them while a checkpoint is being written; the same command continues to
    # the same bits.
    @pytest.mark.timeout(300 + 100 * KILLS)
    def test_killed_training_continues_to_the_same_bits(self, finished, tmp_path):
        rng = np.random.default_rng()
        kills, runs = 0, 0
        while kills < KILLS:
            config = replace(finished[0], out=str(tmp_path / f"killed {runs}"))
            if _killed_at_random(config, tmp_path / "config.yaml", rng):
                kills += 1
            else:
                assert_same_run(finished[1].run, Path(config.out))
                runs += 1
        train_skills(config, show_progress=False)
        assert_same_run(finished[1].run, Path(config.out))

    @pytest.mark.parametrize("changes", [{"encoder": EncoderConfig("lstm", (8,))}, {"norm": "batch"}])
    def test_interrupted_between_checkpoints(self, data, tmp_path, changes, monkeypatch):
        model = small_config(**changes)
        whole = train_skills(training_config(data, tmp_path / "whole", model=model), show_progress=False)
        config = training_config(data, tmp_path / "again", model=model)
        with monkeypatch.context() as patch:
            patch.setattr(SkillLearner, "update", _interrupt_after(SkillLearner.update, 27))
            with pytest.raises(KeyboardInterrupt):
                train_skills(config, show_progress=False)
        assert read_metrics(tmp_path / "again")[-1]["step"] == 25
        train_skills(config, show_progress=False)
        assert_same_run(whole.run, tmp_path / "again")

    def test_killed_between_checkpoint_and_link(self, data, finished, tmp_path, monkeypatch):
        config = replace(finished[0], out=str(tmp_path / "run"))

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        train_skills(replace(config, steps=40), show_progress=False)
        run = tmp_path / "run" / "checkpoints"
        # As if killed after step 40 was written and before `last` moved there.
        (run / "last").unlink()
        (run / "last").symlink_to("00000030")
        with monkeypatch.context() as patch:
            patch.setattr(SkillLearner, "update", killed)
            with pytest.raises(KeyboardInterrupt):
                train_skills(config, show_progress=False)
        assert not (run / "00000040").exists()
        train_skills(config, show_progress=False)
        assert_same_run(finished[1].run, tmp_path / "run")

    def test_finished_run_is_left_as_it_is(self, finished):
        config, result = finished
        before = (result.run / "metrics.jsonl").read_text()
        again = train_skills(config, show_progress=False)
        assert again == result
        assert (result.run / "metrics.jsonl").read_text() == before

    def test_runs_of_one_seed_are_equal_and_of_two_are_not(self, finished, tmp_path):
        same = replace(finished[0], out=str(tmp_path / "same"))
        train_skills(same, show_progress=False)
        assert_same_run(finished[1].run, tmp_path / "same")
        other = train_skills(replace(same, out=str(tmp_path / "other"), seed=1), show_progress=False)
        assert other.validation != finished[1].validation

    def test_other_settings_are_refused_one_by_one(self, finished):
        config = replace(finished[0], beta=0.5, model=replace(finished[0].model, latent_dim=2))
        with pytest.raises(CheckpointError) as caught:
            train_skills(config, show_progress=False)
        message = str(caught.value)
        assert "training.beta: 0.001 != 0.5" in message
        assert "training.model.latent_dim: 3 != 2" in message
        assert "out=" in message

    def test_other_data_are_refused(self, finished, tmp_path):
        other = write_reaching_data(tmp_path / "other", episodes=41)
        with pytest.raises(CheckpointError, match=r"  - data: [0-9a-f]{12} != [0-9a-f]{12}\n"):
            train_skills(replace(finished[0], data=str(other)), show_progress=False)

    def test_moved_folders_continue(self, finished, tmp_path, data):
        shutil.copytree(finished[1].run, tmp_path / "moved", symlinks=True)
        shutil.copytree(data, tmp_path / "data")
        config = replace(finished[0], out=str(tmp_path / "moved"), data=str(tmp_path / "data"))
        assert train_skills(config, show_progress=False).validation == finished[1].validation

    def test_damaged_last_checkpoint_is_named(self, data, tmp_path):
        config = training_config(data, tmp_path / "run", steps=10)
        train_skills(config, show_progress=False)
        weights = tmp_path / "run" / "checkpoints" / "last" / "weights.safetensors"
        os.truncate(weights, 100)
        with pytest.raises(CheckpointError, match=r"weights\.safetensors has 100 bytes"):
            train_skills(config, show_progress=False)

    def test_a_run_that_another_process_trains_is_left_alone(self, finished):
        command = [sys.executable, "-c", _HOLD, str(finished[1].run)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            with pytest.raises(CheckpointError, match="being written to by somebody else"):
                train_skills(finished[0], show_progress=False)
            holder.communicate()
        assert train_skills(finished[0], show_progress=False) == finished[1]


_HOLD = """
import sys
from pathlib import Path
from reskill_core.training import run_folder
with run_folder.locked(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""

_RUN = """
import sys
from reskill_core.config import load_config
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.training.skill_trainer import SkillTrainer, train_skills
train_skills(load_config(SkillTrainingConfig, sys.argv[1]), show_progress=False)
"""


def _killed_at_random(config, path, rng):
    """Run training in a process and kill it when it has logged a random number of rows; False if it finished first."""
    save_config(config, path)
    process = subprocess.Popen([sys.executable, "-c", _RUN, str(path)])
    metrics = Path(config.out) / "metrics.jsonl"
    rows = _lines(metrics) + rng.integers(8)
    try:
        while process.poll() is None and _lines(metrics) < rows:
            time.sleep(1e-3)
        time.sleep(rng.uniform(0, 0.03))  # into a training step, a validation or a checkpoint
    finally:
        process.kill()
        code = process.wait()
    return code == -signal.SIGKILL


def _lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def _interrupt_after(method, calls):
    made = 0

    def limited(*args):
        nonlocal made
        made += 1
        if made > calls:
            raise KeyboardInterrupt
        return method(*args)

    return limited


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("prior", ["flow", "mixture"])
def test_a_gpu_trains_what_a_cpu_acts_by(data: Path, tmp_path: Path, prior: str) -> None:
    """To nearly the same losses."""
    model = SpirlConfig(
        horizon=4,
        latent_dim=3,
        encoder=SpirlEncoderConfig(hidden=(16,)),
        decoder=DecoderConfig(kind="open_loop", hidden=(16,)),
        prior=SpirlPriorConfig(kind=prior, hidden=(12,), ensemble=2),  # type: ignore[arg-type]
    )
    losses = {}
    for device in ("cpu", "cuda"):
        config = training_config(data, tmp_path / device, model=model, steps=20, device=device)
        losses[device] = train_skills(config, show_progress=False).validation["validation/loss"]
        load_policy(tmp_path / device, latent_source="standard_normal")
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=0.02)

"""Skill training: it learns, it refuses what would spoil a run, and it leaves what tells about it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from skill_fixtures import TASK, random_model, small_config, training_config, write_reaching_data
from skill_runs import finished_run, no_plots, reaching_data  # noqa: F401 - fixtures

import reskill_core
from reskill_core.checkpoint import load_checkpoint, load_training_state
from reskill_core.config import config_from_dict, config_to_dict, load_config
from reskill_core.data import DemoDataset, write_splits
from reskill_core.errors import ConfigError, DataError, TrainingError
from reskill_core.models.config import FeatureConfig
from reskill_core.resources import config_folder
from reskill_core.runtime import SkillModule
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.seeding import EPISODES
from reskill_core.training.config import OptimiserConfig, SkillTrainingConfig
from reskill_core.training.metrics import MetricsLogger, read_metrics
from reskill_core.training.skill_learner import SkillLearner, learning_rate_factor
from reskill_core.training.skill_trainer import train_skills
from reskill_core.training.split import held_out_episodes, require_demonstrations
from reskill_sim.cli.train_skills import add_parser


class TestLearning:
    def test_learns_to_reconstruct_and_the_prior_to_predict(self, data, tmp_path):
        optimiser = OptimiserConfig(learning_rate=5e-3, prior_learning_rate=5e-3, warmup_steps=20)
        config = training_config(data, tmp_path / "run", optimiser=optimiser, steps=200, validate_every=100)
        result = train_skills(config, show_progress=False)
        assert result.validation["validation/action_mse"] < 0.03
        first = read_metrics(result.run)[0]["train/reconstruction"]
        assert result.validation["validation/reconstruction"] < 0.2 * first
        assert result.validation["validation/prior_nll"] < result.validation["validation/normal_nll"] - 1

    def test_leaves_a_complete_run_folder(self, finished):
        config, result = finished
        for name in ("config.yaml", "metrics.jsonl", "plots/losses.png", "plots/actions.png"):
            assert (result.run / name).stat().st_size > 0, name
        assert list((result.run / "tensorboard").glob("events*"))
        assert load_config(SkillTrainingConfig, result.run / "config.yaml") == config
        names = {path.name for path in (result.run / "checkpoints").iterdir()}
        assert names == {"00000030", "00000040", "best", "last", f"{result.best_step:08d}"}
        module = SkillModule.load(result.run)
        assert module.task_spec == TASK
        assert module.checkpoint.document["validation"] == result.validation

    def test_best_checkpoint_is_the_one_of_the_lowest_validation_loss(self, data, tmp_path, monkeypatch):
        monkeypatch.setattr(SkillLearner, "validate", _losses_in_turn(4.0, 2.0, 3.0, 5.0))
        result = train_skills(training_config(data, tmp_path / "run", keep_checkpoints=1), show_progress=False)
        assert result.best_step == 20
        assert result.validation == {"validation/loss": 2.0}
        assert result.checkpoint.resolve().name == "00000020"
        assert sorted(path.name for path in result.checkpoint.parent.glob("0*")) == ["00000020", "00000040"]

    def test_stops_early_when_validation_stands_still(self, data, tmp_path, monkeypatch):
        monkeypatch.setattr(SkillLearner, "validate", _losses_in_turn(4.0, 2.0, 2.0, 2.5, 1.0))
        config = training_config(data, tmp_path / "run", patience=2, steps=1000)
        result = train_skills(config, show_progress=False)
        assert (result.steps, result.best_step) == (40, 20)

    def test_update_moves_every_parameter(self):
        model = random_model(small_config(norm="batch"))
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        learner = SkillLearner(model, OptimiserConfig(), beta=1e-3, seed=0)
        rng = np.random.default_rng(0)
        window = rng.normal(size=(16, 4, TASK.obs.dim)).astype(np.float32) * np.float32(0.1) + np.float32(0.8)
        learner.update(window, rng.uniform(-1, 1, (16, 4, 4)).astype(np.float32), rate=1.0)
        still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
        assert still == []

    def test_learning_rate_by_hand(self):
        cosine = OptimiserConfig(warmup_steps=10)
        assert learning_rate_factor(cosine, 0, 100) == pytest.approx(0.1)
        assert learning_rate_factor(cosine, 50, 100) == pytest.approx(0.5)
        assert learning_rate_factor(cosine, 99, 100) < 1e-3
        assert learning_rate_factor(replace(cosine, schedule="constant"), 99, 100) == 1

    def test_held_out_episodes_are_those_not_trained_on(self, data, finished):
        dataset = DemoDataset.open(data)
        checkpoint = load_checkpoint(finished[1].run, SKILL_MODULE_KIND)
        held_out = held_out_episodes(checkpoint, dataset).episodes
        assert len(held_out) == 8
        np.testing.assert_array_equal(held_out, dataset.split(0.2, 0)[1])

    def test_a_split_kept_with_the_data_is_used(self, tmp_path):
        folder = write_reaching_data(tmp_path / "data", episodes=10)
        parts = write_splits(DemoDataset.open(folder), {"train": 0.5, "validation": 0.5}, seed=3)
        result = train_skills(training_config(folder, tmp_path / "run", steps=10), show_progress=False)
        checkpoint = load_checkpoint(result.run, SKILL_MODULE_KIND)
        held_out = held_out_episodes(checkpoint, DemoDataset.open(folder))
        np.testing.assert_array_equal(held_out.episodes, parts["validation"])
        assert held_out.note == "5 of 10 episodes, not learnt from; they chose the best checkpoint"

    def test_a_split_without_the_parts_that_training_needs_is_refused(self, tmp_path):
        folder = write_reaching_data(tmp_path / "data", episodes=10)
        write_splits(DemoDataset.open(folder), {"train": 0.5, "test": 0.5}, seed=3)
        with pytest.raises(DataError, match="has no part validation, only train, test"):
            train_skills(training_config(folder, tmp_path / "run", steps=10), show_progress=False)

    def test_episodes_of_evaluations_are_refused_and_all_others_are_not(self):
        reported = EPISODES["reported evaluations"]
        other = [0, reported.start - 1, reported.stop]
        require_demonstrations(_demonstrated(other))
        for seed in (reported.start, reported.stop - 1):
            with pytest.raises(DataError, match=f"holds 1 episodes that evaluations are made of, such as seed {seed}"):
                require_demonstrations(_demonstrated([*other, seed]))


def _demonstrated(seeds):
    return SimpleNamespace(folder="data", seed=np.array(seeds))


def _losses_in_turn(*losses):
    remaining = list(losses)
    return lambda learner, *batch: {"loss": remaining.pop(0)}


class TestNotFinite:
    # F44
    def test_stops_with_the_batch_and_keeps_the_last_good_checkpoint(self, data, tmp_path, monkeypatch):
        config = training_config(data, tmp_path / "run")
        update, step = SkillLearner.update, iter(range(100))

        def poisoned(learner, observation, action, rate):
            if next(step) == 25:
                observation[3, 1, 0] = np.nan
            return update(learner, observation, action, rate)

        monkeypatch.setattr(SkillLearner, "update", poisoned)
        with pytest.raises(TrainingError, match=r"step 25: not finite: .*reconstruction") as caught:
            train_skills(config, show_progress=False)
        folder = tmp_path / "run" / "not_finite_batch"
        assert str(folder) in str(caught.value)
        batch = load_file(folder / "batch.safetensors")
        assert np.argwhere(np.isnan(batch["observation"])).tolist() == [[3, 1, 0]]
        report = json.loads((folder / "report.json").read_text())
        assert report["terms"]["reconstruction"] == "nan"
        assert load_training_state(tmp_path / "run" / "checkpoints" / "last")["progress"]["step"] == 20

    def test_leaves_the_model_as_it_was(self):
        model = random_model(small_config())
        learner = SkillLearner(model, OptimiserConfig(), beta=1e-3, seed=0)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        window = np.full((2, 4, TASK.obs.dim), np.nan, np.float32)
        with pytest.raises(TrainingError):
            learner.update(window, np.zeros((2, 4, 4), np.float32), rate=1.0)
        assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


class TestMetrics:
    def test_every_tag_is_in_the_glossary(self, finished):
        readme = (Path(reskill_core.__file__).parent / "README.md").read_text()
        glossary = readme.split("### Metrics")[1].split("\n## ")[0]
        explained = set(re.findall(r"^\| `(\w+/\w+)`", glossary, re.MULTILINE))
        logged = {tag for row in read_metrics(finished[1].run) for tag in row if tag != "step"}
        of_other_models = {"train/beta", "train/image_loss", "validation/disagreement"}
        assert logged == explained - of_other_models

    def test_torn_and_lost_rows_are_dropped_on_resume(self, tmp_path):
        with MetricsLogger(tmp_path, 0) as logger:
            for step in (1, 2, 3):
                logger.log(step, {"train/loss": 1.0 / step})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 4, "train/lo')
        with MetricsLogger(tmp_path, 2):
            pass
        assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]
        (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"steps": 2}\n')
        with pytest.raises(DataError, match="line 2 is no row of metrics"):
            read_metrics(tmp_path)

    @pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
    def test_asked_for_and_missing_wandb_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_PROJECT", "skills")
        with pytest.raises(ConfigError, match="pip install wandb, or unset WANDB_PROJECT"):
            MetricsLogger(tmp_path, 0)

    @pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
    def test_wandb_gets_one_run_that_goes_on(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_PROJECT", "skills")
        monkeypatch.setenv("WANDB_MODE", "offline")
        for step in (5, 7):
            with MetricsLogger(tmp_path, step) as logger:
                logger.log(step, {"train/loss": 1.0 / step})
        run_id = (tmp_path / "wandb_run_id").read_text()
        logs = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
        assert len(logs) == 2
        assert all(path.name == f"run-{run_id}.wandb" and b"train/loss" in path.read_bytes() for path in logs)


class TestConfiguration:
    def test_shipped_configurations_are_valid_and_differ_from_nothing_unknown(self):
        kinds = {}
        for path in sorted((config_folder() / "skills").glob("*.yaml")):
            model = config_to_dict(load_config(SkillTrainingConfig, path).model)
            kinds[path.stem] = model["kind"]
            assert model["features"]["relative"] or model["kind"] != "reskill"
        assert kinds == {"block": "reskill", "hook": "reskill", "kitchen": "spirl", "maze_images": "spirl"}

    def test_all_faults_at_once(self):
        document = {"data": "d", "out": "o", "steps": 0, "validation_fraction": 1.5, "log_every": 7}
        with pytest.raises(ConfigError) as caught:
            config_from_dict(SkillTrainingConfig, {**document, "optimiser": {"learning_rate": 0}})
        message = str(caught.value)
        assert all(name in message for name in ("steps", "validation_fraction", "validate_every", "learning_rate"))

    def test_model_that_does_not_fit_the_task(self, data, tmp_path):
        features = FeatureConfig(relative=(("goal_position", "block_position"),))
        config = training_config(data, tmp_path / "run", model=small_config(features=features))
        with pytest.raises(ConfigError, match="'block_position' is no position term"):
            train_skills(config, show_progress=False)

    def test_episodes_shorter_than_a_skill(self, data, tmp_path):
        config = training_config(data, tmp_path / "run", model=small_config(horizon=50))
        with pytest.raises(DataError, match="no window of 50 steps"):
            train_skills(config, show_progress=False)


def test_command_line(data, tmp_path, capsys):
    root = argparse.ArgumentParser()
    add_parser(root.add_subparsers())
    overrides = ["steps=10", "validate_every=10", "log_every=5", "batch_size=16", "threads=1", f"out={tmp_path}/run"]
    relative = "model.features.relative=[[goal_position,gripper_position]]"
    options = root.parse_args(["train-skills", "skills/block.yaml", f"data={data}", relative, *overrides, "--quiet"])
    assert options.handler(options) == 0
    assert "trained 10 steps" in capsys.readouterr().out
    assert SkillModule.load(tmp_path / "run").horizon == 10

"""Runs of skill training that take a second."""

from __future__ import annotations

import pytest
from skill_fixtures import training_config, write_reaching_data

from reskill_core.training.skill_trainer import SkillTrainer, train_skills


@pytest.fixture(scope="module", name="data")
def reaching_data(tmp_path_factory):
    return write_reaching_data(tmp_path_factory.mktemp("data") / "reach")


@pytest.fixture(scope="module", name="finished")
def finished_run(data, tmp_path_factory):
    """A run that was never interrupted."""
    config = training_config(data, tmp_path_factory.mktemp("runs") / "whole")
    return config, train_skills(config, show_progress=False)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    """Plots take most of the time of a small run; the run of ``finished`` has them."""
    monkeypatch.setattr(SkillTrainer, "plot", lambda trainer: None)

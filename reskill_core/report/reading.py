"""Reading of training runs of agents, and of their state estimators, from disk.

Figures come from ``evaluation/`` in the run folder, written by ``reskill evaluate RUN --policy agent --out
RUN/evaluation``. If it is missing, or outdated because the run has a new best checkpoint, they come from the last
evaluation during training, and are marked as such.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import load_config, read_yaml
from reskill_core.errors import DataError
from reskill_core.estimation.config import EstimatorTrainingConfig
from reskill_core.lineage import LINEAGE_KEY, Lineage
from reskill_core.provenance import simulator_of
from reskill_core.report.runs import AGENT_POLICY, AgentRun, LearningCurve, PolicyOutcomes
from reskill_core.results import (
    POLICIES_FILE,
    ROBUSTNESS_FILE,
    EpisodeOutcome,
    RobustnessResults,
    is_result_of,
    parsed,
    read_policies,
    read_result,
)
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.runtime.agent import AGENT_KIND, ESTIMATOR_KEY
from reskill_core.training.metrics import METRICS_FILE, STEP, read_metrics
from reskill_core.training.run_folder import CONFIG_FILE, EVALUATION_FOLDER


def read_run(folder: Path) -> AgentRun:
    """Read the run folder of an agent, or of a state estimator for one.

    Raises:
        ConfigError: its configuration is not that of such a run.
        CheckpointError: it has no checkpoint, or a damaged one.
        DataError: a file is missing or damaged, or the agent was never evaluated.
    """
    for name in (CONFIG_FILE, METRICS_FILE):
        if not (folder / name).is_file():
            raise DataError(f"{folder} is no run folder of reskill train-agent or train-estimator: it has no {name}")
    checkpoint = load_checkpoint(folder, AGENT_KIND)
    # An agent may have an estimator, too, with which it learnt on; its configuration names a task.
    is_estimators = ESTIMATOR_KEY in checkpoint.document and "task" not in read_yaml(folder / CONFIG_FILE)
    config: AgentTrainingConfig | EstimatorTrainingConfig = (
        load_config(EstimatorTrainingConfig, folder / CONFIG_FILE)
        if is_estimators
        else load_config(AgentTrainingConfig, folder / CONFIG_FILE)
    )
    evaluation = folder / EVALUATION_FOLDER
    documents = {
        name: read_result(evaluation / name)
        for name in (POLICIES_FILE, ROBUSTNESS_FILE)
        if (evaluation / name).is_file()
    }
    outdated = tuple(name for name, document in documents.items() if is_result_of(document, checkpoint) is False)
    current = documents.keys() - set(outdated)
    own = [
        one
        for one in (read_outcomes(evaluation) if POLICIES_FILE in current else ())
        if (one.task, one.policy) == (checkpoint.task.name, AGENT_POLICY)
        and one.checkpoint in (checkpoint.sha256, None)
    ]
    return AgentRun(
        folder,
        checkpoint.task.name,
        config,
        _learning_curve(folder),
        own[0] if own else None,
        parsed(RobustnessResults, documents[ROBUSTNESS_FILE], evaluation / ROBUSTNESS_FILE)
        if ROBUSTNESS_FILE in current
        else None,
        replace(Lineage.of(checkpoint.document), agent=checkpoint.sha256),
        outdated,
    )


def read_outcomes(folder: Path) -> list[PolicyOutcomes]:
    """Read the results of ``reskill evaluate --policy … --out FOLDER``, by task, policy and checkpoint.

    Raises:
        DataError: a file is missing or damaged.
    """
    results, episodes = read_policies(folder)
    try:
        profile, variation = (results.config[key] for key in ("profile", "variation"))
    except KeyError as error:
        raise DataError(f"{folder / POLICIES_FILE} is not of reskill evaluate --policy: it lacks {error}") from error
    simulator = simulator_of(results.provenance)
    lineages = [(one.task, one.policy, Lineage.of({LINEAGE_KEY: one.lineage})) for one in results.results]
    settings = {(task, policy, of.agent or of.skills): of.settings for task, policy, of in lineages}
    grouped: dict[tuple[str, str, str | None], list[EpisodeOutcome]] = {}
    for one in episodes:
        grouped.setdefault((one.task, one.policy, one.checkpoint), []).append(one)
    return [
        PolicyOutcomes(*key[:2], tuple(rows), profile, variation, folder, simulator, key[2], settings.get(key))
        for key, rows in grouped.items()
    ]


def _learning_curve(folder: Path) -> LearningCurve:
    points, trained_s = [], 0.0
    for row in read_metrics(folder):
        trained_s = row.get("train/trained_s", trained_s)
        if {"evaluation/return", "evaluation/success"} <= row.keys():
            points.append((row[STEP], trained_s / 60.0, row["evaluation/return"], row["evaluation/success"]))
    if not points:
        raise DataError(
            f"{folder} has no evaluation yet; let it train until the first (evaluate_every=), or leave it out"
        )
    return LearningCurve(*np.array(points, dtype=float).T)

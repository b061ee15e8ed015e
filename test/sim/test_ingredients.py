"""What agents and results were made from: written down, and compared when they are used."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from reskill_core.checkpoint import CHECKPOINTS_FOLDER, load_checkpoint, load_training_state, save_checkpoint
from reskill_core.data import DemoDataset, write_splits
from reskill_core.errors import CheckpointError, DataError
from reskill_core.lineage import LINEAGE_KEY
from reskill_core.provenance import simulator_version
from reskill_core.report import read_outcomes
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_sim.cli.main import main
from reskill_sim.evaluation import PolicyEvaluationConfig, evaluate_policies
from reskill_sim.experiments.agent_training import train_agent
from reskill_sim.experiments.collect import CollectConfig, collect

# Bounds nothing but a test that hangs, on a machine however busy.
pytestmark = pytest.mark.timeout(900)


def agent_config(out: Path, **changes: object) -> AgentTrainingConfig:
    """A run of one iteration."""
    small = AgentTrainingConfig(
        "slippery_push", str(out), "skills/block", steps=80, num_envs=4, rollout_steps=20, profile="turbo", threads=0
    )
    return replace(small, **{"evaluation_episodes": 2, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of an agent; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "agent"
    train_agent(agent_config(folder), show_progress=False)
    return folder


@pytest.fixture(scope="module")
def other_skills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skills that fit where ``skills/block`` does, and are others."""
    shipped = load_checkpoint("skills/block", SKILL_MODULE_KIND)
    weights = {name: array * np.float32(1.01) for name, array in shipped.weights.items()}
    return save_checkpoint(tmp_path_factory.mktemp("skills") / "other", shipped.kind, weights, shipped.document)


def relabelled(run: Path, out: Path, lineage: Mapping[str, Any] | None) -> Path:
    """A copy of a run whose last checkpoint has another lineage or, for None, is of before there were lineages."""
    shutil.copytree(run, out, symlinks=True)
    folder = (out / CHECKPOINTS_FOLDER / "last").resolve()
    checkpoint, state = load_checkpoint(folder, AGENT_KIND), load_training_state(folder)
    document = {key: value for key, value in checkpoint.document.items() if key != LINEAGE_KEY}
    document |= {LINEAGE_KEY: lineage} if lineage else {}
    shutil.rmtree(folder)
    save_checkpoint(folder, AGENT_KIND, checkpoint.weights, document, state)
    return out


def test_an_agent_says_what_it_was_made_from(run: Path) -> None:
    lineage = load_checkpoint(run, AGENT_KIND).document[LINEAGE_KEY]
    variation = lineage.pop("variation")
    assert lineage == {
        "skills": load_checkpoint("skills/block", SKILL_MODULE_KIND).sha256,
        "task": "slippery_push",
        "profile": "turbo",
        "simulator": simulator_version(),
    }
    assert variation["friction"] == [1.0, 1.0]
    assert variation["spawn"] == 1.0


def test_an_agent_is_not_continued_with_other_skills(run: Path, other_skills: Path, tmp_path: Path) -> None:
    lineage = load_checkpoint(run, AGENT_KIND).document[LINEAGE_KEY]
    copy = relabelled(run, tmp_path / "run", lineage)
    with pytest.raises(CheckpointError, match=r"run != now\):\n  - skills: [0-9a-f]{12} != [0-9a-f]{12}\nrestore them"):
        train_agent(agent_config(copy, skills=str(other_skills)), show_progress=False)
    assert train_agent(agent_config(copy), show_progress=False).steps == 80


OTHER_WORLD: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "skills": (lambda _: "0" * 64, "skills: 000000000000 != "),
    "profile": (lambda _: "exact", "profile: 'exact' != 'turbo'"),
    "variation": (lambda was: {**was, "mass": [0.5, 2.0]}, r"variation.mass: \[0.5, 2.0\] != \[1.0, 1.0\]"),
    "simulator": (lambda _: "mujoco 2.0.0", "simulator: 'mujoco 2.0.0' != 'mujoco "),
    "task": (lambda _: "block", "task: 'block' != 'slippery_push'"),
}


@pytest.mark.parametrize("name", OTHER_WORLD)
def test_an_agent_is_not_continued_with_another(name: str, run: Path, tmp_path: Path) -> None:
    lineage = load_checkpoint(run, AGENT_KIND).document[LINEAGE_KEY]
    flip, message = OTHER_WORLD[name]
    copy = relabelled(run, tmp_path / "run", {**lineage, name: flip(lineage[name])})
    with pytest.raises(CheckpointError, match=rf"run != now\):\n  - {message}[^\n]*\nrestore them"):
        train_agent(agent_config(copy), show_progress=False)


def test_of_an_older_agent_it_is_said_what_is_unknown(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = relabelled(run, tmp_path / "run", None)
    with caplog.at_level(logging.WARNING):
        train_agent(agent_config(copy), show_progress=False)
    assert "does not say its skills, task, profile, variation, simulator; taken to be as now" in caplog.text


def test_imitation_is_not_continued_with_other_demonstrations(tmp_path: Path) -> None:
    for name, first_seed in (("one", 0), ("other", 100)):
        collection = CollectConfig("slippery_push", 2, str(tmp_path / name), first_seed=first_seed, workers=1)
        collect(collection, show_progress=False)
    alone = AgentConfig(skills=False)
    config = agent_config(tmp_path / "run", agent=alone, imitation_updates=1, demonstrations=str(tmp_path / "one"))
    train_agent(config, show_progress=False)
    with pytest.raises(CheckpointError, match=r"  - data: [0-9a-f]{12} != [0-9a-f]{12}\n"):
        train_agent(replace(config, demonstrations=str(tmp_path / "other")), show_progress=False)


def test_each_of_several_checkpoints_has_its_own_rows(
    run: Path, other_skills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = load_checkpoint(run, AGENT_KIND)
    weights = {name: array * np.float32(0.5) for name, array in best.weights.items()}
    weak = save_checkpoint(tmp_path / "weak", AGENT_KIND, weights, best.document)
    options = ["--episodes", "3", "--profile", "turbo", "--threads", "0", "--quiet", "--out", str(tmp_path / "out")]
    given = [str(run), str(weak), str(best.folder)]
    assert main(["evaluate", *given, "--policy", "agent", "zero", *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    hashes = [best.sha256, load_checkpoint(weak, AGENT_KIND).sha256]
    # The third is the first once more, and zero acts by none.
    for line, name, sha256 in zip(printed[2:4], given[:2], hashes, strict=True):
        assert line.startswith(f"| slippery_push | agent | {name} ({str(sha256)[:12]}) | ")
    assert printed[4].startswith("| slippery_push | zero |  | ")
    assert printed[2].split("|")[4:] != printed[3].split("|")[4:]
    document = json.loads((tmp_path / "out" / "policies.json").read_text())
    first, second, zero = document["results"]
    assert [first["checkpoint"], second["checkpoint"], zero["checkpoint"]] == [*given[:2], ""]
    assert [first["lineage"]["agent"], second["lineage"]["agent"]] == hashes
    assert first["lineage"]["skills"] == load_checkpoint("skills/block", SKILL_MODULE_KIND).sha256
    assert "agent" not in zero["lineage"]
    assert (zero["lineage"]["profile"], zero["lineage"]["simulator"]) == ("turbo", simulator_version())
    rows = [json.loads(line) for line in (tmp_path / "out" / "episodes.jsonl").read_text().splitlines()]
    assert [row["checkpoint"] for row in rows] == [hashes[0]] * 3 + [hashes[1]] * 3 + [None] * 3
    assert main(["evaluate", "skills/block", str(other_skills), "--policy", "prior", *options]) == 0
    assert [line.split(" | ")[2].split()[0] for line in capsys.readouterr().out.splitlines()[2:4]] == [
        "skills/block",
        str(other_skills),
    ]


def test_figures_and_episodes_of_two_evaluations_are_not_mixed(tmp_path: Path) -> None:
    config = PolicyEvaluationConfig(("zero",), ("block",), (), str(tmp_path), 2, "turbo", threads=0)
    evaluate_policies(config, show_progress=False)
    before = (tmp_path / "policies.json").read_text()
    evaluate_policies(replace(config, profile="fast"), show_progress=False)
    [outcomes] = read_outcomes(tmp_path)
    assert (outcomes.profile, outcomes.simulator, len(outcomes.episodes)) == ("fast", simulator_version(), 2)
    # As if it was killed before it had replaced both.
    (tmp_path / "policies.json").write_text(before)
    (tmp_path / "episodes.jsonl").write_text((tmp_path / "episodes.jsonl").read_text().replace("-", ""))
    with pytest.raises(DataError, match=r"episodes.jsonl has other episodes than policies.json beside it"):
        read_outcomes(tmp_path)


def test_an_agent_acts_on_its_own_task_alone_and_on_others_if_there_is_no_better_one(tmp_path: Path) -> None:
    agents = ("agents/clean_up", "agents/clean_up_varied", "agents/slippery_push")
    config = PolicyEvaluationConfig(("agent",), ("clean_up", "block"), agents, str(tmp_path), 1, "turbo", threads=0)
    found = [(result.task, result.checkpoint) for result in evaluate_policies(config, show_progress=False)]
    assert found == [*(("clean_up", agent) for agent in agents[:2]), *(("block", agent) for agent in agents)]


def test_skills_are_judged_by_episodes_that_they_have_not_learnt_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, task, first_seed in (("data", "block", 0), ("more", "block", 100), ("push", "slippery_push", 0)):
        folder = str(tmp_path / name)
        collection = CollectConfig(task, 12, folder, first_seed=first_seed, profile="turbo", workers=1)
        collect(collection, show_progress=False)
    data, run = tmp_path / "data", tmp_path / "run"
    parts = write_splits(DemoDataset.open(data), {"train": 0.75, "validation": 0.25}, seed=0)
    settings = [f"data={data}", f"out={run}", "steps=2", "log_every=2", "validate_every=2", "batch_size=8", "--quiet"]
    assert main(["train-skills", "skills/block.yaml", *settings]) == 0
    write_splits(DemoDataset.open(data), {"train": 0.25, "validation": 0.75}, seed=1)
    options = ["--episodes", "3", "--threads", "0", "--quiet", "--out", str(tmp_path / "out")]
    found = {}
    for name in ("data", "more"):
        assert main(["evaluate", str(run), "--data", str(tmp_path / name), *options]) == 0
        found[name] = json.loads((tmp_path / "out" / "evaluation.json").read_text())
        assert f"held out: {found[name]['held_out']}\n" in capsys.readouterr().out
        rows = [json.loads(line) for line in (tmp_path / "out" / "episodes.jsonl").read_text().splitlines()]
        seeds = {row["seed"] for row in rows if row["diagnostic"] == "reconstruction"}
        assert seeds == (set(parts["validation"].tolist()) if name == "data" else {100, 101, 102})
    assert found["data"]["held_out"] == "3 of 12 episodes, not learnt from; they chose the best checkpoint"
    assert found["more"]["held_out"] == "12 of 12 episodes, none of them known to the model"
    checkpoint = load_checkpoint(run, SKILL_MODULE_KIND)
    for name, result in found.items():
        assert result["lineage"]["data"] == DemoDataset.open(tmp_path / name).content_hash()
        assert result["lineage"]["split"] == checkpoint.document[LINEAGE_KEY]["split"]
        assert result["lineage"]["skills"] == checkpoint.sha256
    assert main(["evaluate", str(run), "--data", str(tmp_path / "push"), *options]) == 2
    assert "was made for task 'block' and does not fit 'slippery_push'" in capsys.readouterr().err


def test_a_video_says_whom_it_shows(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--episodes", "1", "--width", "32", "--height", "32", "--out", str(tmp_path / "video.mp4")]
    assert main(["render", str(run), "--profile", "turbo", *small]) == 0
    best = load_checkpoint(run, AGENT_KIND)
    skills = best.document[LINEAGE_KEY]["skills"]
    assert f"  of agent {str(best.sha256)[:12]}, skills {skills[:12]}\n" in capsys.readouterr().out
    lineage = video_lineage(tmp_path / "video.mp4")
    assert [lineage["agent"], lineage["skills"], lineage["profile"]] == [best.sha256, skills, "turbo"]
    collect(CollectConfig("block", 1, str(tmp_path / "data"), workers=1), show_progress=False)
    assert main(["render", str(tmp_path / "data"), *small]) == 0
    content = DemoDataset.open(tmp_path / "data").content_hash()
    assert f"  of data {content[:12]}\n" in capsys.readouterr().out
    assert video_lineage(tmp_path / "video.mp4")["data"] == content


def video_lineage(path: Path) -> dict[str, Any]:
    """The lineage in a video's comment, read back by ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-"]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    [comment] = [line.removeprefix("comment=") for line in written.splitlines() if line.startswith("comment=")]
    # ffmpeg escapes what its format has a meaning for.
    [lineage] = json.loads(re.sub(r"\\(.)", r"\1", comment))[LINEAGE_KEY]
    return dict(lineage)

"""Evaluation of skill modules: what is measured, how windows are cut, and files that are left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skill_fixtures import block_episode

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.data import DemoDataset
from reskill_core.errors import DataError
from reskill_core.models.config import ReskillModelConfig
from reskill_core.models.io import module_contents
from reskill_core.models.skill_vae import SkillVae
from reskill_core.runtime import SkillModule
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.seeding import EVALUATION_SEED
from reskill_core.training.split import TRAIN, VALIDATION
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.rendering import MujocoRenderer, write_video
from reskill_sim.engine.simulator import Simulator
from reskill_sim.evaluation import SkillEvaluationConfig, evaluate_skills
from reskill_sim.evaluation.reconstruction import window_latents
from reskill_sim.evaluation.rollouts import policy_of, rollout_outcomes
from reskill_sim.evaluation.windows import best_of_samples, window_likelihood
from reskill_sim.experiments.collect import CollectConfig, collect
from reskill_sim.fetch.demonstrators import make_demonstrator
from reskill_sim.fetch.object_metrics import object_metrics
from reskill_sim.fetch.tasks import get_task

TASK = get_task("block")


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    folder = tmp_path_factory.mktemp("demonstrations")
    collect(CollectConfig(episodes=6, out=str(folder), workers=1), show_progress=False)
    return DemoDataset.open(folder)


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory, demonstrations: DemoDataset) -> Path:
    """An untrained skill module: enough to see what is measured."""
    return untrained(tmp_path_factory.mktemp("skills") / "one", demonstrations)


def untrained(folder: Path, demonstrations: DemoDataset, horizon: int = 10) -> Path:
    """A checkpoint of a skill module that has learnt from no episode."""
    torch.manual_seed(0)
    model = SkillVae.fitted(ReskillModelConfig(horizon=horizon), TASK.spec, demonstrations.observation)
    nobody = dict.fromkeys((TRAIN, VALIDATION), np.zeros(1, np.uint64))
    return save_checkpoint(folder, SKILL_MODULE_KIND, *module_contents(model, TASK.spec), episodes=nobody)


def test_outcome_by_hand() -> None:
    goal = [1.3, 0.8, 0.425]
    still = object_metrics(TASK.spec, block_episode(TASK.spec, [[1.3, 0.7, 0.425], [1.3, 0.71, 0.425]], goal))
    assert (still["moved"], still["lifted"], still["reached"]) == (False, False, False)
    assert still["final_distance_m"] == pytest.approx(0.09, abs=1e-6)
    through = object_metrics(
        TASK.spec, block_episode(TASK.spec, [[1.3, 0.7, 0.425], [1.3, 0.78, 0.46], [1.3, 0.9, 0.425]], goal)
    )
    assert (through["moved"], through["lifted"], through["reached"]) == (True, True, True)
    assert through["final_distance_m"] == pytest.approx(0.1, abs=1e-6)


def test_windows_follow_each_other_and_the_last_ends_with_the_episode(
    demonstrations: DemoDataset, module_folder: Path
) -> None:
    module = SkillModule.load(module_folder)
    uneven = np.flatnonzero(demonstrations.episode_lengths % 10)
    episode = demonstrations.episode(int(uneven[0]))
    length = episode.num_steps
    starts = [*range(0, length - 10, 10), length - 10]
    steps = np.array(starts)[:, None] + np.arange(10)
    expected, _ = module.encode(episode.observation[steps], episode.action[steps])
    np.testing.assert_array_equal(window_latents(module, episode), expected)


def test_rollouts_are_the_same_whatever_the_batch(module_folder: Path) -> None:
    module = SkillModule.load(module_folder)
    seeds = [EVALUATION_SEED + 1, EVALUATION_SEED]
    together = list(run_episodes(Simulator(TASK, 2), policy_of("prior", module, 2), seeds))
    alone = [next(run_episodes(Simulator(TASK), policy_of("prior", module, 1), [seed])) for seed in seeds]
    for episode in together:
        twin = alone[seeds.index(episode.seed)]
        assert np.array_equal(episode.observation, twin.observation)
        assert np.array_equal(episode.executed_action, twin.executed_action)


def test_demonstrations_reach_and_random_actions_do_not() -> None:
    task = get_task("block")
    skilled = rollout_outcomes(task, lambda n: make_demonstrator("block", num_envs=n), 8, 0, "exact")
    assert all(outcome.metrics["reached"] and outcome.metrics["moved"] for outcome in skilled)


def test_evaluation_leaves_table_files_and_pictures(
    module_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SkillEvaluationConfig(str(module_folder), out=str(tmp_path), episodes=4, threads=0)
    evaluation = evaluate_skills(config)
    assert evaluation.task == "block"
    assert " 12/12 " in capsys.readouterr().err
    assert any(line.strip().startswith("uniform") for line in evaluation.table())
    document = json.loads((tmp_path / "evaluation.json").read_text())
    assert document["rollouts"]["prior"]["moved"]["count"] == 4
    assert document["provenance"]["packages"]["mujoco"]
    assert document["lineage"]["skills"] == load_checkpoint(module_folder, SKILL_MODULE_KIND).sha256
    assert document["config"]["episodes"] == 4
    rows = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert [(row["diagnostic"], row["skills"]) for row in rows] == [
        ("rollout", source) for source in ("prior", "standard_normal", "uniform") for _ in range(4)
    ]
    first = evaluation.rollouts["prior"][0]
    told = {"seed": first.seed, **first.metrics, "success": first.success, "return": first.episode_return}
    assert rows[0] == {"diagnostic": "rollout", "skills": "prior", **told}
    for name in ("paths.png", "rollouts.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_likelihoods_are_of_the_same_windows_and_noise_at_every_look(
    module_folder: Path, demonstrations: DemoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reskill_sim.evaluation.windows.SAMPLED_STEPS", 80)
    module, episodes = SkillModule.load(module_folder), np.arange(6)
    first, second = (window_likelihood(module, demonstrations, episodes) for _ in range(2))
    assert first == second
    best = best_of_samples(module, demonstrations, episodes)
    assert best == best_of_samples(module, demonstrations, episodes)
    assert {estimate.count for estimate in best.values()} == {8}


def test_episodes_shorter_than_a_skill_are_not_judged_by(
    demonstrations: DemoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plot in ("plot_rollouts", "plot_paths"):
        monkeypatch.setattr(f"reskill_sim.evaluation.skills.{plot}", lambda *_: None)
    monkeypatch.setattr("reskill_sim.evaluation.windows.SAMPLED_STEPS", 1)
    lengths = demonstrations.episode_lengths
    longest = int(lengths.max())
    for extra in (0, 1):
        skills = untrained(tmp_path / f"skills_{extra}", demonstrations, longest + extra)
        out = str(tmp_path / f"out_{extra}")
        config = SkillEvaluationConfig(str(skills), str(demonstrations.folder), out, episodes=6, threads=0)
        if extra:
            with pytest.raises(DataError, match=f"holds out no episode of at least {longest + 1} steps"):
                evaluate_skills(config, show_progress=False)
        else:
            found = evaluate_skills(config, show_progress=False)
            assert len(found.reconstructions) == int((lengths == longest).sum())


def test_pictures_show_the_scene_and_videos_play(tmp_path: Path) -> None:
    import imageio.v3 as imageio

    simulator = Simulator(TASK)
    simulator.reset([0])
    with MujocoRenderer(TASK, 160, 120) as renderer:
        before = renderer.render(simulator.state()[0]).copy()
        for _ in range(5):
            simulator.step(np.array([[1.0, 1.0, 0.0, 0.0]]))
        after = renderer.render(simulator.state()[0]).copy()
    assert before.shape == (120, 160, 3)
    assert before.std() > 10
    assert not np.array_equal(before, after)
    write_video(tmp_path / "two.mp4", [before, after] * 5, 25.0)
    assert imageio.improps(tmp_path / "two.mp4", plugin="FFMPEG").shape[1:] == (120, 160, 3)

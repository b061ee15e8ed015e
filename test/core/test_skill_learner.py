"""One optimisation step of a skill module: every setting does what it says; and what a run learns from."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skill_fixtures import TASK, random_model, small_config, training_config, write_reaching_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reskill_core.checkpoint import load_checkpoint
from reskill_core.data import DemoDataset
from reskill_core.errors import ConfigError
from reskill_core.models.features import FeatureMap
from reskill_core.models.skill_document import NORMALISER_KEY
from reskill_core.models.skill_model import SkillModel
from reskill_core.runtime import SkillModule
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.seeding import SEEDING
from reskill_core.training.config import OptimiserConfig
from reskill_core.training.metrics import MetricsLogger, Throughput, averaged, read_metrics
from reskill_core.training.skill_learner import SkillLearner, chosen_device, learning_rate_factor
from reskill_core.training.skill_trainer import SkillTrainer, train_skills
from reskill_core.training.split import learnt_worlds

RATES = OptimiserConfig(learning_rate=1e-3, prior_learning_rate=3e-3, gradient_norm=1e6)


def windows(count: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    observation = rng.normal(0.8, 0.1, (count, 4, TASK.obs.dim)).astype(np.float32)
    return observation, rng.uniform(-1, 1, (count, 4, 4)).astype(np.float32)


def parameters(model: SkillModel) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}


def stepped(config: OptimiserConfig, rate: float = 1.0, beta: float = 1e-2, seed: int = 0) -> dict[str, np.ndarray]:
    """By how much one step moves each parameter."""
    model = random_model(small_config())
    before = parameters(model)
    SkillLearner(model, config, beta, seed).update(*windows(), rate=rate)
    return {name: array - before[name] for name, array in parameters(model).items()}


def longest(moves: dict[str, np.ndarray], prior: bool) -> float:
    return max(float(np.abs(move).max()) for name, move in moves.items() if name.startswith("prior.") == prior)


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_steps_are_as_long_as_the_learning_rates(rate: float) -> None:
    """Adam's first step is one learning rate long: of the prior its own, of all else the other."""
    moves = stepped(RATES, rate)
    assert longest(moves, prior=False) == pytest.approx(rate * 1e-3, rel=1e-2)
    assert longest(moves, prior=True) == pytest.approx(rate * 3e-3, rel=1e-2)


def test_weight_decay_pulls_towards_zero() -> None:
    """By its share of the learning rate, beside the gradient's step."""
    before = parameters(random_model(small_config()))
    plain, decayed = stepped(RATES), stepped(replace(RATES, weight_decay=0.5))
    for name, move in decayed.items():
        rate = 3e-3 if name.startswith("prior.") else 1e-3
        np.testing.assert_allclose(move - plain[name], -0.5 * rate * before[name], rtol=0.05, atol=1e-6)


def test_gradients_are_limited_apart_and_told_as_they_were() -> None:
    """Adam's mean of gradients is a tenth of the first one."""
    learner = SkillLearner(random_model(small_config()), replace(RATES, gradient_norm=0.01), 1e-2, 0)
    terms = learner.update(*windows(), rate=1.0)
    assert min(terms["gradient_norm_vae"], terms["gradient_norm_prior"]) > 0.01
    means = {name: array for name, array in learner.state().items() if name.endswith("exp_avg")}
    for prior in (False, True):
        squares = sum(float((array**2).sum()) for name, array in means.items() if ("prior." in name) == prior)
        assert math.sqrt(squares) == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_gradients_of_one_step_do_not_go_into_the_next() -> None:
    still = replace(RATES, learning_rate=1e-9, prior_learning_rate=1e-9)
    learner, fresh = (SkillLearner(random_model(small_config()), still, 1e-2, 0) for _ in range(2))
    learner.update(*windows(), rate=1.0)
    fresh.restore(learner.state())
    second, first = (one.update(*windows(seed=1), rate=1.0) for one in (learner, fresh))
    assert second == pytest.approx(first, rel=1e-4)


def test_beta_weighs_the_divergence() -> None:
    """The loss is half the squared error plus beta times the divergence, and so is what is descended."""
    found = {}
    for beta in (0.0, 0.5):
        learner = SkillLearner(random_model(small_config()), RATES, beta, seed=3)
        found[beta] = learner.update(*windows(), rate=1.0)
        assert found[beta]["loss"] == pytest.approx(found[beta]["reconstruction"] + beta * found[beta]["kl"], rel=1e-5)
    assert found[0.0]["kl"] == pytest.approx(found[0.5]["kl"], rel=1e-6)
    assert found[0.0]["gradient_norm_vae"] != pytest.approx(found[0.5]["gradient_norm_vae"], rel=1e-3)
    assert found[0.0]["gradient_norm_prior"] == pytest.approx(found[0.5]["gradient_norm_prior"], rel=1e-5)


def test_noise_is_drawn_anew_in_every_step_and_by_seed() -> None:
    still = replace(RATES, learning_rate=1e-9, prior_learning_rate=1e-9)

    def losses(seed: int) -> list[float]:
        learner = SkillLearner(random_model(small_config()), still, 1e-2, seed)
        return [learner.update(*windows(), rate=1.0)["reconstruction"] for _ in range(2)]

    one, again, other = losses(0), losses(0), losses(1)
    assert one == again
    assert one[0] != pytest.approx(one[1], rel=1e-4)
    assert one[0] != pytest.approx(other[0], rel=1e-4)


def test_a_kept_state_goes_on_to_the_same_bits() -> None:
    def learner(seed: int) -> SkillLearner:
        return SkillLearner(random_model(small_config()), RATES, 1e-2, seed)

    steady, resumed = learner(0), learner(5)
    steady.update(*windows(), rate=1.0)
    resumed.model.load_state_dict(steady.model.state_dict())
    resumed.restore(steady.state())
    kept = {name: np.copy(array) for name, array in steady.state().items()}
    expected = [steady.update(*windows(seed=seed), rate=0.5) for seed in (1, 2)]
    assert [resumed.update(*windows(seed=seed), rate=0.5) for seed in (1, 2)] == expected
    for name, array in parameters(steady.model).items():
        np.testing.assert_array_equal(array, parameters(resumed.model)[name])
    resumed.restore(kept)
    assert resumed.update(*windows(seed=1), rate=0.5)["loss"] != expected[1]["loss"]


def test_validation_is_an_average_over_windows_and_learns_nothing() -> None:
    """In parts of 1024, each counted as often as it has windows; errors at the mean of the posterior."""
    model = random_model(small_config(norm="batch"))
    learner = SkillLearner(model, RATES, 0.5, 0)
    observation, action = (torch.from_numpy(array) for array in windows(1500))
    noise = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    found = learner.validate(observation, action, noise)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        losses = model.eval().losses(observation, action, noise)
        mean = model.posterior(observation, action).mean
        decoded = model.decode(observation.flatten(0, 1), mean.repeat_interleave(4, dim=0)).view_as(action)
    assert found["reconstruction"] == pytest.approx(losses.reconstruction.item(), rel=1e-4)
    assert found["kl"] == pytest.approx(losses.kl.item(), rel=1e-4)
    assert found["loss"] == pytest.approx(losses.reconstruction.item() + 0.5 * losses.kl.item(), rel=1e-4)
    assert found["action_mse"] == pytest.approx((decoded - action).square().mean().item(), rel=1e-4)
    assert found["action_mse"] != pytest.approx(losses.action_mse.item(), rel=1e-3)


def test_the_schedule_by_hand() -> None:
    config = OptimiserConfig(warmup_steps=4, schedule="constant")
    assert [learning_rate_factor(config, step, 100) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert learning_rate_factor(replace(config, warmup_steps=0), 0, 100) == 1.0
    cosine = replace(config, schedule="cosine", warmup_steps=0)
    assert [learning_rate_factor(cosine, step, 6) for step in (0, 2, 3, 4)] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert learning_rate_factor(replace(cosine, warmup_steps=4), 1, 3) == pytest.approx(0.5 * 0.75)


def test_averages_by_hand() -> None:
    assert averaged("train", [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]) == {"train/a": 2.0, "train/b": 3.0}


# ---------------------------------------------------------------------- what a run learns from


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reaching_data(tmp_path_factory.mktemp("data") / "reach")


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskill_core.training.skill_trainer.plot_losses", lambda path, rows: None)
    monkeypatch.setattr("reskill_core.training.skill_trainer.plot_actions", lambda *given: None)


def test_the_normaliser_is_that_of_the_episodes_learnt_from(data: Path, tmp_path: Path) -> None:
    config, features = training_config(data, tmp_path / "run", steps=10), small_config().features
    checkpoint = load_checkpoint(train_skills(config, show_progress=False).run, SKILL_MODULE_KIND)
    dataset = DemoDataset.open(data)
    learnt, held_out = dataset.split(0.2, 0)
    rows = np.concatenate([dataset.episode(int(index)).observation for index in learnt])
    fitted = FeatureMap.fit(features, TASK.obs, rows)
    kept = FeatureMap.from_document(features, TASK.obs, checkpoint.document[NORMALISER_KEY])
    some = dataset.episode(int(held_out[0])).observation
    np.testing.assert_allclose(kept(some), fitted(some), rtol=1e-5, atol=1e-6)
    everything = FeatureMap.fit(features, TASK.obs, dataset.observation)
    assert np.abs(kept(some) - everything(some)).max() > 1e-3
    normalised = kept(rows)
    np.testing.assert_allclose(normalised.mean(axis=0), 0.0, atol=1e-3)


def first_rows(data: Path, out: Path, **changes: Any) -> list[dict[str, float]]:
    return read_metrics(train_skills(training_config(data, out, **changes), show_progress=False).run)


def test_settings_reach_the_steps_of_a_run(data: Path, tmp_path: Path) -> None:
    """Optimiser, weight of the divergence, batch size and seed each change what is learnt from the first row on."""
    changes: dict[str, dict[str, Any]] = {
        "same": {},
        "rate": {"optimiser": OptimiserConfig(learning_rate=1e-2)},
        "prior_rate": {"optimiser": OptimiserConfig(prior_learning_rate=1e-2)},
        "warmup": {"optimiser": OptimiserConfig(warmup_steps=3)},
        "decay": {"optimiser": OptimiserConfig(weight_decay=1.0)},
        "norm": {"optimiser": OptimiserConfig(gradient_norm=0.01)},
        "constant": {"optimiser": OptimiserConfig(schedule="constant")},
        "beta": {"beta": 0.5},
        "batch": {"batch_size": 16},
        "seed": {"seed": 1},
    }
    plain = rows(first_rows(data, tmp_path / "plain", steps=20))
    for name, change in changes.items():
        other = rows(first_rows(data, tmp_path / name, steps=20, **change))
        assert (other == plain) == (name == "same"), name
        assert [row["step"] for row in other] == [row["step"] for row in plain] == [5, 10, 10, 15, 20, 20]


def rows(found: list[dict[str, float]]) -> list[dict[str, float]]:
    return [
        {name: value for name, value in row.items() if "windows_per_s" not in name and "share" not in name}
        for row in found
    ]


def test_rows_are_averages_since_the_last_one(data: Path, tmp_path: Path) -> None:
    """Of the factor on the learning rate, which is known: it rises by a tenth per step."""
    optimiser = OptimiserConfig(schedule="constant", warmup_steps=10)
    found = first_rows(data, tmp_path / "run", steps=15, optimiser=optimiser, validate_every=15)
    factors = [row["train/learning_rate_factor"] for row in found if "train/learning_rate_factor" in row]
    assert factors == pytest.approx([0.3, 0.8, 1.0])
    epochs = [row["train/epoch"] for row in found if "train/epoch" in row]
    # 32 episodes of 12 steps have 9 windows each: 9 batches of 32.
    assert epochs == [0, 1, 1]


def test_validation_takes_the_same_windows_of_held_out_episodes(data: Path, tmp_path: Path) -> None:
    """Two trainers of one seed judge one model alike, and as its module does on these windows."""
    trainers = [SkillTrainer(training_config(data, tmp_path / name, validation_windows=8)) for name in ("a", "b")]
    for trainer in trainers:
        trainer.run(show_progress=False)
    (one, two) = ([row for row in read_metrics(trainer.folder) if "validation/loss" in row] for trainer in trainers)
    assert one == two
    module = SkillModule.load(trainers[0].folder / "checkpoints" / "last")
    dataset = DemoDataset.open(data)
    held_out = dataset.split(0.2, 0)[1]
    # 8 episodes of 9 windows: of 72 every tenth or so, from the first to the last.
    places = np.linspace(0, 71, 8).astype(int)
    cut = [(dataset.episode(int(sorted(held_out)[place // 9])), place % 9) for place in places]
    observation = np.stack([episode.observation[start : start + 4] for episode, start in cut])
    action = np.stack([episode.action[start : start + 4] for episode, start in cut])
    mean, _ = module.encode(observation, action)
    decoded = np.stack([module.decode(observation[:, step], mean) for step in range(4)], axis=1)
    assert one[-1]["validation/action_mse"] == pytest.approx(float(((decoded - action) ** 2).mean()), rel=1e-4)


def test_throughput_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 3.0, 10.0, 20.0, 20.0, 20.0, 30.0])
    monkeypatch.setattr("reskill_core.training.metrics.time.perf_counter", lambda: next(times))
    throughput = Throughput()
    for windows_seen in (50, 150):
        with throughput.step(windows_seen), throughput.data():
            pass
    # Steps of 10 s and 10 s, of which 2 s and none loaded data.
    assert throughput.metrics() == {"train/windows_per_s": 10.0, "train/data_share": 0.1}


def test_progress_is_shown(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_skills(training_config(data, tmp_path / "run", steps=10))
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("train-skills: 100%")
    assert " 10/10 " in last
    assert "step/s, loss=" in last
    SkillTrainer(training_config(data, tmp_path / "other", steps=10)).run()
    assert " 10/10 " in capsys.readouterr().err


def test_a_checkpoint_tells_of_its_data(data: Path, tmp_path: Path) -> None:
    run = train_skills(training_config(data, tmp_path / "run", steps=10), show_progress=False).run
    checkpoint, dataset = load_checkpoint(run, SKILL_MODULE_KIND), DemoDataset.open(data)
    facts = dict(checkpoint.document["data"])
    worlds = facts.pop("worlds")
    assert facts == {
        "content_hash": dataset.content_hash(),
        "num_episodes": 40,
        "num_steps": 480,
        "profile": "exact",
        "validation_fraction": 0.2,
        "split_seed": 0,
    }
    assert [world["profile"] for world in worlds] == ["exact"]
    assert checkpoint.document["training"]["seeding"] == SEEDING
    assert learnt_worlds(checkpoint) == list(dataset.worlds)
    # As checkpoints were before they told of worlds, and of anything.
    older = replace(checkpoint, document={**checkpoint.document, "data": facts})
    assert [world.profile for world in learnt_worlds(older)] == ["exact"]
    assert learnt_worlds(replace(checkpoint, document={})) == []


def test_metrics_reach_tensorboard_at_their_steps(tmp_path: Path) -> None:
    with MetricsLogger(tmp_path, 0) as logger:
        for step in (3, 7):
            logger.log(step, {"train/loss": 0.5 * step})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(3, 1.5), (7, 3.5)]


STAND_IN = """
calls = []
class Run:
    def define_metric(self, name, step_metric): calls.append(("metric", name, step_metric))
    def log(self, values): calls.append(("log", values))
    def finish(self, exit_code): calls.append(("finish", exit_code))
def init(**options):
    calls.append(("init", options))
    return Run()
"""


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="the real one is tested")
def test_a_run_of_weights_and_biases_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the library, which is not installed: one run for a folder, its rows, and how it ended."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "wandb.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "library")
    monkeypatch.setenv("WANDB_PROJECT", "skills")
    run = tmp_path / "skills" / "block"
    run.mkdir(parents=True)
    with MetricsLogger(run, 0) as logger:
        logger.log(3, {"train/loss": 0.5})
    with pytest.raises(KeyboardInterrupt), MetricsLogger(run, 3):
        raise KeyboardInterrupt
    calls = sys.modules.pop("wandb").calls
    run_id = (run / "wandb_run_id").read_text()
    assert len(run_id) == 8
    start = ("init", {"name": "skills/block", "dir": str(run), "id": run_id, "resume": "allow"})
    metric = ("metric", "*", "step")
    assert calls == [
        *(start, metric, ("log", {"step": 3, "train/loss": 0.5}), ("finish", 0)),
        *(start, metric, ("finish", 1)),
    ]


def test_beta_is_adapted_to_a_target_divergence_and_kept() -> None:
    """Dual ascent: too large a divergence raises beta, too small a one lowers it."""

    def learner(target: float) -> SkillLearner:
        return SkillLearner(random_model(small_config()), RATES, 0.01, seed=0, target_kl=target, beta_rate=0.1)

    divergence = learner(1e3).update(*windows(), rate=1.0)["kl"]
    for target, exponent in ((divergence * 2, -0.05), (divergence / 1.5, 0.05), (divergence / 9, 0.1)):
        one = learner(target)
        terms = one.update(*windows(), rate=1.0)
        assert (terms["beta"], one.beta) == pytest.approx((0.01, 0.01 * math.exp(exponent)), rel=1e-4)
        # The metric that chooses a checkpoint is at the configured weight.
        assert terms["loss"] == pytest.approx(terms["reconstruction"] + 0.01 * terms["kl"], rel=1e-5)
        other = learner(target)
        other.restore(one.state())
        assert other.beta == one.beta
    assert learner(0.0).update(*windows(), rate=1.0).keys() == terms.keys() - {"beta"}


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (chosen_device("auto"), chosen_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(ConfigError, match="device: cuda, but torch finds no GPU"):
        chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (chosen_device("auto"), chosen_device("cpu"), chosen_device("cuda")) == ("cuda", "cpu", "cuda")

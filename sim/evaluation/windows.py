"""Measurements of a skill model on recorded windows, without a simulator: likelihoods, and how well samples fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from reskill_core.data import DemoDataset, WindowSampler
from reskill_core.intervals import Estimate, mean
from reskill_core.models.observations import as_tensors, batches, taken
from reskill_core.runtime import SkillModule

# Samples per window, and decoded steps of all windows together, in :func:`best_of_samples`.
SAMPLES = 100
SAMPLED_STEPS = 1280
_WINDOWS_AT_ONCE = 16
_VALIDATION_WINDOWS = 4096


def window_likelihood(module: SkillModule, dataset: DemoDataset, episodes: np.ndarray) -> dict[str, float]:
    """Compute action error at the posterior mean and negative log likelihoods of posterior samples [nats]."""
    rng = np.random.default_rng(0)
    observation, action = _windows(module, dataset, episodes, _VALIDATION_WINDOWS, rng)
    noise = torch.from_numpy(rng.standard_normal((len(action), module.latent_dim), dtype=np.float32))
    totals: dict[str, float] = {}
    with torch.no_grad():
        for rows in batches(len(action), 1024):
            windows = taken(observation, rows), action[rows]
            sampled = module.torch_model.losses(*windows, noise[rows])
            at_mean = module.torch_model.losses(*windows, torch.zeros_like(noise[rows]))
            found = {
                "action_mse": at_mean.action_mse,
                "kl": sampled.kl,
                "prior_nll": sampled.prior_nll,
                "normal_nll": sampled.normal_nll,
            }
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(noise[rows])
    return {name: total / len(action) for name, total in totals.items()}


def best_of_samples(module: SkillModule, dataset: DemoDataset, episodes: np.ndarray) -> dict[str, Estimate]:
    """Compute the squared error per action component of the best of 100 skills, by source of the skills.

    The skills are sampled at the first observation of each window, and decoded at the recorded observations. A prior
    that knows what may follow here needs fewer samples for a good one than N(0, I).
    """
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    observation, action = _windows(module, dataset, episodes, max(SAMPLED_STEPS // module.horizon, 2), rng)
    model, best = module.torch_model, {"prior": np.zeros(0), "standard_normal": np.zeros(0)}
    with torch.no_grad():
        for rows in batches(len(action), _WINDOWS_AT_ONCE):
            steps, first = model.window_features(taken(observation, rows))
            repeated, firsts = (part.repeat_interleave(SAMPLES, dim=0) for part in (steps, first))
            samples = {
                "prior": model.prior_of(firsts).sample(generator),
                "standard_normal": torch.randn(len(firsts), module.latent_dim, generator=generator),
            }
            for source, latent in samples.items():
                decoded = model.decoder.window(repeated, latent).unflatten(0, (-1, SAMPLES))
                errors = (decoded - action[rows][:, None]).square().mean(dim=(2, 3))
                best[source] = np.append(best[source], errors.min(dim=1).values.numpy())
    return {source: mean(errors) for source, errors in best.items()}


def _windows(
    module: SkillModule, dataset: DemoDataset, episodes: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[Any, torch.Tensor]:
    """Random windows of these episodes."""
    sampler = WindowSampler(dataset, episodes, module.horizon, module.torch_model.image_steps)
    observation, action = sampler.sample(count, rng)
    return as_tensors(observation), torch.from_numpy(action)

"""Optimisation steps and validation of a skill model, independent of data sets and folders.

1. The loss is ``1/2 sum_{H,A} (action - label)^2 + beta * sum_Z KL(q || N(0, I))``, averaged over the batch.
2. In the same step the prior minimises its NLL of posterior samples. Its gradient is stopped at the sample and clipped
   separately, so that it does not affect encoder and decoder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reskill_core.arrays import Float32Array
from reskill_core.errors import TrainingError
from reskill_core.models.io import load_optimiser_arrays, optimiser_arrays
from reskill_core.models.observations import Inputs, as_tensors, batches, taken
from reskill_core.models.skill_model import SkillLosses, SkillModel
from reskill_core.seeding import run_integer
from reskill_core.training.config import OptimiserConfig

_NOISE_RNG = "noise_rng"
_VALIDATION_BATCH = 1024


class NotFiniteError(TrainingError):
    """A loss term or gradient norm is not finite; the model is unchanged.

    Attributes:
        terms: all loss terms and gradient norms of the step.
        noise: (B, Z) posterior noise of the step.
    """

    def __init__(self, terms: Mapping[str, float], noise: Float32Array) -> None:
        self.terms = dict(terms)
        self.noise = noise
        guilty = [name for name, value in terms.items() if not math.isfinite(value)]
        super().__init__(f"not finite: {', '.join(guilty)}")


class SkillLearner:
    """Skill model with its optimiser and the random stream of its posterior noise.

    Args:
        model: the model to train.
        config: configuration of the optimiser.
        beta: weight of the KL term.
        seed: seed of the run, for the posterior noise.
    """

    def __init__(self, model: SkillModel, config: OptimiserConfig, beta: float, seed: int) -> None:
        self.model = model
        self._config = config
        self._beta = beta
        self._noise_rng = torch.Generator().manual_seed(run_integer(seed, "posterior_noise"))
        prior = model.prior_parameters()
        apart = set(map(id, prior))
        rest = [parameter for parameter in model.parameters() if id(parameter) not in apart]
        groups = [
            {"name": "vae", "params": rest, "base_rate": config.learning_rate},
            {"name": "prior", "params": prior, "base_rate": config.prior_learning_rate},
        ]
        self._optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=0.0, weight_decay=config.weight_decay
        )

    def update(self, observation: Any, action: Float32Array, rate: float) -> dict[str, float]:
        """Take one step on windows (B, H, O) with labels (B, H, A).

        Args:
            observation: observations of the windows, an array or a mapping.
            action: their labels.
            rate: factor on the base learning rates.

        Returns:
            Loss terms, and gradient norms before clipping.

        Raises:
            NotFiniteError: one of them is not finite.
        """
        noise = torch.randn(len(action), self.model.config.latent_dim, generator=self._noise_rng)
        self.model.train()
        losses = self.model.losses(as_tensors(observation), torch.from_numpy(action), noise)
        total = losses.total(self._beta)
        self._optimiser.zero_grad()
        total.backward()
        terms = {"loss": losses.vae(self._beta).item(), **_values(losses)}
        for group in self._optimiser.param_groups:
            norm = torch.nn.utils.clip_grad_norm_(group["params"], self._config.gradient_norm)
            terms[f"gradient_norm_{group['name']}"] = norm.item()
            group["lr"] = rate * group["base_rate"]
        if not all(math.isfinite(value) for value in terms.values()):
            raise NotFiniteError(terms, noise.numpy())
        self._optimiser.step()
        return terms

    def validate(self, observation: Inputs, action: Tensor, noise: Tensor) -> dict[str, float]:
        """Compute the loss terms of a fixed set of windows.

        Args:
            observation: (W, H, O).
            action: (W, H, A) labels.
            noise: (W, Z) posterior noise.

        Returns:
            Loss terms as of :meth:`update`; ``action_mse`` is that of the posterior mean.
        """
        self.model.eval()
        totals: dict[str, float] = {}
        with torch.no_grad():
            for rows in batches(len(action), _VALIDATION_BATCH):
                part = taken(observation, rows)
                losses = self.model.losses(part, action[rows], noise[rows])
                at_mean = self.model.losses(part, action[rows], torch.zeros_like(noise[rows]))
                terms = {"loss": losses.vae(self._beta).item(), **_values(losses)}
                terms["action_mse"] = at_mean.action_mse.item()
                for name, value in terms.items():
                    totals[name] = totals.get(name, 0.0) + value * len(noise[rows])
        return {name: total / len(action) for name, total in totals.items()}

    def state(self) -> dict[str, Any]:
        """Return optimiser and random stream as arrays by name, for exact resume, without the model."""
        return {
            _NOISE_RNG: self._noise_rng.get_state().numpy().copy(),
            **optimiser_arrays(self.model, self._optimiser),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a saved :meth:`state`; other entries are ignored."""
        self._noise_rng.set_state(torch.from_numpy(np.array(state[_NOISE_RNG])))
        load_optimiser_arrays(self.model, self._optimiser, state)


def learning_rate_factor(config: OptimiserConfig, step: int, steps: int) -> float:
    """Return the factor on the base learning rates for step ``step`` (from 0) of ``steps``."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return warmup
    return warmup * 0.5 * (1 + math.cos(math.pi * step / steps))


def _values(losses: SkillLosses) -> dict[str, float]:
    return {item.name: getattr(losses, item.name).item() for item in fields(losses)}

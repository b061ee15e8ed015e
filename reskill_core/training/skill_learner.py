"""Optimisation steps and validation of a skill model, independent of data sets and folders.

1. The loss is ``1/2 sum_{H,A} (action - label)^2 + beta * sum_Z KL(q || N(0, I))``, averaged over the batch.
2. ``beta`` is fixed, or adapted so that the KL divergence approaches a target: dual ascent on ``log beta``.
3. With a displacement, the decoder's part of the loss is that of displaced windows; posterior and prior see them as
   they are.
4. In the same step the prior minimises its NLL of posterior samples. Its gradient is stopped at the sample and clipped
   separately, so that it does not affect encoder and decoder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reskill_core.arrays import Float32Array
from reskill_core.errors import ConfigError, TrainingError
from reskill_core.models.io import load_optimiser_arrays, optimiser_arrays
from reskill_core.models.observations import Inputs, as_tensors, batches, on_device, taken
from reskill_core.models.skill_model import SkillLosses, SkillModel
from reskill_core.seeding import run_integer
from reskill_core.training.config import OptimiserConfig
from reskill_core.training.displacement import Displacement

_NOISE_RNG = "noise_rng"
_BETA = "beta"
_VALIDATION_BATCH = 1024
# Limits of an adapted weight, within which neither term of the loss vanishes in float32.
_MIN_BETA, _MAX_BETA = 1e-8, 1e4


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


@dataclass(frozen=True)
class KlWeight:
    """Weight of the KL term.

    Attributes:
        beta: the weight, or its start; validations are judged by it.
        target: KL divergence that the weight is adapted to [nats]; 0 leaves it fixed.
        rate: change of log beta per step and relative distance from the target.
    """

    beta: float
    target: float = 0.0
    rate: float = 1e-2

    def adapted(self, beta: float, kl: float) -> float:
        """Return the weight for the next step, after one with weight ``beta`` and divergence ``kl`` [nats].

        The relative distance counts as 1 at most, as at the start of a training, where it is arbitrarily large.
        """
        if not self.target:
            return beta
        distance = min(max(kl / self.target - 1.0, -1.0), 1.0)
        return min(max(beta * math.exp(self.rate * distance), _MIN_BETA), _MAX_BETA)


class SkillLearner:
    """Skill model with its optimiser and the random stream of its posterior noise.

    Args:
        model: the model to train; it is moved to the device.
        config: configuration of the optimiser.
        beta: weight of the KL term.
        seed: seed of the run, for the posterior noise.
        target_kl: KL divergence that the weight is adapted to, see :class:`KlWeight`.
        beta_rate: rate of its adaptation.
        device: device that computes the steps.
        displacement: displacement of what the decoder sees; None for windows as they are.

    Attributes:
        model: as given.
        beta: weight of the KL term in the next step.
    """

    def __init__(
        self,
        model: SkillModel,
        config: OptimiserConfig,
        beta: float,
        seed: int,
        target_kl: float = 0.0,
        beta_rate: float = 1e-2,
        device: str = "cpu",
        displacement: Displacement | None = None,
    ) -> None:
        self.model = model.to(device)
        self.beta = beta
        self._config = config
        self._weight = KlWeight(beta, target_kl, beta_rate)
        self._device = torch.device(device)
        self._displacement = displacement
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
        windows, labels = as_tensors(observation), torch.from_numpy(action)
        decoded = None
        if self._displacement is not None:
            seen, wanted = self._displacement.displaced(windows, labels, self._noise_rng)
            decoded = on_device(seen, self._device), wanted.to(self._device)
        self.model.train()
        losses = self.model.losses(
            on_device(windows, self._device), labels.to(self._device), noise.to(self._device), decoded
        )
        total = losses.total(self.beta)
        self._optimiser.zero_grad()
        total.backward()
        terms = {"loss": losses.vae(self._weight.beta).item(), **_values(losses)}
        if self._weight.target:
            terms["beta"] = self.beta
        for group in self._optimiser.param_groups:
            norm = torch.nn.utils.clip_grad_norm_(group["params"], self._config.gradient_norm)
            terms[f"gradient_norm_{group['name']}"] = norm.item()
            group["lr"] = rate * group["base_rate"]
        if not all(math.isfinite(value) for value in terms.values()):
            raise NotFiniteError(terms, noise.numpy())
        self._optimiser.step()
        self.beta = self._weight.adapted(self.beta, terms["kl"])
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
                part = on_device(taken(observation, rows), self._device)
                label, drawn = action[rows].to(self._device), noise[rows].to(self._device)
                losses = self.model.losses(part, label, drawn)
                at_mean = self.model.losses(part, label, torch.zeros_like(drawn))
                terms = {"loss": losses.vae(self._weight.beta).item(), **_values(losses)}
                terms["action_mse"] = at_mean.action_mse.item()
                for name, value in terms.items():
                    totals[name] = totals.get(name, 0.0) + value * len(noise[rows])
        return {name: total / len(action) for name, total in totals.items()}

    def state(self) -> dict[str, Any]:
        """Return optimiser and random stream as arrays by name, for exact resume, without the model."""
        return {
            _NOISE_RNG: self._noise_rng.get_state().numpy().copy(),
            _BETA: np.array([self.beta]),
            **optimiser_arrays(self.model, self._optimiser),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a saved :meth:`state`; other entries are ignored."""
        self._noise_rng.set_state(torch.from_numpy(np.array(state[_NOISE_RNG])))
        # Older states have none: it was fixed.
        self.beta = np.asarray(state.get(_BETA, self._weight.beta)).item()
        load_optimiser_arrays(self.model, self._optimiser, state)


def chosen_device(device: str) -> str:
    """Return the device of a setting: ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: a GPU is asked for where there is none.
    """
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ConfigError("device: cuda, but torch finds no GPU here; device=cpu, or device=auto for what there is")
    return "cuda" if there and device != "cpu" else "cpu"


def learning_rate_factor(config: OptimiserConfig, step: int, steps: int) -> float:
    """Return the factor on the base learning rates for step ``step`` (from 0) of ``steps``."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return warmup
    return warmup * 0.5 * (1 + math.cos(math.pi * step / steps))


def _values(losses: SkillLosses) -> dict[str, float]:
    found = {item.name: getattr(losses, item.name) for item in fields(losses)}
    return {name: value.item() for name, value in found.items() if value is not None}

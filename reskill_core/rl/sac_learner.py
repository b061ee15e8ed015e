"""Soft actor-critic in torch: losses and gradient steps.

For features s, decisions n, the reward r of a decision (discounted to its start) and its discount g:

1. The policy pi(n | s) is a diagonal Gaussian, not squashed. Decisions are limited to [-limit, limit] when they are
   executed. This is a part of the environment: critics get limited decisions, densities are those of decisions as
   drawn, so that divergence and entropy are those of a Gaussian, in closed form.
2. Regularisation adds a cost c(s) to each decision: the divergence KL(pi(. | s) || prior(. | s)), or the negative
   entropy of pi(. | s).
3. Critics Q_i learn by least squares from y = r + g (min_i Q'_i(s', n') - alpha c(s')), where n' ~ pi(. | s') and Q'
   are the target critics. The discount g is the one per control step to the power of the decision's length, and 0 only
   at terminal states: episodes that end by a time limit go on in the values. Without ``soft_values`` c is left out.
   With ``return_bound`` y is at least the return to go (:mod:`~reskill_core.rl.returns_to_go`).
4. The actor minimises alpha c(s) - min_i Q_i(s, n), with n ~ pi(. | s) by the reparametrisation. It learns in every
   ``actor_every``-th update only, as in TD3, so that critics can follow.
5. The temperature alpha is a Lagrange multiplier: log alpha changes by ``temperature_rate`` times the relative excess
   of the mean cost over its target, without momentum, which would make it swing.
6. Target critics, and the actor that is deployed, are moving averages of the learning ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reskill_core.arrays import Float32Array
from reskill_core.errors import CheckpointError, ConfigError, TrainingError
from reskill_core.models.distributions import DiagonalGaussian, SkillDistribution
from reskill_core.rl.config import SacConfig
from reskill_core.rl.replay import Batch
from reskill_core.rl.returns_to_go import RETURN_TO_GO
from reskill_core.rl.sac_networks import Critics, Descent, Policy, flattened

_HALF_LOG_2_PI_E = 0.5 * math.log(2 * math.pi * math.e)
# Largest relative excess of the cost over its target that the temperature reacts to.
_MAX_EXCESS = 3.0
_IMITATION_RATE = 1e-3

Prior = Callable[[Tensor], SkillDistribution]


class SacLearner:
    """State of the learning and its updates; see the module's documentation.

    Args:
        config: hyper-parameters.
        actor_columns: indices of the features that the actor sees.
        critic_columns: indices of what the critics see: of the features, followed by what is privileged, if anything.
        decisions: length D of a decision.
        limit: decisions are limited to [-limit, limit] when they are executed.
        seed: seed of the initial weights.
        rng: generator of the policy's samples.
        prior: prior over decisions at features; None for N(0, I).

    Attributes:
        device: device of the updates.
        actor: the learning actor.
        deployed: the deployed actor.
        critics: the critics.
        targets: the target critics.
        temperature: current temperature alpha.
    """

    def __init__(
        self,
        config: SacConfig,
        actor_columns: Sequence[int],
        critic_columns: Sequence[int],
        decisions: int,
        limit: float,
        seed: int,
        rng: np.random.Generator,
        prior: Prior | None = None,
    ) -> None:
        self.config, self._limit, self._rng, self._prior = config, limit, rng, prior
        self.device = device_of(config.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            actor = Policy(actor_columns, config.hidden, decisions, limit, log_std_range(config, limit))
            critics = Critics(config.critics, critic_columns, decisions, config.critic_hidden, config.layer_norm)
        self.actor, self.critics = actor.to(self.device), critics.to(self.device)
        self.deployed = deepcopy(self.actor).requires_grad_(False)
        self.targets = deepcopy(self.critics).requires_grad_(False)
        critic_rate = config.critic_learning_rate or config.learning_rate
        self._actor_descent = Descent(self.actor, config.learning_rate, config.gradient_norm)
        self._critic_descent = Descent(self.critics, critic_rate, config.gradient_norm)
        self._deployed_vector, self._target_vector = flattened(self.deployed), flattened(self.targets)
        self.temperature, self._updates = config.temperature, 0
        self._target_cost = target_cost(config, decisions, limit)

    # ------------------------------------------------------------------ an update

    def update(self, batch: Batch, rate: float = 1.0) -> dict[str, float]:
        """Take a gradient step for the critics, and one for the actor if it is due.

        Args:
            batch: decisions of the replay memory; ``discount`` is 0 at terminal states.
            rate: factor on the learning rates.

        Returns:
            ``critic_loss``, ``td_error``, ``q``, and, if the actor was updated, ``actor_loss``, ``cost``,
            ``temperature`` and ``std``.

        Raises:
            TrainingError: a loss is not finite.
        """
        rows = self.tensors(batch)
        learnt = self.learn_critics(rows, self.target(rows), rate)
        if self._updates % self.config.actor_every == 0:
            learnt |= self.learn_actor(rows, rate)
        self._updates += 1
        return learnt

    def tensors(self, batch: Batch) -> dict[str, Tensor]:
        """Convert a minibatch to tensors on the device of the updates."""
        return {name: torch.from_numpy(column).to(self.device) for name, column in batch.items()}

    def target(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Compute the critics' targets (B,)."""
        following = rows["next_features"]
        with torch.no_grad():
            policy = self.actor(following)
            value = self.targets(critic_inputs(rows, "next_"), self._drawn(policy)[1]).amin(dim=0)
            if self.config.soft_values:
                value = value - self.temperature * self.cost(policy, following, prior_at(rows, "next_"))
            target = rows["reward"] + rows["discount"] * value
            return torch.maximum(target, rows[RETURN_TO_GO]) if RETURN_TO_GO in rows else target

    def cost(self, policy: DiagonalGaussian, features: Tensor, prior: SkillDistribution | None = None) -> Tensor:
        """Compute the costs (B,) of policies at features: divergence from the prior, or negative entropy [nats].

        Args:
            policy: B distributions over decisions.
            features: (B, F).
            prior: the priors there, if known already.
        """
        if self.config.regulariser == "entropy":
            return -(policy.log_std + _HALF_LOG_2_PI_E).sum(dim=-1)
        if prior is None:
            zero = torch.zeros_like(policy.mean)
            prior = DiagonalGaussian(zero, zero) if self._prior is None else self._prior(features)
        samples = self.config.samples
        if not samples and isinstance(prior, DiagonalGaussian):
            return policy.kl(prior)
        drawn = [self._drawn(policy)[0] for _ in range(max(samples, 1))]
        return torch.stack([policy.log_prob(each) - prior.log_prob(each) for each in drawn]).mean(dim=0)

    def imitate(self, batches: Iterator[tuple[Float32Array, Float32Array]]) -> None:
        """Fit the actor to decisions at features by maximum likelihood; the deployed one becomes the same."""

        def losses() -> Iterator[Tensor]:
            for features, decisions in batches:
                rows, label = (torch.from_numpy(each).to(self.device) for each in (features, decisions))
                yield -self.actor(rows).log_prob(label).mean()

        self._initialise_actor("negative log likelihood", losses())

    def approach_prior(self, batches: Iterator[Batch]) -> None:
        """Fit the actor to the prior at features of the replay memory, by the divergence; likewise."""

        def losses() -> Iterator[Tensor]:
            for batch in batches:
                rows = self.tensors(batch)
                yield self.cost(self.actor(rows["features"]), rows["features"], prior_at(rows, "")).mean()

        self._initialise_actor("divergence from the prior", losses())

    def _initialise_actor(self, name: str, losses: Iterator[Tensor]) -> None:
        descent = Descent(self.actor, _IMITATION_RATE, self.config.gradient_norm)
        for loss in losses:
            _require_finite(name, loss)
            descent.step(loss)
        # Its parameters are now views into the vector of that descent.
        self._actor_descent = Descent(self.actor, self.config.learning_rate, self.config.gradient_norm)
        self._deployed_vector.copy_(self._actor_descent.vector)

    def learn_critics(self, rows: Mapping[str, Tensor], target: Tensor, rate: float = 1.0) -> dict[str, float]:
        """Take a gradient step of the critics towards targets (B,); see :meth:`update`."""
        values = self.critics(critic_inputs(rows), self._limited(rows["decision"]))
        errors = values - target
        loss = errors.square().mean(dim=1).sum()
        _require_finite("critics' loss", loss)
        self._critic_descent.step(loss, rate)
        self._target_vector.lerp_(self._critic_descent.vector, self.config.target_rate)
        return {"critic_loss": loss.item(), "td_error": errors.abs().mean().item(), "q": values.mean().item()}

    def learn_actor(self, rows: Mapping[str, Tensor], rate: float = 1.0) -> dict[str, float]:
        """Take a gradient step of the actor, and adapt the temperature; see :meth:`update`."""
        features = rows["features"]
        policy = self.actor(features)
        cost = self.cost(policy, features, prior_at(rows, ""))
        values = self.critics(critic_inputs(rows), self._drawn(policy)[1]).amin(dim=0)
        loss = (self.temperature * cost - values).mean()
        _require_finite("actor's loss", loss)
        self._actor_descent.step(loss, rate)
        self._deployed_vector.lerp_(self._actor_descent.vector, self.config.averaging_rate)
        self._adapt(mean_cost := cost.mean().item())
        return {
            "actor_loss": loss.item(),
            "cost": mean_cost,
            "temperature": self.temperature,
            "std": policy.log_std.exp().mean().item(),
        }

    def _adapt(self, cost: float) -> None:
        """Raise the temperature if the cost exceeds its target, or lower it."""
        config, wanted = self.config, self._target_cost
        excess = (cost - wanted) / max(abs(wanted), 1.0)
        step = config.temperature_rate * min(max(excess, -_MAX_EXCESS), _MAX_EXCESS)
        self.temperature = min(max(self.temperature * math.exp(step), config.min_temperature), config.max_temperature)

    def _drawn(self, policy: DiagonalGaussian) -> tuple[Tensor, Tensor]:
        """Decisions (B, D) of policies, as drawn and as executed."""
        noise = self._rng.standard_normal(tuple(policy.mean.shape), dtype=np.float32)
        drawn = policy.from_noise(torch.from_numpy(noise).to(self.device))
        return drawn, self._limited(drawn)

    def _limited(self, decision: Tensor) -> Tensor:
        return decision.clamp(-self._limit, self._limit)

    # ------------------------------------------------------------------ saving and restoring

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`: networks, optimisers, temperature, random stream."""
        arrays = {name: tensor.cpu().numpy().copy() for name, tensor in self._saved().items()}
        values = {"temperature": self.temperature, "updates": self._updates, "rng": self._rng.bit_generator.state}
        return arrays | values

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a saved :meth:`state`.

        Raises:
            CheckpointError: a part is missing or of other networks.
        """
        for name, tensor in self._saved().items():
            if name not in state or state[name].shape != tuple(tensor.shape):
                raise CheckpointError(f"{name} of shape {tuple(tensor.shape)} is not in the checkpoint")
            tensor.copy_(torch.from_numpy(np.array(state[name])))
        self.temperature, self._updates = float(state["temperature"]), int(state["updates"])
        self._rng.bit_generator.state = state["rng"]

    def _saved(self) -> dict[str, Tensor]:
        return {
            **{f"actor/{name}": tensor for name, tensor in self._actor_descent.tensors().items()},
            **{f"critics/{name}": tensor for name, tensor in self._critic_descent.tensors().items()},
            "deployed": self._deployed_vector,
            "targets": self._target_vector,
        }


def log_std_range(config: SacConfig, limit: float) -> tuple[float, float, float]:
    """Return the lowest, initial and highest log standard deviation of a policy."""
    uniform = limit / math.sqrt(3) if config.regulariser == "entropy" else 1.0
    initial = math.log(config.std or uniform)
    return initial + math.log(config.min_std), initial, initial + math.log(config.max_std)


def target_cost(config: SacConfig, decisions: int, limit: float) -> float:
    """Return the mean cost per decision that the temperature adapts to [nats]."""
    if config.regulariser == "divergence":
        return 0.5 * decisions if config.target is None else config.target
    return -(decisions * (math.log(limit) - 1) if config.target is None else config.target)


def critic_inputs(rows: Mapping[str, Tensor], when: str = "") -> Tensor:
    """(B, F + P) features of decisions, and what is privileged, if anything is."""
    features, privileged = rows[f"{when}features"], rows.get(f"{when}privileged")
    return features if privileged is None else torch.cat((features, privileged), dim=-1)


def prior_at(rows: Mapping[str, Tensor], when: str) -> DiagonalGaussian | None:
    """Gaussian priors that are stored with the decisions, if they are."""
    moments = rows.get(f"{when}prior")
    return None if moments is None else DiagonalGaussian(*moments.chunk(2, dim=-1))


def device_of(name: str) -> torch.device:
    """Return a device by name; ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: there is no GPU that torch can use here; device=auto takes one if there is")
    return torch.device(name)


def _require_finite(name: str, loss: Tensor) -> None:
    if not math.isfinite(value := loss.item()):
        raise TrainingError(f"the {name} is not finite: {value}")

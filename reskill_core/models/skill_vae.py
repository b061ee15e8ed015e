"""The skill VAE: a posterior over windows of a demonstration, a closed-loop decoder, and the skill prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reskill_core.models.config import EncoderConfig, SkillModelConfig
from reskill_core.models.features import FeatureMap
from reskill_core.models.networks import Features, Mlp, require_shape, soft_limit, standard_normal_log_prob
from reskill_core.models.registry import build_prior

# Bounds the posterior's standard deviation to (e^-5, e^5): wide enough for any beta, and finite from the first step.
_LOG_STD_LIMIT = 5.0


@dataclass(frozen=True)
class SkillLosses:
    """Loss terms of a batch of windows, each a mean over the batch.

    Attributes:
        reconstruction: half the squared action error, summed over the window and the action.
        kl: KL(q(z | window) || N(0, I)) [nats], summed over the latent.
        prior_nll: -log p(z | first observation) of a posterior sample [nats]; its gradient stays in the prior.
        normal_nll: -log N(z; 0, I) of the same sample [nats]: what the prior has to beat.
        action_mse: squared error per action component.
    """

    reconstruction: Tensor
    kl: Tensor
    prior_nll: Tensor
    normal_nll: Tensor
    action_mse: Tensor

    def total(self, beta: float) -> Tensor:
        """What training minimises: ``reconstruction + beta * kl + prior_nll``."""
        return self.vae(beta) + self.prior_nll

    def vae(self, beta: float) -> Tensor:
        """``reconstruction + beta * kl``, in the units in which beta is quoted throughout."""
        return self.reconstruction + beta * self.kl


class MlpEncoder(nn.Module):
    """Posterior parameters from a flattened window."""

    def __init__(self, config: EncoderConfig, step_dim: int, horizon: int, out_dim: int) -> None:
        super().__init__()
        self.net = Mlp((horizon * step_dim, *config.hidden, out_dim))

    def forward(self, steps: Tensor) -> Tensor:
        """(B, H, F + A) to (B, out)."""
        return self.net(steps.flatten(1))


class LstmEncoder(nn.Module):
    """Posterior parameters from the last state of an LSTM over the window's steps."""

    def __init__(self, config: EncoderConfig, step_dim: int, horizon: int, out_dim: int) -> None:
        super().__init__()
        width, *head = config.hidden
        self.lstm = nn.LSTM(step_dim, width, batch_first=True)
        self.head = Mlp((width, *head, out_dim))

    def forward(self, steps: Tensor) -> Tensor:
        """(B, H, F + A) to (B, out)."""
        return self.head(self.lstm(steps)[0][:, -1])


ENCODERS: dict[str, type[MlpEncoder] | type[LstmEncoder]] = {"mlp": MlpEncoder, "lstm": LstmEncoder}


class SkillVae(nn.Module):
    """Encoder, closed-loop decoder and prior over the same normalised features.

    Args:
        config: sizes and kinds.
        features: observation to network input; fixes the observation's length O.
        action_dim: action components A.
    """

    def __init__(self, config: SkillModelConfig, features: FeatureMap, action_dim: int) -> None:
        super().__init__()
        self.config = config
        self.obs_dim = features.obs_dim
        self.action_dim = action_dim
        latent = config.latent_dim
        self.features = Features(features)
        self.encoder = ENCODERS[config.encoder.kind](
            config.encoder, features.dim + action_dim, config.horizon, 2 * latent
        )
        self.decoder = Mlp((features.dim + latent, *config.decoder_hidden, action_dim), norm=config.norm)
        self.prior = build_prior(config.prior, features.dim, latent)

    def encode(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log standard deviation, each (B, Z), of windows (B, H, O) and (B, H, A).

        Raises:
            SpecError: a shape is wrong.
        """
        require_shape("observation window", observation, None, self.config.horizon, self.obs_dim)
        require_shape("action window", action, observation.shape[0], self.config.horizon, self.action_dim)
        return self._posterior(self.features(observation), action)

    def decode(self, observation: Tensor, latent: Tensor) -> Tensor:
        """Actions (B, A) in (-1, 1) that skills (B, Z) take at observations (B, O).

        Raises:
            SpecError: a shape is wrong.
        """
        require_shape("observation", observation, None, self.obs_dim)
        require_shape("latent", latent, observation.shape[0], self.config.latent_dim)
        return self._decode(self.features(observation), latent)

    def losses(self, observation: Tensor, action: Tensor, noise: Tensor) -> SkillLosses:
        """Loss terms of windows.

        Args:
            observation: (B, H, O).
            action: (B, H, A) labels in [-1, 1].
            noise: (B, Z) standard normal, by which the posterior is sampled; zeros take its mean.

        Raises:
            SpecError: a shape is wrong.
        """
        require_shape("observation window", observation, None, self.config.horizon, self.obs_dim)
        require_shape("action window", action, observation.shape[0], self.config.horizon, self.action_dim)
        require_shape("noise", noise, observation.shape[0], self.config.latent_dim)
        features = self.features(observation)
        mean, log_std = self._posterior(features, action)
        latent = mean + torch.exp(log_std) * noise
        per_step = latent[:, None].expand(-1, self.config.horizon, -1)
        squared_error = (self._decode(features, per_step) - action).square()
        # The prior learns to follow the posterior; the posterior does not move towards the prior.
        sample = latent.detach()
        return SkillLosses(
            reconstruction=0.5 * squared_error.sum(dim=(1, 2)).mean(),
            kl=kl_to_standard_normal(mean, log_std).mean(),
            prior_nll=-self.prior.log_prob(sample, features[:, 0]).mean(),
            normal_nll=-standard_normal_log_prob(sample).mean(),
            action_mse=squared_error.mean(),
        )

    def _posterior(self, features: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.encoder(torch.cat((features, action), dim=-1)).chunk(2, dim=-1)
        return mean, soft_limit(log_std, _LOG_STD_LIMIT)

    def _decode(self, features: Tensor, latent: Tensor) -> Tensor:
        return torch.tanh(self.decoder(torch.cat((features, latent), dim=-1)))


def kl_to_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, I)) [nats], summed over the last axis: (B, Z) to (B,)."""
    return 0.5 * (mean.square() + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(dim=-1)

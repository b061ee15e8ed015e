"""SPiRL's skill model: posterior over windows, closed- or open-loop decoder, learnt prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reskill_core.models.decoders import ClosedLoopDecoder, OpenLoopDecoder
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.encoders import MlpEncoder, ProcessingLstm, gaussian_of
from reskill_core.models.features import FeatureMap
from reskill_core.models.observations import Inputs
from reskill_core.models.skill_model import SkillLosses
from reskill_core.models.spirl.conditioned import ConditionedModel, Names
from reskill_core.models.spirl.config import DecoderConfig, SpirlConfig
from reskill_core.spec import TaskSpec

_ENCODERS: dict[str, type[MlpEncoder] | type[ProcessingLstm]] = {"mlp": MlpEncoder, "lstm": ProcessingLstm}


@dataclass(frozen=True)
class SpirlLosses(SkillLosses):
    """Loss terms of SPiRL's model.

    Attributes:
        image_loss: squared error of reconstructed pictures times its weight; None if pictures are not reconstructed.
        disagreement: mean KL divergence between two members of the prior's ensemble [nats]; None without an ensemble,
            and in training.
    """

    image_loss: Tensor | None = None
    disagreement: Tensor | None = None

    def vae(self, beta: float) -> Tensor:
        """VAE loss with the loss of pictures."""
        loss = super().vae(beta)
        return loss if self.image_loss is None else loss + self.image_loss


class SpirlModel(ConditionedModel):
    """Skill model by SPiRL.

    The decoder is fitted to actions through the same tanh that limits them when it acts, and the prior to the latents
    that are decoded, neither scaled nor limited.
    """

    config: SpirlConfig
    decoder: ClosedLoopDecoder | OpenLoopDecoder

    def __init__(self, config: SpirlConfig, features: FeatureMap, task: TaskSpec) -> None:
        super().__init__(config, features, task)
        latent, action = config.latent_dim, task.action.dim
        self._encoder_seen = self._selection(config.encoder.inputs)
        self.encoder = _ENCODERS[config.encoder.kind](
            config.encoder, self._encoder_seen.dim + action, config.horizon, 2 * latent
        )
        self.decoder = self._decoder(config.decoder, latent, action)

    def _skill_inputs(self) -> Mapping[str, Names]:
        return {"encoder": self.config.encoder.inputs, "decoder": self.config.decoder.inputs}

    def _decoder(self, config: DecoderConfig, latent: int, action: int) -> ClosedLoopDecoder | OpenLoopDecoder:
        seen = self._selection(config.inputs)
        if config.kind == "open_loop":
            return OpenLoopDecoder(self.feature_dim, latent, config.hidden, action, seen)
        clock = self.config.horizon if config.clock else 0
        return ClosedLoopDecoder(self.feature_dim, latent, config.hidden, action, config.norm, seen, clock)

    @property
    def image_steps(self) -> int:
        """See :class:`SkillModel`."""
        config = self.config
        each = [config.encoder.inputs, *([config.decoder.inputs] if config.decoder.kind == "closed_loop" else [])]
        return config.horizon if self._seen_images(each) else 1

    def posterior_of(self, features: Tensor, action: Tensor) -> DiagonalGaussian:
        """See :class:`SkillModel`."""
        return gaussian_of(self.encoder(torch.cat((self._encoder_seen(features), action), dim=-1)))

    def losses(
        self, observation: Inputs, action: Tensor, noise: Tensor, decoded: tuple[Inputs, Tensor] | None = None
    ) -> SpirlLosses:
        """See :class:`SkillModel`."""
        terms, first = self._losses(observation, action, noise, decoded)
        return SpirlLosses(**vars(terms), **self._further_losses(observation, first))

"""Hyper-parameters of SPiRL's skill models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from reskill_core.models.config import EncoderConfig, FeatureConfig, Norm, PriorConfig, SkillModelConfig
from reskill_core.models.registry import SkillModelKind
from reskill_core.parameters import parameter


@dataclass(frozen=True)
class ImageConfig:
    """Convolutions that turn each image of the task into features.

    Attributes:
        channels: channels of the first layer; each further one halves the picture and has twice as many.
        features: length of an image's features.
        shared: whether the prior sees the features of posterior and decoder. Otherwise it has convolutions of its own,
            whose features are named ``prior_<image>`` where posterior or decoder see the image as well.
        reconstruction: weight of the squared error of pictures that are reconstructed from their features, which keeps
            in the features what actions alone do not ask for; 0 for none.
    """

    channels: int = parameter(8, low=1, high=512)
    features: int = parameter(32, low=1, high=4096)
    shared: bool = False
    reconstruction: float = parameter(0.0, low=0.0, high=1e4)


@dataclass(frozen=True)
class SpirlEncoderConfig(EncoderConfig):
    """Posterior q(z | features, actions of a window).

    Attributes:
        kind: ``lstm`` over the steps of the window, or ``mlp`` over the flattened window.
        hidden: widths of the hidden layers; for an LSTM, its width and then those of the following layers.
        inputs: features that it sees beside the actions: ``vector``, terms of the observation, and images; null for
            all, ``[]`` for none.
    """

    kind: Literal["mlp", "lstm"] = "lstm"
    hidden: tuple[int, ...] = parameter((128,), low=1, high=4096, entries=8)
    inputs: tuple[str, ...] | None = None

    def violations(self) -> list[str]:
        """Check rules on single fields."""
        return _hidden_violations(self.hidden)


@dataclass(frozen=True)
class DecoderConfig:
    """Decoder from skills to actions.

    Attributes:
        kind: ``closed_loop`` sees the features of every step, ``open_loop`` is an LSTM that sees those of the first.
        hidden: widths of the hidden layers; for ``open_loop``, the width of the LSTM and then those of the layers that
            compute its initial state.
        norm: ``batch`` adds batch normalisation to each hidden layer of a closed-loop decoder, ``none`` omits it.
        clock: whether a closed-loop decoder sees the time since a skill began, which tells when its parts follow each
            other where observations do not.
        inputs: features that it sees, as for the encoder.
    """

    kind: Literal["closed_loop", "open_loop"] = "closed_loop"
    hidden: tuple[int, ...] = parameter((192, 192, 192), low=1, high=4096, entries=8)
    norm: Norm = "batch"
    clock: bool = False
    inputs: tuple[str, ...] | None = None

    def violations(self) -> list[str]:
        """Check rules on single fields."""
        return _hidden_violations(self.hidden)


@dataclass(frozen=True)
class SpirlPriorConfig(PriorConfig):
    """Prior p(z | features of a skill's first observation).

    Attributes:
        kind: ``flow``, ``gaussian``, or ``mixture`` of Gaussians.
        components: number of Gaussians of a mixture.
        ensemble: number of priors. Each learns from its own share of every batch; the first one acts, and how far they
            disagree is a metric, which is large where there are few data.
        inputs: features that it sees, as for the encoder, but one at least.
    """

    kind: Literal["flow", "gaussian", "mixture"] = "flow"  # type: ignore[assignment]  # More than ReSkill's.
    components: int = parameter(5, low=2, high=1000)
    ensemble: int = parameter(1, low=1, high=100)
    inputs: tuple[str, ...] | None = None

    def violations(self) -> list[str]:
        """Check rules on single fields."""
        return [*super().violations(), *(["inputs: needs one at least, got none"] if self.inputs == () else [])]


@dataclass(frozen=True)
class ConditionedConfig(SkillModelConfig):
    """What SPiRL's skill models have in common: features of vector and images, and a prior over them.

    Attributes:
        features: features of the vector.
        images: features of each image.
        prior: skill prior.
    """

    features: FeatureConfig = field(default_factory=FeatureConfig)
    images: ImageConfig = field(default_factory=ImageConfig)
    prior: SpirlPriorConfig = field(default_factory=SpirlPriorConfig)

    def violations(self) -> list[str]:
        """Check rules that involve several sections."""
        faults = super().violations()
        if self.prior.kind == "flow" and self.latent_dim == 1:
            faults.append("latent_dim: prior.kind flow couples two halves and needs 2 at least, got 1")
        return faults


@dataclass(frozen=True)
class SpirlConfig(ConditionedConfig):
    """Configuration of SPiRL's skill model.

    Attributes:
        encoder: posterior.
        decoder: decoder.
    """

    kind: str = "spirl"
    latent_dim: int = parameter(10, low=1, high=1024)
    encoder: SpirlEncoderConfig = field(default_factory=SpirlEncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


@dataclass(frozen=True)
class FlatConfig(ConditionedConfig):
    """Configuration of a flat prior: skills are single actions, and the prior is behaviour cloning.

    Attributes:
        horizon: always 1.
        latent_dim: number of action components; 0 takes it from the task.
    """

    kind: str = "flat"
    horizon: int = parameter(1, low=1, high=1)
    latent_dim: int = parameter(0, low=0, high=1024)


SPIRL = SkillModelKind(SpirlConfig, model="reskill_core.models.spirl.model:SpirlModel")
FLAT = SkillModelKind(FlatConfig, model="reskill_core.models.spirl.flat:FlatModel")


def _hidden_violations(hidden: tuple[int, ...]) -> list[str]:
    return [] if hidden else ["hidden: needs one width at least, got none"]

"""Hyper-parameters of skill models, which are stored in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from reskill_core.parameters import parameter
from reskill_core.spec import ObsSpec

Norm = Literal["none", "batch"]

# Slope of every LeakyReLU for negative inputs, in torch and numpy alike.
LEAKY_SLOPE = 0.1


@dataclass(frozen=True)
class FeatureConfig:
    """Features of an observation, the input of the networks.

    Attributes:
        relative: pairs of position terms of the observation; for each, the networks also get the offset of the first
            from the second [m] and its direction.
        direction_softening_m: the direction is ``offset / sqrt(|offset|^2 + softening^2)``, smooth where both
            coincide [m].
        std_floor: lower limit of the standard deviation that an entry is divided by, in the entry's unit, which limits
            the scaling of entries that hardly vary in the data.
        limit: normalised entries are clipped to [-limit, limit], which bounds outliers.
    """

    relative: tuple[tuple[str, str], ...] = ()
    direction_softening_m: float = parameter(0.01, low=1e-9, high=1.0)
    std_floor: float = parameter(0.005, low=1e-9, high=1e3)
    limit: float = parameter(8.0, low=1e-3, high=1e6)

    def spec_violations(self, obs: ObsSpec) -> list[str]:
        """List the names in :attr:`relative` that are not position terms of ``obs``."""
        allowed = [term.name for term in obs.terms if term.kind == "position"]
        return [
            f"features.relative: {name!r} is no position term of the observation; allowed: {', '.join(allowed)}"
            for pair in self.relative
            for name in pair
            if name not in allowed
        ]


@dataclass(frozen=True)
class MemoryConfig:
    """Configuration of a memory.

    With delays, an observation does not say what an action leads to: those actions do that have not taken effect yet.

    Attributes:
        actions: number of last actions.
        features: number of control steps whose features are remembered, before the current ones.
    """

    actions: int = parameter(0, low=0, high=100)
    features: int = parameter(0, low=0, high=100)


@dataclass(frozen=True)
class EncoderConfig:
    """Posterior q(z | observations, actions of a window).

    Attributes:
        kind: ``mlp`` over the flattened window, or ``lstm`` over its steps.
        hidden: widths of the hidden layers; for an LSTM, its width and then those of the following layers.
    """

    kind: Literal["mlp", "lstm"] = "mlp"
    hidden: tuple[int, ...] = parameter((256, 256), low=1, high=4096, entries=8)


@dataclass(frozen=True)
class PriorConfig:
    """State-conditioned prior p(z | observation).

    Attributes:
        kind: a name in :data:`reskill_core.models.priors.PRIORS`.
        hidden: widths of the layers from the observation to the context; at least one.
        couplings: number of affine couplings (flow); from 2 on, every latent entry is transformed.
        coupling_hidden: hidden width of each coupling (flow).
        log_scale_limit: bound on the log-scale of each coupling (flow), or on the log standard deviation (gaussian).
    """

    kind: Literal["flow", "gaussian"] = "flow"
    hidden: tuple[int, ...] = parameter((128, 128), low=1, high=4096, entries=8)
    couplings: int = parameter(4, low=2, high=64)
    coupling_hidden: int = parameter(64, low=1, high=4096)
    log_scale_limit: float = parameter(2.0, low=1e-3, high=20.0)

    def violations(self) -> list[str]:
        """Check rules on single fields."""
        return [] if self.hidden else ["hidden: needs one width at least, got none"]


@dataclass(frozen=True)
class SkillModelConfig:
    """Base configuration of skill models; each kind has a subclass.

    Attributes:
        kind: a name in :data:`reskill_core.models.registry.SKILL_MODELS`.
        horizon: control steps of a skill.
        latent_dim: length of the latent that encodes a skill.
    """

    kind: str = "reskill"
    horizon: int = parameter(10, low=1, high=1000)
    latent_dim: int = parameter(4, low=1, high=1024)

    @classmethod
    def schema_of(cls, document: Mapping[str, Any]) -> type[SkillModelConfig]:
        """Return the configuration class of a document's kind; see :func:`reskill_core.config.config_from_dict`."""
        from reskill_core.models.registry import skill_model_kind

        return skill_model_kind(document).config

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        mine = type(self).kind
        return [] if self.kind == mine else [f"kind: this is the configuration of {mine!r}, got {self.kind!r}"]


@dataclass(frozen=True)
class ReskillModelConfig(SkillModelConfig):
    """Configuration of ReSkill's model: a closed-loop skill VAE with a flow or Gaussian prior.

    Attributes:
        norm: ``batch`` adds batch normalisation to each hidden layer of the decoder (folded into the layers for
            inference), ``none`` omits it.
        decoder_hidden: widths of the decoder's hidden layers.
        features: inputs of all networks.
        encoder: posterior.
        prior: skill prior.
    """

    norm: Norm = "batch"
    decoder_hidden: tuple[int, ...] = parameter((192, 192, 192), low=1, high=4096, entries=8)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    def violations(self) -> list[str]:
        """Check rules that involve several sections."""
        faults = super().violations()
        if self.prior.kind == "flow" and self.latent_dim < 2:
            faults.append(f"latent_dim: prior.kind flow couples two halves and needs 2 at least, got {self.latent_dim}")
        return faults

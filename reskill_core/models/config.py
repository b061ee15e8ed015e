"""Hyper-parameters of a skill module; they travel in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from reskill_core.spec import ObsSpec

Norm = Literal["none", "batch"]

# Slope of every LeakyReLU for negative inputs, in torch and numpy alike.
LEAKY_SLOPE = 0.1


@dataclass(frozen=True)
class FeatureConfig:
    """How an observation becomes the input of the networks.

    Attributes:
        relative: pairs of position terms of the observation; for each, the networks also get the offset of the first
            from the second [m] and its direction.
        direction_softening_m: the direction is ``offset / sqrt(|offset|^2 + softening^2)``, smooth where both
            coincide [m].
        std_floor: smallest standard deviation an entry is divided by, in the entry's own unit, so that entries that
            hardly vary in the data are not blown up.
        limit: normalised entries are clipped to [-limit, limit], which bounds what an outlier can do.
    """

    relative: tuple[tuple[str, str], ...] = ()
    direction_softening_m: float = 0.01
    std_floor: float = 0.005
    limit: float = 8.0

    def violations(self) -> list[str]:
        """Rules on single values."""
        positive = ("direction_softening_m", "std_floor", "limit")
        return [f"{name}: must be positive, got {getattr(self, name)}" for name in positive if getattr(self, name) <= 0]

    def spec_violations(self, obs: ObsSpec) -> list[str]:
        """Names in :attr:`relative` that are not position terms of ``obs``."""
        allowed = [term.name for term in obs.terms if term.kind == "position"]
        return [
            f"features.relative: {name!r} is no position term of the observation; allowed: {', '.join(allowed)}"
            for pair in self.relative
            for name in pair
            if name not in allowed
        ]


@dataclass(frozen=True)
class EncoderConfig:
    """Posterior q(z | observations, actions of a window).

    Attributes:
        kind: ``mlp`` over the flattened window, or ``lstm`` over its steps.
        hidden: widths of the hidden layers; of an LSTM, its width and then those of the layers behind it.
    """

    kind: Literal["mlp", "lstm"] = "mlp"
    hidden: tuple[int, ...] = (256, 256)


@dataclass(frozen=True)
class PriorConfig:
    """State-conditioned prior p(z | observation).

    Attributes:
        kind: a name in :data:`reskill_core.models.registry.PRIORS`.
        hidden: widths of the layers that turn the observation into a context; one (the last) at least.
        couplings: number of affine couplings (flow).
        coupling_hidden: hidden width of each coupling (flow).
        log_scale_limit: bound on the log-scale of each coupling (flow), or on the log standard deviation (gaussian).
    """

    kind: Literal["flow", "gaussian"] = "flow"
    hidden: tuple[int, ...] = (128, 128)
    couplings: int = 4
    coupling_hidden: int = 64
    log_scale_limit: float = 2.0

    def violations(self) -> list[str]:
        """Rules on single values."""
        faults = []
        if not self.hidden:
            faults.append("hidden: needs one width at least, got none")
        if self.couplings < 2:
            faults.append(f"couplings: needs 2 at least for every latent entry to be transformed, got {self.couplings}")
        if self.log_scale_limit <= 0:
            faults.append(f"log_scale_limit: must be positive, got {self.log_scale_limit}")
        return faults


@dataclass(frozen=True)
class SkillModelConfig:
    """A skill module: features, encoder, closed-loop decoder and prior.

    Attributes:
        horizon: control steps of a skill.
        latent_dim: entries of the latent that addresses a skill.
        norm: ``batch`` puts batch normalisation behind each hidden layer of the decoder (folded into the layers for
            inference), ``none`` leaves it out.
        decoder_hidden: widths of the decoder's hidden layers.
        features: inputs of all networks.
        encoder: posterior.
        prior: skill prior.
    """

    horizon: int = 10
    latent_dim: int = 4
    norm: Norm = "batch"
    decoder_hidden: tuple[int, ...] = (192, 192, 192)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    def violations(self) -> list[str]:
        """Rules on single values and across sections."""
        faults = [f"{name}: must be at least 1, got {value}" for name, value in self._sizes() if value < 1]
        if self.prior.kind == "flow" and self.latent_dim < 2:
            faults.append(f"latent_dim: prior.kind flow couples two halves and needs 2 at least, got {self.latent_dim}")
        return faults

    def _sizes(self) -> list[tuple[str, int]]:
        widths = {
            "decoder_hidden": self.decoder_hidden,
            "encoder.hidden": self.encoder.hidden,
            "prior.hidden": (*self.prior.hidden, self.prior.coupling_hidden),
            "horizon": (self.horizon,),
            "latent_dim": (self.latent_dim,),
        }
        return [(name, size) for name, sizes in widths.items() for size in sizes]

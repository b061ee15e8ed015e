"""Configuration of a skill training run; every field can be overridden on the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from reskill_core.models.config import ReskillModelConfig, SkillModelConfig
from reskill_core.parameters import MAX_SEED, parameter


@dataclass(frozen=True)
class OptimiserConfig:
    """Configuration of Adam, with separate learning rates for encoder and decoder and for the prior.

    Attributes:
        learning_rate: learning rate of encoder and decoder.
        prior_learning_rate: learning rate of the prior.
        schedule: ``cosine`` decays to zero at the last step, ``constant`` does not decay.
        warmup_steps: steps of linear warm-up from zero.
        gradient_norm: gradients of encoder and decoder together, and of the prior, are clipped to this norm.
        weight_decay: decoupled weight decay, per step and unit of learning rate.
    """

    learning_rate: float = parameter(3e-3, low=1e-9, high=1.0)
    prior_learning_rate: float = parameter(2e-3, low=1e-9, high=1.0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = parameter(200, low=0, high=10**9)
    gradient_norm: float = parameter(5.0, low=1e-6, high=1e6)
    weight_decay: float = parameter(0.0, low=0.0, high=10.0)


@dataclass(frozen=True)
class DisplacementConfig:
    """Displacement of joints in what the decoder sees in training, with labels that undo it; for closed-loop decoders.

    Attributes:
        terms: observation terms of joint positions whose joints are commanded by velocities, all of one unit; none to
            train on demonstrations as they are. What else depends on these positions stays as it was.
        std: largest standard deviation of displacements at the start of a window [unit of the terms]; that of a window
            is drawn between zero and this.
        gain: share of a displacement that labels undo per control step.
    """

    terms: tuple[str, ...] = ()
    std: float = parameter(0.1, low=1e-9, high=1e6)
    gain: float = parameter(0.2, low=1e-6, high=1.0)


@dataclass(frozen=True)
class SkillTrainingConfig:
    """Configuration of a skill training run.

    Attributes:
        data: folder of the demonstrations.
        out: run folder.
        on_bad_shard: ``refuse`` to train if a shard is damaged, or ``skip`` it with a warning.
        seed: seed of initial weights, split, window sampling and posterior noise.
        validation_fraction: share of held-out episodes.
        beta: weight of the KL term relative to half the summed squared error. With the default the latent is
            informative (about 10 nats), and N(0, I) is still a usable prior; 1e-6 does not improve reconstruction and
            leaves holes in the latent space, 1e-2 blurs actions (figures: README.md).
        target_kl: KL divergence [nats] that beta is adapted to, by dual ascent from ``beta``; 0 leaves beta fixed. The
            best checkpoint is judged by ``beta`` itself, so that validations remain comparable.
        beta_rate: change of log beta per step and relative distance from the target.
        batch_size: windows per step.
        steps: number of training steps.
        patience: stop after this many validations without improvement; 0 never stops early.
        log_every: steps between rows of training metrics.
        validate_every: steps between validations, each followed by a checkpoint; the last step always is.
        validation_windows: windows per validation.
        keep_checkpoints: numbered checkpoints kept in addition to the best one.
        threads: math threads. Two are nearly twice as fast on an idle machine and many times slower on a busy one.
        device: device that computes the steps; ``auto`` is a GPU if there is one. Checkpoints do not depend on it, and
            resuming is exact on the CPU.
        displacement: displacement of what the decoder sees, against drift.
        model: configuration of the skill model; its fields depend on its ``kind``.
        optimiser: configuration of the optimiser.
    """

    data: str
    out: str
    on_bad_shard: Literal["refuse", "skip"] = "refuse"
    seed: int = parameter(0, low=0, high=MAX_SEED)
    validation_fraction: float = parameter(0.05, low=1e-6, high=1 - 1e-6)
    beta: float = parameter(1e-3, low=0.0, high=1e3)
    target_kl: float = parameter(0.0, low=0.0, high=1e4)
    beta_rate: float = parameter(1e-2, low=1e-6, high=1.0)
    batch_size: int = parameter(256, low=1, high=2**16)
    steps: int = parameter(8_000, low=1, high=10**9)
    patience: int = parameter(0, low=0, high=10**6)
    log_every: int = parameter(100, low=1, high=10**9)
    validate_every: int = parameter(1_000, low=1, high=10**9)
    validation_windows: int = parameter(4_096, low=1, high=10**6)
    keep_checkpoints: int = parameter(2, low=1, high=10**4)
    threads: int = parameter(1, low=1, high=256)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    displacement: DisplacementConfig = field(default_factory=DisplacementConfig)
    model: SkillModelConfig = field(default_factory=ReskillModelConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        if self.log_every < 1 or self.validate_every % self.log_every == 0:
            return []
        return [
            "validate_every: must be a multiple of log_every, so that a run continues with whole averages, got "
            f"{self.validate_every} and {self.log_every}"
        ]

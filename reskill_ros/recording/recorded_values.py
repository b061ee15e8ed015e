"""Conversion of messages to the values of recorded episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from reskill_core.data.compressed_frames import compress_block
from reskill_core.sensing import MessageError
from reskill_core.spec import ImageFeature
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.plumbing import images
from reskill_ros.recording.episode_assembler import Demonstrated, State


def observed(size: int, message: Observation) -> NDArray[np.float32]:
    """Return the observation (O,) of a size.

    Raises:
        MessageError: ``wrong_size``.
    """
    return _sized(message.values, size)


def frame(feature: ImageFeature, message: Image) -> bytes:
    """Return the compressed frame of an image, because all frames of an episode are in memory before it is written.

    Raises:
        MessageError: the message does not contain such an image.
    """
    return compress_block(images.picture(message, feature)[None])


def demonstrated(size: int, message: SkillAction) -> Demonstrated:
    """Return the noise-free action (A,) of a size, with its source and noise scale.

    Raises:
        MessageError: ``wrong_size``.
    """
    return Demonstrated(_sized(message.decoded_action, size), message.source, message.noise_scale)


def executed(size: int, message: SkillAction) -> NDArray[np.float32]:
    """Return the executed action (A,) of a size.

    Raises:
        MessageError: ``wrong_size``.
    """
    return _sized(message.action, size)


def _sized(values: Sequence[float], size: int) -> NDArray[np.float32]:
    if len(values) != size:
        raise MessageError("wrong_size", f"{len(values)} values, expected {size}")
    return np.array(values, dtype=np.float32)


def state(message: EpisodeState) -> State:
    """Return the state of the driver's episode."""
    return State(
        episode_id=message.episode_id,
        seed=message.seed,
        step=message.step,
        reward=message.reward,
        success=message.success,
        terminated=message.terminated,
        truncated=message.truncated,
        valid=message.valid,
        sim_state=np.array(message.sim_state, dtype=np.float64),
    )

"""Convolutions between images and their features."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from reskill_core.models.config import LEAKY_SLOPE
from reskill_core.models.spirl.config import ImageConfig
from reskill_core.spec import ImageFeature

# Pictures are halved until their shorter side is at most this long [pixel].
_SMALLEST = 4


class ConvEncoder(nn.Module):
    """Encoder from stacked frames to normalised features: 4 x 4 convolutions of stride 2, and one linear layer."""

    def __init__(self, config: ImageConfig, image: ImageFeature) -> None:
        super().__init__()
        channels = _channels(config, image)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1) for inputs, outputs in pairwise(channels)
        )
        height, width = (side >> (len(channels) - 1) for side in (image.height, image.width))
        self.head = nn.Linear(channels[-1] * height * width, config.features)
        # The networks and learners behind it meet features of one scale, whatever the pictures.
        self.norm = nn.LayerNorm(config.features)

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 frames (..., stack, H, W, C) to features (..., features)."""
        leading = frames.shape[:-4]
        hidden = scaled(frames)
        for convolution in self.convolutions:
            hidden = functional.leaky_relu(convolution(hidden), LEAKY_SLOPE)
        return self.norm(self.head(hidden.flatten(1))).unflatten(0, leading)


class ConvDecoder(nn.Module):
    """Decoder from features back to frames, the mirror image of :class:`ConvEncoder`."""

    def __init__(self, config: ImageConfig, image: ImageFeature) -> None:
        super().__init__()
        channels = _channels(config, image)[::-1]
        halvings = len(channels) - 1
        self._small = (channels[0], image.height >> halvings, image.width >> halvings)
        self._size = (image.height, image.width)
        self.head = nn.Linear(config.features, self._small[0] * self._small[1] * self._small[2])
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1) for inputs, outputs in pairwise(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, features) to frames (B, stack * C, H, W), scaled as by :func:`scaled`."""
        hidden = self.head(features).unflatten(1, self._small)
        for convolution in self.convolutions:
            hidden = convolution(functional.leaky_relu(hidden, LEAKY_SLOPE))
        if hidden.shape[-2:] != self._size:  # Sides that are no multiples were rounded down.
            hidden = functional.interpolate(hidden, self._size)
        return hidden


def scaled(frames: Tensor) -> Tensor:
    """Scale uint8 frames (..., stack, H, W, C) to [-1, 1], in torch's layout (B, stack * C, H, W)."""
    frames = frames.flatten(0, -5).permute(0, 1, 4, 2, 3).flatten(1, 2)
    return frames.to(torch.float32) / 127.5 - 1.0


def _channels(config: ImageConfig, image: ImageFeature) -> list[int]:
    """Channels of the frames, and of each layer's output."""
    channels, side = [image.stack * image.channels], min(image.height, image.width)
    while side > _SMALLEST or len(channels) == 1:
        channels.append(config.channels << (len(channels) - 1))
        side //= 2
    return channels

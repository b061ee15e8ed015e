"""Conversion between images (uint8, height x width x channels) and sensor_msgs/Image."""

from __future__ import annotations

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from reskill_core.sensing import MessageError
from reskill_core.spec import ImageFeature

Picture = NDArray[np.uint8]

# Encoding of published images, by number of channels.
_ENCODINGS = {1: "mono8", 2: "8UC2", 3: "rgb8", 4: "rgba8"}
# Order of the channels of other encodings, in terms of ours.
_CHANNELS = {
    **dict.fromkeys(("mono8", "8UC1"), (0,)),
    "8UC2": (0, 1),
    **dict.fromkeys(("rgb8", "8UC3"), (0, 1, 2)),
    "bgr8": (2, 1, 0),
    **dict.fromkeys(("rgba8", "8UC4"), (0, 1, 2, 3)),
    "bgra8": (2, 1, 0, 3),
}


def image_message(stamp: Time, frame_id: str, picture: Picture) -> Image:
    """Create a message of an image (H, W, C)."""
    height, width, channels = picture.shape
    message = Image(height=height, width=width, encoding=_ENCODINGS[channels], step=width * channels)
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.data = array("B", np.ascontiguousarray(picture).tobytes())
    return message


def picture(message: Image, feature: ImageFeature) -> Picture:
    """Read the image (H, W, C) of a message for an image feature, with colours in the order red, green, blue.

    Raises:
        MessageError: ``wrong_encoding``, ``wrong_size`` or ``length_mismatch``.
    """
    order = _CHANNELS.get(message.encoding)
    if order is None or len(order) != feature.channels:
        known = ", ".join(name for name, channels in _CHANNELS.items() if len(channels) == feature.channels)
        raise MessageError("wrong_encoding", f"image is encoded as {message.encoding[:30]!a}, expected one of {known}")
    if (message.height, message.width) != (feature.height, feature.width):
        raise MessageError(
            "wrong_size",
            f"image has {message.height} x {message.width} pixels, expected {feature.height} x {feature.width}; "
            "image_proc's resize node makes it so",
        )
    row = feature.width * feature.channels
    if message.step < row or len(message.data) != message.step * feature.height:
        raise MessageError(
            "length_mismatch",
            f"image has {len(message.data)} bytes in rows of {message.step}, which do not fit its size",
        )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(feature.height, message.step)[:, :row]
    pixels = rows.reshape(feature.frame_shape)
    return pixels.copy() if order == tuple(range(feature.channels)) else pixels[..., list(order)]

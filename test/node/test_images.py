"""Images: pictures as messages and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image

from reskill_core.sensing import MessageError
from reskill_core.spec import ImageFeature
from reskill_ros.plumbing import convert, images

FEATURE = ImageFeature("view", 2, 3, 3)


# ---------------------------------------------------------------------- messages


def test_a_picture_is_the_same_after_a_message() -> None:
    for channels in (1, 2, 3, 4):
        picture = np.random.default_rng(0).integers(0, 256, (4, 5, channels), np.uint8)
        message = images.image_message(convert.ns_to_stamp(7), "view", picture)
        np.testing.assert_array_equal(images.picture(message, ImageFeature("view", 4, 5, channels)), picture)


def test_rows_may_be_padded_and_colours_in_another_order() -> None:
    """Two rows of three pixels, each with a byte to spare; blue comes first."""
    data = [*range(9), 99, *range(9, 18), 99]
    message = Image(height=2, width=3, step=10, encoding="bgr8", data=data)
    assert images.picture(message, FEATURE).tolist() == [
        [[2, 1, 0], [5, 4, 3], [8, 7, 6]],
        [[11, 10, 9], [14, 13, 12], [17, 16, 15]],
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "16UC1"}, "wrong_encoding"),
        ({"encoding": "mono8"}, "wrong_encoding"),
        ({"height": 3}, "wrong_size"),
        ({"step": 8}, "length_mismatch"),
        ({"data": [0] * 17}, "length_mismatch"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(change: dict[str, Any], reason: str) -> None:
    message = Image(**{"height": 2, "width": 3, "step": 9, "encoding": "rgb8", "data": [0] * 18, **change})
    with pytest.raises(MessageError) as caught:
        images.picture(message, FEATURE)
    assert caught.value.reason == reason

"""What a driver file may say about the kinematics of its arm."""

from __future__ import annotations

from typing import Any

import pytest

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError
from reskill_core.kinematics import KinematicsConfig

ARM = {"model": "topic", "end_effector": "tool0", "joints": ["a", "b"]}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"end_effector": ""}, "end_effector: the name of a link or site"),
        ({"posture": [0.1]}, "posture: has 1 values for 2 joints"),
        ({"max_speed": [1.0, 1.0, 1.0]}, "max_speed: has 3 values for 2 joints"),
        ({"max_speed": [0.0]}, "max_speed: must be at least"),
        ({"tool_quat_wxyz": [1.0, 1.0, 0.0, 0.0]}, "tool_quat_wxyz: must be a unit quaternion"),
        ({"tool_positon": [0.0, 0.0, 0.0]}, "did you mean tool_position"),
    ],
)
def test_impossible_kinematics_are_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        config_from_dict(KinematicsConfig, ARM | changes)
    config_from_dict(KinematicsConfig, ARM)

"""Values that a driver measures itself, and rotations of its base: what is taken and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from reskill_core.sensing import MessageError, Sensing, SensingConfig
from reskill_core.spec import ObsSpec, TaskSpec, named_term

S = 10**9
TASK = TaskSpec("dials", ObsSpec((), (), (named_term("force", 3, "N"), named_term("level", 2, "m"))))


def test_values_of_a_term_have_its_length_wherever_it_stands() -> None:
    sensing = Sensing(TASK, SensingConfig(trigger="timer"))
    for term, length in (("force", 3), ("level", 2)):
        for wrong in (length - 1, length + 1):
            with pytest.raises(MessageError, match=f"{term}: {wrong} values, expected {length}"):
                sensing.offer_values(term, np.ones(wrong), S, 1.0, S)
        sensing.offer_values(term, np.linspace(1.0, length, length), S, 1.0, S)
    tick = sensing.tick_if_fresh(1.0, S)
    assert tick is not None
    assert tick.values.tolist() == [[1.0, 2.0, 3.0, 1.0, 2.0]]


def test_a_rotation_of_the_base_is_a_unit_quaternion() -> None:
    config = SensingConfig()
    assert not config.violations()
    turned = replace(config, base_quat_wxyz=(math.sqrt(0.5), 0.0, 0.0, -math.sqrt(0.5)))
    assert not turned.violations()
    (fault,) = replace(config, base_quat_wxyz=(1.0, 1.0, 0.0, 0.0)).violations()
    assert fault.startswith("base_quat_wxyz: ")

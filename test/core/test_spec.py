"""Layouts of observations and actions: quantities, units, limits, images, and documents of earlier versions."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from reskill_core.errors import SpecError
from reskill_core.resources import shipped_models
from reskill_core.runtime.loading import load_policy
from reskill_core.spec import (
    END_EFFECTOR_VELOCITY,
    GRIPPER_VELOCITY,
    JOINT_POSITION,
    JOINT_VELOCITY,
    RAW,
    ActionComponent,
    ActionSpec,
    ImageFeature,
    ObsSpec,
    TaskSpec,
    copied,
    frame_term,
    images_of,
    named_term,
    num_rows,
    put_rows,
    stacked,
    take_rows,
    vector_of,
)

ELBOW = ActionComponent("elbow", JOINT_POSITION, "rad", 3.0, low=-1.0, high=0.25)
CAMERA = ImageFeature("camera", height=2, width=3, channels=1, stack=2)
PICTURES = ObsSpec(("gripper",), (), (frame_term("gripper_position", "position", "gripper"),), (CAMERA,))


@given(npst.arrays(np.float32, 4, elements=st.floats(-1, 1, width=32)))
def test_actions_cross_the_wire_exactly(action: np.ndarray) -> None:
    spec = ActionSpec()
    assert np.array_equal(spec.from_command(spec.to_command(action)), action)


def test_a_command_is_the_action_times_the_scale_of_each_component() -> None:
    spec = ActionSpec((ELBOW, ActionComponent("gear", RAW, "1", 2.0)))
    assert spec.to_command(np.array([-1.0, 0.25], np.float32)).tolist() == [-3.0, 0.5]
    assert spec.from_command([-1.5, 1.0]).tolist() == [-0.5, 0.5]
    assert (spec.names, spec.units, spec.scale) == (("elbow", "gear"), ("rad", "1"), (3.0, 2.0))
    assert spec.indices(RAW) == (1,)


def test_actions_are_cut_to_the_limits_of_each_component() -> None:
    spec = ActionSpec((ELBOW, ActionComponent("gear", RAW, "1", 2.0, low=0.0)))
    np.testing.assert_array_equal(spec.clip([[2.0, -1.0], [-2.0, 3.0]]), np.array([[0.25, 0], [-1, 1]], np.float32))
    clipped = ActionSpec().clip([2.0, -3.0, 0.5, np.nan])
    assert clipped.dtype == np.float32
    np.testing.assert_array_equal(clipped, np.array([1, -1, 0.5, np.nan], dtype=np.float32))
    with pytest.raises(SpecError, match="last axis must have length 4"):
        ActionSpec().clip([0.0, 1.0])


def test_components_have_to_make_sense() -> None:
    with pytest.raises(SpecError, match="unknown action quantity 'torque'; allowed: end_effector_velocity_x"):
        ActionComponent("elbow", "torque", "N m", 1.0)
    with pytest.raises(SpecError, match=r"'elbow': joint_position has unit rad or m, got 'rad/s'"):
        replace(ELBOW, unit="rad/s")
    with pytest.raises(SpecError, match=r"limits must rise within \[-1, 1\], got 0\.25, 0\.25"):
        replace(ELBOW, low=0.25)
    with pytest.raises(SpecError, match=r"limits must rise within \[-1, 1\], got -1\.0, 1\.5"):
        replace(ELBOW, high=1.5)
    ahead = ActionComponent("ahead", END_EFFECTOR_VELOCITY[0], "m/s", 1.0)
    with pytest.raises(SpecError, match="end_effector_velocity_x is commanded by more than one"):
        ActionSpec((ahead, replace(ahead, name="again")))
    with pytest.raises(SpecError, match="duplicate names: elbow, elbow"):
        ActionSpec((ELBOW, ELBOW))
    with pytest.raises(SpecError, match="at least one component"):
        ActionSpec(())


# Quantities and images of shipped models that are not Fetch's.
OTHERS: dict[str, tuple[list[str], list[str]]] = {
    "kitchen": ([JOINT_VELOCITY] * 9, []),
    "maze_images": (list(END_EFFECTOR_VELOCITY[:2]), ["camera"]),
}


def old_document(**changes: Any) -> dict[str, Any]:
    """A layout of actions as it was written before there were components."""
    return {
        "names": ["x", "y", "z", "gripper", "wrist"],
        "velocity_scale": [1.25, 1.25, 1.25, 25.0, 2.0],
        **changes,
    }


def test_layouts_of_earlier_versions_read_as_what_they_meant() -> None:
    spec = ActionSpec.from_dict(old_document())
    assert spec.quantities == (*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY, JOINT_VELOCITY)
    assert spec.units == ("m/s", "m/s", "m/s", "m/s", "rad/s")
    assert spec.scale == (1.25, 1.25, 1.25, 25.0, 2.0)
    assert spec.end_effector == (0, 1, 2)
    assert ActionSpec.from_dict(asdict(spec)) == spec
    assert ActionSpec.from_dict({key: value[:4] for key, value in old_document().items()}) == ActionSpec()
    named = ActionSpec.from_dict(
        {
            "names": ["up", "jaw"],
            "velocity_scale": [1.0, 2.0],
            "quantities": [END_EFFECTOR_VELOCITY[2], GRIPPER_VELOCITY],
        }
    )
    assert named.quantities == (END_EFFECTOR_VELOCITY[2], GRIPPER_VELOCITY)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"velocity_scale": [1.0]}, "5 action names but 1 velocity scales"),
        ({"quantities": [GRIPPER_VELOCITY]}, "5 action names but 1 quantities"),
        ({"quantities": ["torque"] * 5}, "unknown action quantity 'torque'"),
        ({"velocity_scale": [0.0] * 5}, r"components\.0\.scale: must be at least"),
        ({"velocity_scale": 3}, "velocity_scale of the specification of actions must be a list"),
        ({"speed": 1}, "unknown keys: speed"),
        ({"names": [[], 1, None, "a", "b"]}, "components"),
    ],
)
def test_what_no_earlier_version_has_written_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        ActionSpec.from_dict(old_document(**changes))


@pytest.mark.parametrize("model", shipped_models())
def test_shipped_models_command_what_they_did(model: str) -> None:
    """Their documents are read as what they were written for; those of Fetch are older than quantities and images."""
    spec = load_policy(model).task_spec
    quantities, images = OTHERS.get(spec.name, (list(ActionSpec().quantities), []))
    assert list(spec.action.quantities) == quantities
    assert [image.name for image in spec.obs.images] == images
    assert (spec.action == ActionSpec()) == (spec.name not in OTHERS)


def test_documents_hold_everything() -> None:
    obs = replace(PICTURES, terms=(*PICTURES.terms, named_term("phase", 2, "rad")))
    task = TaskSpec("example", obs, ActionSpec((ELBOW, ActionComponent("gear", RAW, "", 2.0))))
    document = json.loads(json.dumps(task.to_dict()))
    assert TaskSpec.from_dict(document) == task
    other = replace(task, obs=replace(obs, images=(replace(CAMERA, stack=3),)))
    assert task.interface_differences(other) == ["obs.images[0].stack: 2 != 3"]
    for name, value, text in (
        ("stack", 0, r"obs\.images\.0\.stack: must be at least 1"),
        ("name", "vector", "an image must be named"),
        ("name", "../etc", "an image must be named"),
        ("width", 2**20, r"obs\.images\.0\.width: must be at most 4096"),
    ):
        document["obs"]["images"][0] = {**asdict(CAMERA), name: value}
        with pytest.raises(SpecError, match=text):
            TaskSpec.from_dict(document)
    document["obs"]["images"] = [{**asdict(CAMERA), "height": 4096, "width": 4096, "channels": 4, "stack": 1}] * 2
    document["obs"]["images"][1] = {**document["obs"]["images"][1], "name": "second"}
    with pytest.raises(SpecError, match="images must have at most 67108864 bytes in all, got 134217728"):
        TaskSpec.from_dict(document)


def test_terms_and_images_need_names_of_their_own() -> None:
    with pytest.raises(SpecError, match=r"images have duplicate names: \['camera', 'camera'\]"):
        replace(PICTURES, images=(CAMERA, CAMERA))
    with pytest.raises(SpecError, match="kind 'named' refers to nothing else"):
        replace(named_term("phase", 1, "rad"), of=("gripper",))


def test_a_layout_may_consist_of_images_alone() -> None:
    assert ObsSpec((), (), (), (CAMERA,)).violations() == []
    assert ObsSpec((), (), ()).violations() == ["must have from 1 to 10000 entries, got 0"]


def pictures(rows: int, first: int = 0) -> dict[str, np.ndarray]:
    """Observations whose every number says which row it belongs to."""
    number = np.arange(first, first + rows)
    camera = np.broadcast_to(number[:, None, None, None, None], (rows, *CAMERA.shape)).astype(np.uint8)
    return {"vector": np.repeat(number[:, None], 3, axis=1).astype(np.float64), "camera": camera}


def test_observations_with_images_are_checked_part_by_part() -> None:
    observations = pictures(4)
    checked = PICTURES.check(observations)
    assert isinstance(checked, dict)
    assert list(checked) == ["vector", "camera"]
    assert PICTURES.check(PICTURES.zeros(2)) is not None
    with pytest.raises(SpecError, match="a mapping of vector, camera, got an array"):
        PICTURES.check(np.zeros((4, 3)))
    with pytest.raises(SpecError, match="has the parts camera, vector; got vector"):
        PICTURES.check({"vector": observations["vector"]})
    with pytest.raises(SpecError, match=r"uint8\(4, 2, 2, 3, 1\), got float64"):
        PICTURES.check({**observations, "camera": observations["camera"].astype(np.float64)})
    with pytest.raises(SpecError, match=r"uint8\(4, 2, 2, 3, 1\), got uint8\(3, 2, 2, 3, 1\)"):
        PICTURES.check({**observations, "camera": observations["camera"][:3]})
    plain = replace(PICTURES, images=())
    np.testing.assert_array_equal(plain.check(observations["vector"]), observations["vector"])
    with pytest.raises(SpecError, match="no parts, it is a vector"):
        plain.check(observations)


def test_rows_of_observations_with_images() -> None:
    observations = pictures(4)
    taken = take_rows(observations, [3, 1])
    assert num_rows(taken) == 2
    assert vector_of(taken)[:, 0].tolist() == [3, 1]
    assert images_of(taken)["camera"][:, 0, 0, 0, 0].tolist() == [3, 1]
    target = copied(observations)
    put_rows(target, np.array([False, True, False, True]), pictures(2, first=8))
    assert vector_of(target)[:, 0].tolist() == [0, 8, 2, 9]
    assert images_of(target)["camera"][:, 1, 1, 2, 0].tolist() == [0, 8, 2, 9]
    assert vector_of(observations)[:, 0].tolist() == [0, 1, 2, 3]
    sequence = stacked([observations, target], axis=1)
    assert images_of(sequence)["camera"].shape == (4, 2, *CAMERA.shape)
    assert vector_of(sequence)[:, :, 0].tolist() == [[0, 0], [1, 8], [2, 2], [3, 9]]


def test_rows_of_vectors() -> None:
    observations = np.arange(8.0).reshape(4, 2)
    assert vector_of(observations) is observations
    assert images_of(observations) == {}
    assert num_rows(observations) == 4
    target = copied(observations)
    put_rows(target, [0], take_rows(observations, [3]))
    np.testing.assert_array_equal(target, [[6, 7], [2, 3], [4, 5], [6, 7]])
    np.testing.assert_array_equal(stacked([observations[0], observations[1]]), observations[:2])


def test_a_closed_gripper_is_in_documents_where_there_is_one() -> None:
    """Documents of earlier versions do not say so, and are of the same layouts."""
    open_task = load_policy("agents/clean_up").checkpoint.task
    closed = replace(open_task, gripper_closed=True)
    assert "gripper_closed" not in open_task.to_dict()
    assert TaskSpec.from_dict(closed.to_dict()) == closed
    assert TaskSpec.from_dict(open_task.to_dict()) == open_task
    assert closed.differences(open_task) == []

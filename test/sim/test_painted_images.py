"""Images that a mechanism paints: what is seen depends on a state's row alone."""

from __future__ import annotations

from types import MappingProxyType

import mujoco
import numpy as np
import pytest

from reskill_core.errors import SimulationError
from reskill_core.spec import RAW, VECTOR, ActionComponent, ActionSpec, ImageFeature, ObsSpec, TaskSpec, joint_term
from reskill_sim.engine.mechanism import Mechanism
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.task import EpisodeStart, SimulatedTask
from reskill_sim.engine.variation import NOMINAL, Variation

PIXELS = 200
RAIL = """<mujoco><option timestep="0.01" gravity="0 0 0"/><worldbody><body><joint name="x" type="slide" axis="1 0 0"/>
<geom size="0.1"/></body></worldbody><actuator><velocity joint="x" kv="400"/></actuator></mujoco>"""


def task_spec(stack: int) -> TaskSpec:
    return TaskSpec(
        "rail",
        ObsSpec(
            (),
            ("x",),
            (joint_term("x", "joint_position", ("x",)),),
            images=(ImageFeature("view", 1, PIXELS, 1, stack),),
        ),
        ActionSpec((ActionComponent("x", RAW, "m/s", 1.0),)),
        control_period_s=0.01,
        horizon=100,
    )


class Rail(Mechanism):
    """A ball on a rail, whose brightest pixel is where it is [cm]; all pixels tell the scene."""

    frames = MappingProxyType({})

    def compiled(self, scene, looks=False):
        return mujoco.MjModel.from_xml_string(RAIL)

    def start_state(self):
        return mujoco.MjData(self.model)

    def place(self, physics, sensors, starts):
        physics[:, 1] = [start.goal_pos_w[0] for start in starts]

    def control(self, physics, sensors, actions):
        return 2.0 * actions

    def joint_columns(self, names):
        return np.array([1])

    def paint(self, image, frame, scenes):
        pixels = np.rint(100 * frame.joint_pos[:, 0]).astype(int)
        frames = np.full((len(scenes), *image.frame_shape), scenes[:, None, None, None], np.uint8)
        frames[np.arange(len(scenes)), 0, pixels] = 255
        return frames


class RailTask(SimulatedTask):
    """Nothing is to be done."""

    num_base_scenes = 3

    def __init__(self, stack: int, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self.spec = task_spec(stack)

    def make_mechanism(self, profile):
        return Rail()

    @property
    def family(self):
        raise NotImplementedError

    def start_in(self, rng, scene):
        return EpisodeStart(np.zeros((0, 7)), np.array([rng.uniform(0.5, 1.0), 0.0, 0.0]), scene)

    def success(self, situation):
        return np.zeros(len(situation.size), np.bool_)

    def reward(self, situation, success):
        return np.zeros(len(success))


def where(images: np.ndarray) -> np.ndarray:
    """(N, stack) the brightest pixel of each frame."""
    return images[:, :, 0, :, 0].argmax(axis=2)


def test_a_stack_shows_the_newest_frames_oldest_first() -> None:
    simulator = Simulator(RailTask(3), 4)
    first = simulator.reset(range(4))
    start = np.rint(100 * first[VECTOR][:, 0]).astype(int)
    np.testing.assert_array_equal(where(first["view"]), np.repeat(start[:, None], 3, axis=1))
    path = [start]
    for _ in range(5):
        seen = simulator.step(np.ones((4, 1))).observation
        path.append(np.rint(100 * seen[VECTOR][:, 0]).astype(int))
    np.testing.assert_array_equal(where(seen["view"]), np.stack(path[-3:], axis=1))
    assert (np.diff(where(seen["view"])) > 0).all()
    scenes = seen["view"].min(axis=(1, 2, 3, 4))
    assert scenes.tolist() == simulator.scene_numbers.tolist()
    assert len(set(scenes.tolist())) > 1


@pytest.mark.parametrize("variation", [NOMINAL, Variation(perception_delay=(1, 3))])
def test_a_row_brings_back_what_is_seen_and_what_follows(variation: Variation) -> None:
    simulator, other = (Simulator(RailTask(3, variation), count) for count in (3, 1))
    simulator.reset(range(10, 13))
    for step in range(8):
        chosen = np.array([0, 2]) if step % 2 else np.arange(3)
        seen = simulator.step(np.ones((len(chosen), 1)), chosen).observation["view"]
        for at, place in enumerate(chosen):
            other.set_state(simulator.state([place]))
            np.testing.assert_array_equal(other.observation()["view"][0], seen[at])
    np.testing.assert_array_equal(
        other.step(np.ones((1, 1))).observation["view"][0], simulator.step(np.ones((3, 1))).observation["view"][2]
    )


def test_pictures_are_late_when_perception_is() -> None:
    late, timely = (Simulator(RailTask(2, Variation(perception_delay=(delay, delay)))) for delay in (2, 0))
    shown = []
    for simulator in (late, timely):
        simulator.reset([5])
        shown.append([where(simulator.step(np.ones((1, 1))).observation["view"])[0, 1] for _ in range(6)])
    assert shown[0][2:] == shown[1][:-2]
    assert shown[0][0] == shown[0][1] < shown[0][2]


def test_an_episode_that_diverges_sees_nothing_new() -> None:
    simulator = Simulator(RailTask(2), 2)
    before = simulator.step(np.ones((2, 1))).observation["view"].copy()
    after = simulator.step(np.array([[np.nan], [1.0]])).observation["view"]
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1, 0], before[1, 1])


def test_a_mechanism_without_a_painter_is_refused_by_the_name_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rail, "paint", Mechanism.paint)
    with pytest.raises(SimulationError, match="does not paint image 'view'"):
        Simulator(RailTask(1))

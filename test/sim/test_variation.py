"""Worlds that vary: what is drawn, what it does to the physics, and that a state row holds all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reskill_core.errors import ConfigError, SimulationError
from reskill_sim.engine.divergence import load_divergence
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import POOL, Variation, World, parse_variation
from reskill_sim.fetch.tasks import TASKS, get_task
from reskill_sim.fetch.tasks.block import HALF_SIZE_M
from reskill_sim.fetch.tasks.hook_objects import HELD_OUT_IDS, NUM_BUMPS, TRAINING_IDS, hook_scene

EVERYTHING = Variation(
    friction=(0.5, 1.5),
    mass=(0.5, 2.0),
    size=(0.8, 1.2),
    spawn=1.2,
    perception_noise=(0.002, 0.01),
    perception_bias=(0.002, 0.01),
    perception_delay=(0, 3),
    action_delay=(0, 2),
    lateness=(0.1, 0.9),
    speed=(0.3, 1.0),
    speed_limit=(0.2, 1.0),
    lag=(0.0, 0.1),
    overshoot=(0.1, 0.4),
    unsteadiness=(0.1, 0.3),
    force_limit=(20.0, 100.0),
    finger_start=(0.0, 0.05),
)
STILL = np.zeros((1, 4))


def actions(steps: int, num_envs: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, num_envs, 4))


def column(name: str) -> slice:
    return get_task("block").spec.obs.slice(name)


@pytest.mark.parametrize("name", TASKS)
def test_varied_worlds_are_restored_and_batched_exactly(name: str) -> None:
    task = get_task(name, EVERYTHING)
    batch, alone = Simulator(task, 6, "fast", threads=2), Simulator(task, 1, "fast")
    batch.reset(range(6))
    alone.reset([4])
    for row in actions(5, 6):
        batch.step(row)
        alone.step(row[4:5])
    saved = batch.state()
    assert np.array_equal(alone.state()[0], saved[4])
    assert np.array_equal(alone.observation()[0], batch.observation()[4])
    resumed = Simulator(task, 6, "fast")
    resumed.set_state(saved)
    for row in actions(5, 6):
        assert np.array_equal(resumed.step(row).observation, batch.step(row).observation)


@pytest.mark.parametrize("name", TASKS)
def test_nothing_varied_starts_inside_anything_else(name: str) -> None:
    task = get_task(name, EVERYTHING)
    simulator = Simulator(task, 40)
    simulator.reset(range(40))
    before = simulator.frame.frame_pos_w.copy()
    simulator.step(np.zeros((40, 4)))
    index = task.frame_index(task.spec.obs.objects[0])
    assert np.abs(simulator.frame.frame_pos_w - before)[:, index].max() < 1e-3


def test_worlds_are_drawn_from_their_ranges_and_numbered() -> None:
    assert Variation().draw_world(0) == World()
    assert get_task("block").num_scenes == 1
    assert get_task("block", EVERYTHING).num_scenes == POOL
    # Where nothing is drawn, all episodes share one world.
    assert get_task("block", Variation(friction=(0.5, 0.5), size=(1.2, 1.2))).num_scenes == 1
    # As many as there are objects, or a multiple of it.
    assert get_task("complex_hook", EVERYTHING).num_scenes == len(TRAINING_IDS)
    assert get_task("complex_hook_held_out", EVERYTHING).num_scenes == 3 * len(HELD_OUT_IDS)
    worlds = [EVERYTHING.draw_world(number) for number in range(POOL)]
    assert worlds == [EVERYTHING.draw_world(number) for number in range(POOL)]
    for name, (low, high) in (("friction", (0.5, 1.5)), ("mass", (0.5, 2.0)), ("size", (0.8, 1.2))):
        values = [getattr(world, name) for world in worlds]
        assert low <= min(values) < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < max(values) <= high


def test_each_parameter_may_be_nominal_in_an_episode() -> None:
    """Independently of the others, but for the arm; what an episode is spared is nominal to the bit."""
    variation, names = replace(EVERYTHING, nominal=0.4), list(EVERYTHING.ranges)[-12:]
    ranges = [variation.of_episode(seed) for seed in range(2000)]
    spared = np.array([[getattr(drawn, name) == getattr(Variation(), name) for name in names] for drawn in ranges])
    together = spared.T.astype(float) @ spared.astype(float) / len(ranges)
    groups = (
        np.isin(names, ["speed", "speed_limit", "lag", "overshoot", "unsteadiness", "force_limit"]),
        np.isin(names, ["action_delay", "lateness"]),
    )
    alike = np.eye(len(names), dtype=bool) | np.any([np.outer(group, group) for group in groups], axis=0)
    assert np.abs(together - np.where(alike, 0.4, 0.16)).max() < 0.04
    assert {getattr(drawn, name) for drawn in ranges for name in ("friction", "mass", "size")} == {
        EVERYTHING.friction,
        EVERYTHING.mass,
        EVERYTHING.size,
    }
    simulator = Simulator(get_task("block", variation), 64, "fast")
    simulator.reset(range(64))
    # Each parameter between -1 and 1: at full speed without limits 1, and without noise, delay, lag and opening -1.
    drawn = simulator.world_parameters()[:, -len(names) :]
    nominal = np.broadcast_to(np.where(np.isin(names, ["speed", "speed_limit", "force_limit"]), 1.0, -1.0), drawn.shape)
    assert np.array_equal(drawn[spared[:64]], nominal[spared[:64]])
    assert not np.array_equal(drawn, nominal)
    assert Variation(nominal=0.4).spans == {}


def test_friction_mass_and_size_reach_the_compiled_model() -> None:
    plain = Simulator(get_task("block")).model
    varied = Simulator(get_task("block", Variation(friction=(0.5, 0.5), mass=(3.0, 3.0), size=(1.2, 1.2)))).model
    assert varied.body("block").mass[0] == pytest.approx(3 * plain.body("block").mass[0])
    geom = varied.body("block").geomadr[0]
    assert varied.geom_size[geom] == pytest.approx([1.2 * HALF_SIZE_M] * 3)
    assert varied.geom_friction[:, 0] == pytest.approx(0.5 * plain.geom_friction[:, 0])
    assert varied.geom_friction[:, 1:] == pytest.approx(plain.geom_friction[:, 1:])


def test_a_smaller_block_in_the_tray_counts_too() -> None:
    task = get_task("clean_up", Variation(size=(0.6, 0.6)))
    simulator = Simulator(task)
    # Put down by hand, at the height at which a block of this size rests on the tray's floor.
    row = simulator.state()[0]
    floor_m = 0.418
    simulator.qpos_of(row)[-7:] = [1.4, 1.06, floor_m + 0.6 * HALF_SIZE_M + 0.001, 1, 0, 0, 0]
    simulator.set_state(row[None])
    for _ in range(10):
        result = simulator.step(STILL)
    assert result.success[0]


def test_perception_delay_shows_objects_as_they_were() -> None:
    task, plain = get_task("block", Variation(perception_delay=(2, 2))), get_task("block")
    late, prompt = Simulator(task), Simulator(plain)
    start = prompt.state()
    # A block that slides, so that there is something to be late about.
    start[0, prompt.layout.qvel][-6] = 0.5
    for simulator in (late, prompt):
        rows = simulator.state()
        rows[:, 1 : 1 + simulator.model.nq + simulator.model.nv] = start[:, 1 : 1 + prompt.model.nq + prompt.model.nv]
        simulator.set_state(rows)
    seen, true = [late.observation()[0]], [prompt.observation()[0]]
    for row in actions(8, 1):
        seen.append(late.step(row).observation[0])
        true.append(prompt.step(row).observation[0])
    assert not np.array_equal(true[1], true[0])
    for step in range(2, 9):
        assert np.array_equal(seen[step][column("block_position")], true[step - 2][column("block_position")])
        assert np.array_equal(seen[step][column("gripper_position")], true[step][column("gripper_position")])
        relative = true[step - 2][column("block_position")] - true[step][column("gripper_position")]
        np.testing.assert_allclose(seen[step][column("block_relative_position")], relative, atol=1e-15)


def test_action_delay_carries_actions_out_later() -> None:
    late, prompt = Simulator(get_task("block", Variation(action_delay=(3, 3)))), Simulator(get_task("block"))
    given = actions(6, 1)
    gripper = column("gripper_position")
    seen = [late.step(row).observation[0, gripper] for row in [*given, STILL, STILL, STILL]]
    carried_out = [STILL, STILL, STILL, *given]
    assert np.array_equal(seen, [prompt.step(row).observation[0, gripper] for row in carried_out])


def test_perception_noise_has_its_scale_and_spares_the_robot() -> None:
    noisy, plain = (
        Simulator(get_task("block", Variation(perception_noise=(0.01, 0.01))), 400),
        Simulator(get_task("block"), 400),
    )
    difference = noisy.reset(range(400)) - plain.reset(range(400))
    assert difference[:, column("block_position")].std() == pytest.approx(0.01, rel=0.1)
    assert not difference[:, column("gripper_position")].any()
    # Nothing has moved yet, so nothing is seen to move.
    assert not difference[:, column("block_relative_displacement")].any()
    noisy.step(np.zeros((400, 4)))
    plain.step(np.zeros((400, 4)))
    moved = noisy.observation() - plain.observation()
    assert moved[:, column("block_relative_displacement")].std() == pytest.approx(0.01 * 2**0.5, rel=0.1)
    # What is judged is what is.
    assert np.array_equal(noisy.frame.frame_pos_w, plain.frame.frame_pos_w)


def test_perception_is_biased_alike_for_all_objects_over_a_whole_episode() -> None:
    biased, plain = (
        Simulator(get_task("complex_hook", variation), 200)
        for variation in (Variation(perception_bias=(0.004, 0.01)), Variation())
    )
    errors = []
    for simulator in (biased, plain):
        simulator.reset(range(200))
    obs = biased.spec.obs
    for _ in range(3):
        difference = biased.observation() - plain.observation()
        error = difference[:, obs.slice("object_position")]
        np.testing.assert_allclose(difference[:, obs.slice("hook_position")], error, atol=1e-6)
        assert not difference[:, obs.slice("gripper_position")].any()
        errors.append(error)
        for simulator in (biased, plain):
            simulator.step(np.zeros((200, 4)))
    np.testing.assert_allclose(errors[1:], errors[:1] * 2, atol=1e-6)
    length = np.linalg.norm(errors[0], axis=1)
    assert (length.min(), length.max()) == pytest.approx((0.004, 0.01), abs=1e-4)
    # In all directions alike: each component has a third of the mean square, and none is favoured.
    assert (errors[0] ** 2).mean(axis=0) == pytest.approx((length**2).mean() / 3, rel=0.3)
    assert np.abs(errors[0].mean(axis=0)).max() < 0.001
    # The same world is perceived with the length that it tells.
    assert biased.world_parameters()[:, 0] == pytest.approx(length / 0.005 - 1, abs=1e-3)
    assert np.array_equal(biased.frame.frame_pos_w, plain.frame.frame_pos_w)


def test_hook_objects_differ_and_held_out_ones_are_others() -> None:
    assert len(TRAINING_IDS) >= 100
    assert len(HELD_OUT_IDS) >= 30
    assert not set(TRAINING_IDS) & set(HELD_OUT_IDS)
    scenes = [hook_scene(number) for number in (*TRAINING_IDS, *HELD_OUT_IDS)]
    objects = [scene.objects[0] for scene in scenes]
    assert len({item.geoms for item in objects}) == len(objects)
    assert all(len(scene.fixtures) == NUM_BUMPS for scene in scenes)
    assert all(0.5 <= sum(part.mass for part in item.geoms) <= 3.0 for item in objects)
    assert all(item.rest_height_m == pytest.approx(HALF_SIZE_M) for item in objects)
    radii = [item.footprint_m for item in objects]
    assert min(radii) > 0.02
    assert max(radii) < 0.06


def test_hook_objects_stay_where_they_stand() -> None:
    task = get_task("complex_hook_held_out")
    simulator = Simulator(task, task.num_scenes, "fast")
    simulator.reset(range(task.num_scenes), scenes=range(task.num_scenes))
    assert simulator.scene_numbers.tolist() == list(range(task.num_scenes))
    index = task.frame_index("object")
    before = simulator.frame.frame_pos_w[:, index]
    for _ in range(25):
        simulator.step(np.zeros((task.num_scenes, 4)))
    assert np.abs(simulator.frame.frame_pos_w[:, index] - before).max() < 2e-3


def test_a_scene_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SimulationError, match="has the scenes 0 to 29, got 30"):
        Simulator(get_task("complex_hook_held_out")).reset([0], scenes=[30])


def test_a_diverged_state_is_kept_and_breaks_again(tmp_path: Path) -> None:
    task = get_task("complex_hook", Variation(friction=(0.9, 1.1)))
    simulator = Simulator(task, 64, "fast", divergence_folder=tmp_path)
    simulator.reset(range(64))
    rows = simulator.state()
    rows[17, simulator.layout.qvel.start + 8] = 1e12
    simulator.set_state(rows)
    given = np.zeros((64, 4))
    given[40, 1] = np.nan
    result = simulator.step(given)
    assert np.flatnonzero(result.diverged).tolist() == [17, 40]
    assert simulator.num_diverged == 2
    assert np.isfinite(result.observation).all()
    kept = sorted(tmp_path.iterdir())
    assert [load_divergence(path).seed for path in kept] == [17, 40]
    for path in kept:
        divergence = load_divergence(path)
        again = Simulator(get_task(divergence.task, divergence.variation), profile=divergence.profile)
        again.set_state(divergence.state[None])
        assert again.step(divergence.action[None]).diverged.all()
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(SimulationError, match="holds no diverged simulation"):
        load_divergence(tmp_path / "other.npz")


def test_variations_are_read_from_text() -> None:
    assert parse_variation([]) == Variation()
    parsed = parse_variation(["friction=0.5:1.5", "mass=2", "spawn=1.2", "action_delay=1:3"])
    assert parsed == Variation(friction=(0.5, 1.5), mass=(2.0, 2.0), spawn=1.2, action_delay=(1, 3))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("friction", "not of the form"),
        ("friction=a", "not of the form"),
        ("frictoin=1", "did you mean friction"),
        ("mass=2:1", "must be low:high"),
        ("size=9", "must be at most 1.6"),
        ("action_delay=0.5", "action_delay"),
    ],
)
def test_wrong_variations_are_named(entry: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_variation([entry])

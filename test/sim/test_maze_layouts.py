"""Layouts of mazes: connected, reproducible, and with shortest paths; and the settings that choose them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from reskill_core.errors import ConfigError
from reskill_sim.engine.variation import Variation
from reskill_sim.maze.layouts import Layout, cell_of, draw_layout
from reskill_sim.maze.tasks import MazeTask
from reskill_sim.maze.wall_table import WallTable

# A U-turn: the way from one end of the free cells to the other leads around the wall in the middle.
U_TURN = """
#####
#.#.#
#.#.#
#...#
#####
"""


def layout_of(text: str) -> Layout:
    rows = text.split()
    # Lines are y from the top, characters x.
    return Layout(np.array([[character == "#" for character in row] for row in rows[::-1]]).T)


@pytest.mark.parametrize("size", [8, 20, 40])
def test_every_free_cell_can_be_reached_from_every_other(size: int) -> None:
    for seed in range(10):
        layout = draw_layout(seed, size)
        walls = layout.walls
        assert walls.shape == (size, size)
        assert all(edge.all() for edge in (walls[0], walls[-1], walls[:, 0], walls[:, -1]))
        x, y = layout.free[0].tolist()
        reached = layout.distances((x, y)) >= 0
        np.testing.assert_array_equal(reached, ~walls)


def test_a_quarter_of_the_inside_is_wall_and_seeds_differ() -> None:
    layouts = [draw_layout(seed, 40) for seed in range(10)]
    shares = [layout.walls[1:-1, 1:-1].mean() for layout in layouts]
    assert 0.22 < min(shares) <= max(shares) < 0.3
    assert len({layout.walls.tobytes() for layout in layouts}) == 10
    draw_layout.cache_clear()
    np.testing.assert_array_equal(draw_layout(3, 40).walls, layouts[3].walls)


def test_the_shortest_path_goes_around_walls() -> None:
    layout = layout_of(U_TURN)
    distances = layout.distances((3, 3))
    assert distances.T[::-1].tolist() == [
        [-1, -1, -1, -1, -1],
        [-1, 6, -1, 0, -1],
        [-1, 5, -1, 1, -1],
        [-1, 4, 3, 2, -1],
        [-1, -1, -1, -1, -1],
    ]
    path = layout.shortest_path((1, 3), (3, 3), np.random.default_rng(0))
    assert path.tolist() == [[1, 3], [1, 2], [1, 1], [2, 1], [3, 1], [3, 2], [3, 3]]


def test_of_equally_short_paths_one_is_drawn() -> None:
    layout = draw_layout(0, 20)
    start, goal = (tuple(layout.free[index].tolist()) for index in (0, -1))
    paths = [layout.shortest_path(start, goal, np.random.default_rng(seed)) for seed in range(5)]
    assert {len(path) for path in paths} == {layout.distances(goal)[start] + 1}
    assert len({path.tobytes() for path in paths}) > 1
    for path in paths:
        assert all(layout.is_free((x, y)) for x, y in path.tolist())
        assert all(np.abs(np.subtract(*cells)).sum() == 1 for cells in pairwise(path))


def test_walls_are_looked_up_by_scene() -> None:
    drawn = []

    def layout(scene: int) -> Layout:
        drawn.append(scene)
        return draw_layout(scene, 8)

    table = WallTable(8, layout)
    everywhere = np.argwhere(np.ones((8, 8)))
    for scenes in ([5, 2, 5], [2, 9, 5], [1]):
        found = table.at(np.array(scenes), np.tile(everywhere, (len(scenes), 1, 1)))
        for scene, walls in zip(scenes, found, strict=True):
            np.testing.assert_array_equal(walls.reshape(8, 8), draw_layout(scene, 8).walls)
    assert sorted(drawn) == [1, 2, 5, 9]
    assert not table.at(np.array([1]), np.array([[[-1, 3], [3, 8], [-1000, 1000]]])).any()


def test_a_layout_per_episode_or_one_for_all() -> None:
    anew, fixed = MazeTask("maze"), MazeTask("maze", settings={"layout_seed": 7, "size": 12})
    scenes = [anew.draw_scene(seed) for seed in range(20)]
    assert len(set(scenes)) == 20
    assert scenes == [anew.draw_scene(seed) for seed in range(20)]
    assert {fixed.draw_scene(seed) for seed in range(20)} == {7}
    assert fixed.layout(7).size == 12
    assert fixed.spec.settings == {
        "layout_seed": 7,
        "size": 12,
        "start": None,
        "goal": None,
        "fixed": False,
        "goal_radius_m": 1.0,
    }
    assert not fixed.spec.differences(anew.spec)


def test_start_and_goal_are_free_apart_and_as_chosen() -> None:
    task = MazeTask("maze", settings={"layout_seed": 7, "size": 12})
    free = [tuple(cell) for cell in task.layout(7).free.tolist()]
    starts = [task.sample_start(np.random.default_rng(seed), 7) for seed in range(200)]
    for start in starts:
        base, goal = start.object_poses[0, :2], start.goal_pos_w[:2]
        assert tuple(np.floor(base).astype(int)) in free
        assert tuple(np.floor(goal).astype(int)) in free
        assert np.linalg.norm(base - goal) > 1.5
    assert len({start.goal_pos_w.tobytes() for start in starts}) > 30
    chosen = MazeTask("maze", settings={"layout_seed": 7, "size": 12, "start": free[0], "goal": free[-1]})
    start = chosen.sample_start(np.random.default_rng(0), 7)
    np.testing.assert_allclose(start.object_poses[0, :2], np.array(free[0]) + 0.5, atol=0.1)
    np.testing.assert_array_equal(start.goal_pos_w, [*(np.array(free[-1]) + 0.5), 0.0])


def test_start_and_goal_can_be_those_of_the_layout() -> None:
    task = MazeTask("maze", settings={"size": 20, "fixed": True})
    ends = set()
    for scene in range(8):
        drawn = [task.sample_start(np.random.default_rng(seed), scene) for seed in range(5)]
        assert len({start.object_poses.tobytes() for start in drawn}) == 5
        (first, goal), *others = {(cell_of(start.object_poses[0]), cell_of(start.goal_pos_w)) for start in drawn}
        assert not others
        assert 12 <= task.layout(scene).distances(goal)[first] <= 18
        ends.add((first, goal))
    assert len(ends) == 8
    x, y = task.layout(3).free[40].tolist()
    for name in ("start", "goal"):
        chosen = MazeTask("maze", settings={"layout_seed": 3, "fixed": True, name: (x, y)})
        start = chosen.sample_start(np.random.default_rng(0), 3)
        cells = {"start": cell_of(start.object_poses[0]), "goal": cell_of(start.goal_pos_w)}
        assert cells.pop(name) == (x, y)
        assert 12 <= chosen.layout(3).distances((x, y))[next(iter(cells.values()))] <= 18


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"goal": [3, 3]}, "goal: needs a layout_seed"),
        (
            {"layout_seed": 1, "start": [0, 4]},
            r"start: \(0, 4\) is no free cell of layout 1 of size 20; the nearest is",
        ),
        ({"layout_seed": 1, "start": [30, 4]}, "start: .* is no free cell"),
        ({"layout_seed": -1}, "layout_seed: .*-1"),
        ({"size": 5}, "size: .*5"),
        ({"sizes": 20}, "sizes: .*size"),
        ({"goal_radius_m": 9.0}, "goal_radius_m"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        MazeTask("maze", settings=settings)


def test_only_delays_vary() -> None:
    assert MazeTask("maze_images", Variation(action_delay=(0, 2), perception_delay=(1, 1)))
    with pytest.raises(ConfigError, match="does not support variation of friction, mass"):
        MazeTask("maze", Variation(friction=(0.5, 1.0), mass=(2.0, 2.0)))
    with pytest.raises(ConfigError, match="perception_delay"):
        MazeTask("maze", Variation(perception_delay=(1, 1)))

"""Kitchen data of D4RL and Minari, from tiny files in their formats."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from reskill_core.data import DemoDataset
from reskill_core.errors import DataError, SimulationError
from reskill_sim.cli.main import main
from reskill_sim.engine.simulator import Simulator
from reskill_sim.families import get_task
from reskill_sim.kitchen import constants
from reskill_sim.kitchen.importing import conversion, import_data
from reskill_sim.kitchen.subtasks import SUBTASKS
from reskill_sim.kitchen.task import KITCHEN_OBS, KitchenSettings, KitchenTask, coordinates

LENGTHS = (6, 1, 5, 4)


def paths(rng: np.random.Generator) -> list[np.ndarray]:
    """Coordinates (T, 30) of episodes; in the first, the microwave opens in step 2 and the kettle arrives in step 3."""
    episodes = [np.array(constants.START_QPOS) + 0.01 * rng.normal(size=(length, 30)) for length in LENGTHS]
    episodes[0][3:, 22] = -0.7
    episodes[0][4:, 23:26] = SUBTASKS["kettle"].goal[:3]
    return episodes


@pytest.fixture
def d4rl(tmp_path: Path) -> Path:
    """Episodes as D4RL has them: the second has one row, the last no end mark."""
    rng = np.random.default_rng(0)
    qpos = np.concatenate(paths(rng))
    ends = np.cumsum(LENGTHS) - 1
    with h5py.File(tmp_path / "d4rl.hdf5", "w") as file:
        file["observations"] = np.concatenate([qpos, np.ones_like(qpos)], axis=1).astype(np.float32)
        file["actions"] = rng.uniform(-1.2, 1.2, (len(qpos), 9)).astype(np.float32)
        file["rewards"] = np.zeros(len(qpos), np.float32)
        file["terminals"] = np.isin(np.arange(len(qpos)), ends[:2])
        file["timeouts"] = np.isin(np.arange(len(qpos)), ends[2:3])
    return tmp_path / "d4rl.hdf5"


@pytest.fixture
def minari(tmp_path: Path) -> Path:
    """Episodes as Minari has them; the groups are in alphabetical order in the file."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "mixed-v2"
    (folder / "data").mkdir(parents=True)
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        for number in range(11):
            group = file.create_group(f"episode_{number}")
            observations = np.zeros((number + 2, 59))
            observations[:, :9] = constants.START_QPOS[:9]
            observations[:, 18] = number
            group["observations/observation"] = observations
            group["observations/achieved_goal/kettle"] = np.zeros((number + 2, 7))
            group["actions"] = rng.uniform(-1.0, 1.0, (number + 1, 9))
            for name in ("rewards", "terminations", "truncations"):
                group[name] = np.zeros(number + 1)
    return folder


def test_d4rl_episodes_end_at_their_marks_and_are_never_glued(d4rl: Path) -> None:
    task = KitchenTask(settings=KitchenSettings(subtasks=("microwave", "kettle")))
    found = import_data(task, d4rl)
    episodes = list(found.episodes)
    assert [episode.num_steps for episode in episodes] == [5, 4, 3]
    qpos = paths(np.random.default_rng(0))
    for episode, expected in zip(episodes, (qpos[0], qpos[2], qpos[3]), strict=True):
        seen = np.concatenate([episode.observation, episode.final_observation[None]])
        np.testing.assert_allclose(coordinates(seen), expected, atol=1e-6)
        assert np.abs(episode.action).max() <= 1.0
        assert episode.truncated != episode.terminated
    with h5py.File(d4rl, "r") as file:
        np.testing.assert_array_equal(episodes[1].action, np.clip(file["actions"][7:11], -1, 1))
    np.testing.assert_array_equal(episodes[0].reward, [0, 0, 1, 1, 0])
    assert [episode.success for episode in episodes] == [True, False, False]
    assert task.metrics(episodes[0])["subtasks"] == 2.0
    any_two = KitchenTask(settings=KitchenSettings(subtasks=("top_burner", "microwave", "kettle"), needed=2))
    assert [episode.success for episode in import_data(any_two, d4rl).episodes] == [True, False, False]
    assert any("no end mark" in note for note in found.notes)
    assert any("no published file" in note for note in found.notes)


def test_velocities_are_differences_as_the_simulator_measures_them() -> None:
    simulator = Simulator(KitchenTask(settings=KitchenSettings(noise=0.0)), profile="turbo")
    rows = simulator.state()
    rows[0, simulator.layout.qvel.stop - 6 : simulator.layout.qvel.stop] = [0.3, 0.1, 1.0, 0.0, 0.0, 3.0]
    rows[0, simulator.layout.qpos.stop - 5] += 0.3
    simulator.set_state(rows)
    action = np.array([[0.3, 0.1, -0.1, 0.2, 0.3, -0.2, 0.2, 0.0, 0.0]], np.float32)
    path = np.concatenate([simulator.step(action).observation for _ in range(4)])
    ours = conversion.with_velocities(coordinates(path))
    np.testing.assert_array_equal(ours[0, KITCHEN_OBS.slice("kettle_velocity")], 0.0)
    for name in ("arm_velocity", "kettle_velocity", "kettle_angular_velocity"):
        column = KITCHEN_OBS.slice(name)
        # The mean over the step lies between the velocities at its ends, but for bounces and what they turn into.
        between = (path[:-1, column] + path[1:, column]) / 2
        np.testing.assert_allclose(ours[1:, column], between, atol=0.25)
    assert np.abs(ours[1:, KITCHEN_OBS.slice("kettle_angular_velocity")][:, 2]).max() > 1.0
    np.testing.assert_array_equal(coordinates(ours), coordinates(path))


def test_minari_episodes_are_taken_in_order(minari: Path) -> None:
    found = import_data(KitchenTask(), minari)
    episodes = list(found.episodes)
    assert [episode.num_steps for episode in episodes] == list(range(1, 12))
    assert [episode.observation[0, 18] for episode in episodes] == list(range(11))
    assert not any("velocities" in note for note in found.notes)


def test_a_known_file_is_named(d4rl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "KNOWN", {conversion.sha256_of(d4rl): "D4RL's famous file"})
    found = import_data(KitchenTask(), d4rl)
    assert found.notes[0] == "the file is D4RL's famous file"
    assert found.provenance["import"]["known_as"] == "D4RL's famous file"


def test_the_command_writes_a_data_set(d4rl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    order = ["--task", "kitchen", "--out", str(out), "--task-settings", "subtasks=[microwave]"]
    assert main(["data", "import", str(d4rl), *order]) == 0
    assert "note: reward, success" in capsys.readouterr().out
    dataset = DemoDataset.open(out)
    assert (dataset.num_episodes, dataset.num_steps, dataset.spec.profile) == (3, 12, "d4rl")
    assert dataset.spec.task.settings["subtasks"] == ["microwave"]
    assert dataset.spec.sim_state_dim == 0
    assert main(["data", "validate", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    assert main(["data", "import", str(d4rl), *order]) != 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.pop("actions"), "neither a D4RL file"),
        (lambda file: [file.pop(name) for name in ("terminals", "timeouts")], "cannot be told apart"),
        (lambda file: [file.pop("observations"), file.create_dataset("observations", (16, 37), "f4")], "37 values"),
        (lambda file: [file.pop("actions"), file.create_dataset("actions", (16, 7), "f4")], "the 9 joints"),
        (lambda file: [file.pop("terminals"), file.create_dataset("terminals", (15,), "?")], "differ in length"),
        (
            lambda file: [file.pop("observations"), file.__setitem__("observations", h5py.ExternalLink("a", "b"))],
            "observations of its own",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused(d4rl: Path, spoil: object, message: str) -> None:
    with h5py.File(d4rl, "a") as file:
        spoil(file)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        list(import_data(KitchenTask(), d4rl).episodes)


def test_a_file_that_is_none_and_a_family_that_reads_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.hdf5").write_text("text")
    with pytest.raises(DataError, match=r"text\.hdf5 cannot be read"):
        import_data(KitchenTask(), tmp_path / "text.hdf5")
    with pytest.raises(DataError, match="does not exist"):
        import_data(KitchenTask(), tmp_path / "nothing.hdf5")
    block = get_task("block")
    with pytest.raises(SimulationError, match="reads no data"):
        block.family.import_data(block, tmp_path)

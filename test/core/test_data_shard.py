"""Shards: what is stored comes back bit for bit; what cannot be stored or is damaged is refused by name."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from reskill_core.data import DatasetSpec, Episode, read_header, read_shard, schema, validate, write_shard
from reskill_core.data.schema import ARRAYS, EPISODE_FIELDS
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import DataError

SPEC = synthetic_spec(observation_dim=5, sim_state_dim=3)
PROVENANCE = {"git_commit": "abc"}


@pytest.fixture
def episodes() -> list[Episode]:
    return synthetic_episodes(SPEC, 4, min_steps=3, max_steps=9)


def labelled(episodes: list[Episode], *labels: str) -> list[Episode]:
    return [replace(episode, label=label) for episode, label in zip(episodes, labels, strict=True)]


def assert_equal(left: Episode, right: Episode) -> None:
    for field in EPISODE_FIELDS:
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), err_msg=field.name)


def test_round_trip_is_exact(tmp_path: Path, episodes: list[Episode]) -> None:
    path = tmp_path / "shard-000000.h5"
    entry = write_shard(path, episodes, SPEC, PROVENANCE, extra={"dropped": {"joint_states": 2}})
    shard = read_shard(path)
    assert len(shard) == entry.num_episodes == 4
    assert shard.header.num_steps == entry.num_steps == sum(episode.num_steps for episode in episodes)
    assert shard.header.spec == SPEC
    assert shard.header.provenance == PROVENANCE
    assert shard.extra == {"dropped": {"joint_states": 2}}
    for index, episode in enumerate(episodes):
        assert_equal(shard.episode(index), episode)
        assert type(shard.episode(index).success) is bool
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000000.h5"]


def test_any_hdf5_reader_can_read_it(tmp_path: Path, episodes: list[Episode]) -> None:
    path = tmp_path / "shard-000000.h5"
    write_shard(path, episodes, SPEC, PROVENANCE)
    with h5py.File(path, "r") as file:
        assert file.attrs["task"] == "synthetic"
        assert file.attrs["num_episodes"] == 4
        lengths = [episode.num_steps for episode in episodes]
        assert file["episode_ends"][()].tolist() == np.cumsum(lengths).tolist()
        np.testing.assert_array_equal(file["action"][lengths[0] : sum(lengths[:2])], episodes[1].action)
        np.testing.assert_array_equal(file["sim_state"][-1], episodes[-1].sim_state[-1])
        assert file["source"].asstr()[0] == episodes[0].source


def test_each_episode_keeps_its_label(tmp_path: Path, episodes: list[Episode]) -> None:
    """Bit for bit: blanks at both ends, and what takes several bytes per character."""
    shown = labelled(episodes, "put the block on the tray", "", " Würfel auf das Tablett ", "é" * 128)
    write_shard(tmp_path / "shard-000000.h5", shown, SPEC, PROVENANCE)
    shard = read_shard(tmp_path / "shard-000000.h5")
    for index, episode in enumerate(shown):
        assert_equal(shard.episode(index), episode)
    assert not validate(tmp_path).problems


def test_simulator_state_may_be_absent(tmp_path: Path) -> None:
    spec = replace(SPEC, sim_state_dim=0)
    path = tmp_path / "shard-000000.h5"
    write_shard(path, synthetic_episodes(spec, 2), spec, PROVENANCE)
    assert read_shard(path).episode(1).sim_state.shape == (len(read_shard(path).episode(1).reward), 0)
    assert not validate(tmp_path).problems


def test_existing_shard_is_never_overwritten(tmp_path: Path, episodes: list[Episode]) -> None:
    path = tmp_path / "shard-000000.h5"
    write_shard(path, episodes[:1], SPEC, PROVENANCE)
    before = path.read_bytes()
    with pytest.raises(DataError, match="never overwritten"):
        write_shard(path, episodes[1:], SPEC, PROVENANCE)
    assert path.read_bytes() == before


def test_all_faults_of_episodes_are_named_at_once(tmp_path: Path, episodes: list[Episode]) -> None:
    wide = np.zeros((episodes[0].num_steps, 6), np.float32)
    bad = [
        replace(episodes[0], observation=wide, source="x" * 65, label="x" * 257),
        replace(episodes[1], reward=np.zeros(1), seed=2**63, noise_scale="low", label="a\nb"),  # type: ignore[arg-type]
        episodes[2],
    ]
    with pytest.raises(DataError) as caught:
        write_shard(tmp_path / "shard-000000.h5", bad, SPEC, PROVENANCE)
    for text in (
        rf"episode 0: observation has shape {wide.shape}, expected {(len(wide), 5)}",
        "episode 0: source must be a printable name of 1 to 64 bytes",
        "episode 0: a label has at most 256 bytes",
        rf"episode 1: reward has shape (1,), expected ({episodes[1].num_steps},)",
        "episode 1: seed must be an integer of 64 bits",
        r"episode 1: a label is one line without control characters, got '\n' in 'a\nb'",
        "episode 1: noise_scale has type <U3, expected numbers",
    ):
        assert text in str(caught.value)
    assert "episode 2" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(("observation", "action", "executed_action", "reward"), (np.nan, -np.inf, 1e300)),
        *itertools.product(("sim_state",), (np.nan, -np.inf)),
    ],
)
def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, episodes: list[Episode], name: str, value: float
) -> None:
    array = np.array(getattr(episodes[1], name), dtype=np.float64)
    array[2] = value
    bad = replace(episodes[1], **{name: array})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"episode 1: {name} has a value that is not finite at step 2"):
        write_shard(tmp_path / "a.h5", [episodes[0], bad], SPEC, PROVENANCE)


def test_actions_out_of_range_are_refused(tmp_path: Path, episodes: list[Episode]) -> None:
    action = episodes[0].action.copy()
    action[1, 3] = np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(DataError, match="episode 0: action has a value beyond 1 at step 1"):
        write_shard(tmp_path / "a.h5", [replace(episodes[0], action=action)], SPEC, PROVENANCE)
    action[1, 3] = 1
    write_shard(tmp_path / "a.h5", [replace(episodes[0], action=action)], SPEC, PROVENANCE)


def test_no_episodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one episode"):
        write_shard(tmp_path / "a.h5", [], SPEC, PROVENANCE)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5 does not exist"):
        read_header(tmp_path / "none.h5")
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["data"] = 1
    with pytest.raises(DataError, match=r"foreign\.h5 cannot be read.*seal"):
        read_shard(foreign)


def test_disk_full_leaves_nothing_behind(tmp_path: Path) -> None:
    script = f"""
import resource, signal
from pathlib import Path
from reskill_core.data import write_shard
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import DataError
spec = synthetic_spec()
write_shard(Path({str(tmp_path)!r}) / "shard-000000.h5", synthetic_episodes(spec, 1), spec, {{}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))
try:
    write_shard(Path({str(tmp_path)!r}) / "shard-000001.h5", synthetic_episodes(spec, 9), spec, {{}})
except DataError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot write" in result.stdout
    assert "shard-000001.h5" in result.stdout
    assert "nothing was stored" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000000.h5"]


def test_digest_does_not_depend_on_the_shard(tmp_path: Path, episodes: list[Episode]) -> None:
    write_shard(tmp_path / "all.h5", episodes, SPEC, PROVENANCE)
    write_shard(tmp_path / "last.h5", episodes[3:], SPEC, {"git_commit": "other"})
    together, alone = read_shard(tmp_path / "all.h5").arrays, read_shard(tmp_path / "last.h5").arrays
    np.testing.assert_array_equal(together["digest"][3], alone["digest"][0])
    assert len({row.tobytes() for row in together["digest"]}) == 4


def test_a_label_does_not_change_which_episode_it_is(tmp_path: Path, episodes: list[Episode]) -> None:
    """Whether two recordings are the same does not depend on what somebody said about them."""
    write_shard(tmp_path / "plain.h5", episodes, SPEC, PROVENANCE)
    write_shard(tmp_path / "labelled.h5", labelled(episodes, *"abcd"), SPEC, PROVENANCE)
    plain, told = read_shard(tmp_path / "plain.h5").arrays, read_shard(tmp_path / "labelled.h5").arrays
    np.testing.assert_array_equal(plain["digest"], told["digest"])


def test_specification_round_trip_and_differences() -> None:
    assert DatasetSpec.from_dict(SPEC.to_dict()) == SPEC
    other = DatasetSpec(replace(SPEC.task, name="hook", control_period_s=0.02), "fast", 4)
    assert SPEC.differences(other) == [
        "task.control_period_s: 0.04 != 0.02",
        "task.name: 'synthetic' != 'hook'",
        "profile: 'exact' != 'fast'",
        "sim_state_dim: 3 != 4",
    ]
    with pytest.raises(DataError, match="sim_state_dim must be an integer"):
        DatasetSpec.from_dict({**SPEC.to_dict(), "sim_state_dim": -1})
    with pytest.raises(DataError, match="not a data set specification"):
        DatasetSpec.from_dict({**SPEC.to_dict(), "colour": "red"})


def test_the_format_page_documents_everything() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data_format.md").read_text()
    for field in ARRAYS:
        type_name = {"|S64": "bytes 64", "|S256": "bytes 256"}.get(field.dtype, np.dtype(field.dtype).name)
        assert f"| `{field.name}` | {type_name} |" in page
    for key in (value for name, value in vars(schema).items() if name.startswith("ATTR_")):
        assert f"| `{key}` |" in page
    assert f"| `{schema.EXTRA}` |" in page

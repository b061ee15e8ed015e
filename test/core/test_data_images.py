"""Images in data sets: lossless, rebuilt into stacks, streamed, and bounded where a file lies about them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reskill_core.data import (
    CompressedFrames,
    DatasetWriter,
    DemoDataset,
    Episode,
    FrameCompressor,
    WindowSampler,
    merge,
    read_shard,
    summarise,
    validate,
)
from reskill_core.data.compressed_frames import compress_block, decompress_block
from reskill_core.data.images import Images, stack_rows
from reskill_core.data.seal import SEAL_BYTES, Seal
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import DataError
from reskill_core.spec import ImageFeature, images_of, vector_of

CAMERA = ImageFeature("camera", height=6, width=5, channels=3, stack=3)
WRIST = ImageFeature("wrist", height=2, width=2, channels=1)
SPEC = synthetic_spec(observation_dim=5, sim_state_dim=3, images=(CAMERA, WRIST))


def write(folder: Path, count: int = 4, first_seed: int = 0) -> list[Episode]:
    episodes = synthetic_episodes(SPEC, count, first_seed, min_steps=6, max_steps=20)
    with DatasetWriter(folder, SPEC) as writer:
        writer.add_shard(episodes[: count // 2])
        writer.add_shard(episodes[count // 2 :])
    return episodes


def shard(folder: Path, index: int = 0) -> Path:
    return folder / f"shard-{index:06}.h5"


def change(path: Path, action: Callable[[h5py.File], None]) -> None:
    """Change a shard as somebody would who knows how it is sealed."""
    path.write_bytes(path.read_bytes()[SEAL_BYTES:])
    with h5py.File(path, "r+") as file:
        action(file)
        state = file["sim_state"].id.get_offset() + SEAL_BYTES
        stop = state + file["sim_state"].nbytes
    image = path.read_bytes()
    path.write_bytes(Seal.of(image, state, stop).to_bytes() + image)


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_frames_come_back_as_they_were(count: int, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (count, 3, 2, 3), np.uint8)
    compressed = CompressedFrames.of(frames)
    assert len(compressed) == count
    assert len(compressed.blocks) == -(-count // 8)
    np.testing.assert_array_equal(compressed.array(), frames)


def test_a_block_starts_with_a_frame_and_goes_on_with_differences() -> None:
    frames = np.array([[[[250]]], [[[4]]], [[[3]]]], np.uint8)
    assert zlib.decompress(compress_block(frames)) == bytes([250, 10, 255])


def test_a_compressor_takes_frames_one_by_one_and_keeps_none_of_them() -> None:
    compressor = FrameCompressor((1, 1, 1))
    frame = np.zeros((1, 1, 1), np.uint8)
    for value in range(10):
        frame[:] = value
        compressor.append(frame)
    assert compressor.finish().array().ravel().tolist() == list(range(10))
    assert len(compressor.finish()) == 0
    with pytest.raises(DataError, match=r"an image must be uint8\(1, 1, 1\), got float64\(1, 1, 1\)"):
        compressor.append(np.zeros((1, 1, 1)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"got uint8\(1, 2, 1\)"):
        compressor.append(np.zeros((1, 2, 1), np.uint8))
    with pytest.raises(DataError, match="axes frame, height, width and channel"):
        CompressedFrames.of(np.zeros((1, 1, 1), np.uint8))


@pytest.mark.parametrize(
    "block",
    [
        zlib.compress(bytes(3)),
        zlib.compress(bytes(5)),
        zlib.compress(bytes(10**6)),
        zlib.compress(bytes(4)) + b"more",
        zlib.compress(bytes(4))[:-1],
        b"no block",
        b"",
    ],
)
def test_blocks_that_are_none_are_refused(block: bytes) -> None:
    with pytest.raises(
        DataError, match=r"a block of (2 images of \(2, 1, 1\) does not hold 4 bytes|images is damaged)"
    ):
        decompress_block(block, 2, (2, 1, 1))


def test_a_stack_starts_with_the_first_frame_in_all() -> None:
    assert stack_rows(1, 3, 3).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert stack_rows(5, 2, 1).tolist() == [[5], [6]]


def test_episodes_are_read_as_they_were_written(tmp_path: Path) -> None:
    episodes = write(tmp_path)
    dataset = DemoDataset.open(tmp_path)
    for index, episode in enumerate(episodes):
        read = dataset.episode(index)
        assert len(read.images["camera"]) == read.num_steps + 1
        for name in ("camera", "wrist"):
            np.testing.assert_array_equal(read.images[name].array(), episode.images[name].array())
            assert read.images[name].blocks == read_shard(shard(tmp_path, index // 2)).frames(index % 2)[name].blocks
    assert validate(tmp_path).problems == []
    assert dataset.images["camera"].stored.size_bytes == sum(
        len(block) for episode in episodes for block in episode.images["camera"].blocks
    )


@pytest.mark.parametrize("cache_bytes", [0, 2000, 10**9])
def test_windows_hold_what_was_seen_before_each_step(tmp_path: Path, cache_bytes: int) -> None:
    episodes = write(tmp_path)
    dataset = DemoDataset.open(tmp_path)
    dataset.images = {name: Images(item.feature, item.stored, cache_bytes) for name, item in dataset.images.items()}
    sampler = WindowSampler(dataset, [3, 1], horizon=4)
    for _ in range(2):
        observation, action = sampler.gather(np.arange(sampler.num_windows))
        window = 0
        for episode in (episodes[3], episodes[1]):
            camera, wrist = (episode.images[name].array() for name in ("camera", "wrist"))
            for start in range(episode.num_steps - 3):
                np.testing.assert_array_equal(vector_of(observation)[window], episode.observation[start : start + 4])
                np.testing.assert_array_equal(action[window], episode.action[start : start + 4])
                images = images_of(observation)
                for step in range(4):
                    at = start + step
                    expected = camera[[max(at - 2, 0), max(at - 1, 0), at]]
                    np.testing.assert_array_equal(images["camera"][window, step], expected)
                    np.testing.assert_array_equal(images["wrist"][window, step], wrist[at : at + 1])
                window += 1
        assert window == sampler.num_windows


def test_decompressed_blocks_stay_within_the_memory(tmp_path: Path) -> None:
    write(tmp_path, 8)
    dataset = DemoDataset.open(tmp_path)
    block_bytes = 8 * int(np.prod(CAMERA.frame_shape))
    images = Images(CAMERA, dataset.images["camera"].stored, 3 * block_bytes)
    for episode in range(8):
        images.windows(np.array([episode]), np.array([0]), 6)
        assert sum(frames.nbytes for frames in images._cache.values()) <= 3 * block_bytes
    assert len(images._cache) >= 3


def test_the_digest_is_that_of_the_frames_however_they_are_compressed(tmp_path: Path) -> None:
    episodes = write(tmp_path / "one")
    tight = [
        replace(episode, images={name: squeezed(item) for name, item in episode.images.items()}) for episode in episodes
    ]
    with DatasetWriter(tmp_path / "two", SPEC) as writer:
        writer.add_shard(tight)
    one, two = DemoDataset.open(tmp_path / "one"), DemoDataset.open(tmp_path / "two")
    assert one.content_hash() == two.content_hash()
    assert one.images["camera"].stored.size_bytes != two.images["camera"].stored.size_bytes
    other = replace(episodes[0], images={**episodes[0].images, "wrist": blackened(episodes[0].images["wrist"])})
    with DatasetWriter(tmp_path / "three", SPEC) as writer:
        writer.add_shard([other])
    three = DemoDataset.open(tmp_path / "three")
    assert not np.array_equal(three.digest[0], one.digest[0])


def squeezed(frames: CompressedFrames) -> CompressedFrames:
    return replace(frames, blocks=tuple(zlib.compress(zlib.decompress(block), 9) for block in frames.blocks))


def blackened(frames: CompressedFrames) -> CompressedFrames:
    return CompressedFrames.of(np.zeros_like(frames.array()))


def test_merging_keeps_images_block_by_block(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", first_seed=10)
    merge([tmp_path / "one", tmp_path / "two"], tmp_path / "all", episodes_per_shard=3)
    both = DemoDataset.open(tmp_path / "all")
    second = DemoDataset.open(tmp_path / "two")
    assert both.num_episodes == 8
    np.testing.assert_array_equal(both.digest[4:], second.digest)
    assert both.episode(6).images["camera"].blocks == second.episode(2).images["camera"].blocks
    assert validate(tmp_path / "all").problems == []


def test_what_a_data_set_holds_names_its_images(tmp_path: Path) -> None:
    write(tmp_path)
    images = summarise(tmp_path)["images"]
    assert images["camera"]["shape"] == [6, 5, 3]
    assert (images["camera"]["stack"], images["wrist"]["stack"]) == (3, 1)
    assert images["camera"]["size_bytes"] > images["wrist"]["size_bytes"] > 0


def test_images_must_fit_the_layout(tmp_path: Path) -> None:
    (episode,) = synthetic_episodes(SPEC, 1)
    camera = episode.images["camera"].array()
    writer = DatasetWriter(tmp_path, SPEC)
    expected = (episode.num_steps + 1, 6, 5, 3)
    for images, text in (
        ({"wrist": episode.images["wrist"]}, f"has images 'camera' of shape None, expected {expected}"),
        (
            {**episode.images, "camera": CompressedFrames.of(camera[:-1])},
            f"has images 'camera' of shape {(episode.num_steps, 6, 5, 3)}, expected {expected}",
        ),
        ({**episode.images, "camera": CompressedFrames.of(camera[:, :5])}, "6, 5, 3"),
        ({**episode.images, "other": episode.images["wrist"]}, "has images 'other' that the observation does not have"),
    ):
        with pytest.raises(DataError) as caught:
            writer.add_shard([replace(episode, images=images)])
        assert text in str(caught.value)
    plain = synthetic_spec(observation_dim=5, sim_state_dim=3)
    with pytest.raises(DataError, match="has images 'camera' that the observation does not have"):
        DatasetWriter(tmp_path / "plain", plain).add_shard([episode])


def test_faulty_episodes_are_left_out_with_their_images(tmp_path: Path) -> None:
    episodes = write(tmp_path)

    def spoil(file: h5py.File) -> None:
        file["observation"][0, 0] = np.nan

    change(shard(tmp_path), spoil)
    dataset = DemoDataset.open(tmp_path, "skip")
    assert dataset.num_episodes == 3
    np.testing.assert_array_equal(dataset.episode(0).images["camera"].array(), episodes[1].images["camera"].array())


def swap_bytes(file: h5py.File) -> None:
    file["image.camera"][10:20] = 0


def test_damaged_images_are_named_when_they_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    change(shard(tmp_path), swap_bytes)
    dataset = DemoDataset.open(tmp_path)
    with pytest.raises(DataError, match="a block of images is damaged"):
        dataset.episode(0)
    with pytest.raises(DataError, match=r"shard-000000\.h5: image 'camera' of episode 0: a block of images is damaged"):
        WindowSampler(dataset, [0], 3).gather(np.array([0]))
    assert any("a block of images is damaged" in problem for problem in validate(tmp_path).problems)


def test_other_images_than_were_written_are_noticed(tmp_path: Path) -> None:
    episodes = write(tmp_path)
    blocks = b"".join(block for episode in episodes[:2] for block in episode.images["wrist"].blocks)
    first = len(episodes[0].images["wrist"].blocks[0])

    def replace_block(file: h5py.File) -> None:
        frames = min(8, len(episodes[0].images["wrist"]))
        new = compress_block(np.zeros((frames, 2, 2, 1), np.uint8))
        ends = file["image.wrist.ends"][()] - first + len(new)
        del file["image.wrist"], file["image.wrist.ends"]
        file["image.wrist"] = np.frombuffer(new + blocks[first:], np.uint8)
        file["image.wrist.ends"] = ends

    change(shard(tmp_path), replace_block)
    with pytest.raises(DataError, match="images of episode 0 are not what was written"):
        DemoDataset.open(tmp_path).episode(0)
    assert any("do not match their digest" in problem for problem in validate(tmp_path).problems)


def packed(file: h5py.File) -> None:
    data = file["image.camera"][()]
    del file["image.camera"]
    file.create_dataset("image.camera", data=data, compression="gzip")


def linked(file: h5py.File) -> None:
    del file["image.camera"]
    file["image.camera"] = h5py.ExternalLink("/etc/passwd", "x")


def short(file: h5py.File) -> None:
    data = file["image.camera"][()]
    del file["image.camera"]
    file["image.camera"] = data[:-1]


def turned(file: h5py.File) -> None:
    ends = file["image.camera.ends"]
    ends[0], ends[1] = ends[1], ends[0]


def negative(file: h5py.File) -> None:
    file["image.camera.ends"][0] = -5


def empty(file: h5py.File) -> None:
    ends = file["image.camera.ends"]
    ends[0] = ends[1]


def longer(file: h5py.File) -> None:
    data = file["image.camera"][()]
    del file["image.camera"]
    file["image.camera"] = np.append(data, np.uint8(0))


def fewer(file: h5py.File) -> None:
    data = file["image.camera.ends"][()]
    del file["image.camera.ends"]
    file["image.camera.ends"] = data[1:]


def of_floats(file: h5py.File) -> None:
    data = file["image.camera"][()]
    del file["image.camera"]
    file["image.camera"] = data.astype(np.float32)


def promised(file: h5py.File) -> None:
    del file["image.camera"]
    file.create_dataset("image.camera", (2**40,), np.uint8)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (packed, "image.camera does not stand in the file as it is"),
        (linked, "image.camera is a link"),
        (short, "image.camera.ends must rise to the number of bytes"),
        (turned, "image.camera.ends must rise to the number of bytes"),
        (empty, "image.camera.ends must rise to the number of bytes"),
        (longer, "image.camera.ends must rise to the number of bytes"),
        (negative, "image.camera.ends must rise to the number of bytes"),
        (fewer, "image.camera.ends is int64"),
        (of_floats, r"image.camera is float32"),
        (promised, "image.camera says it has 1099511627776 bytes, but they are not there"),
        (lambda file: file.__delitem__("image.wrist"), "image.wrist is missing"),
    ],
)
def test_shards_that_lie_about_their_images_are_refused(
    tmp_path: Path, action: Callable[[h5py.File], None], text: str
) -> None:
    write(tmp_path)
    change(shard(tmp_path), action)
    with pytest.raises(DataError) as caught:
        read_shard(shard(tmp_path))
    assert text in str(caught.value)


def test_a_shard_that_vanishes_meanwhile_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    dataset = DemoDataset.open(tmp_path)
    shard(tmp_path).write_bytes(shard(tmp_path).read_bytes()[:1000])
    with pytest.raises(DataError, match=r"shard-000000\.h5 was cut short since it was opened"):
        WindowSampler(dataset, [0], 3).gather(np.array([0]))
    shard(tmp_path).unlink()
    with pytest.raises(DataError, match=r"cannot read .*shard-000000\.h5: No such file"):
        WindowSampler(dataset, [0], 3).gather(np.array([0]))

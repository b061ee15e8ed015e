"""Demonstration data sets: sharded files, reading and writing, windows for training. See docs/data_format.md."""

from reskill_core.data.compressed_frames import CompressedFrames, FrameCompressor
from reskill_core.data.dataset import DemoDataset
from reskill_core.data.episode import Episode
from reskill_core.data.operations import Validation, merge, repair, validate
from reskill_core.data.schema import DatasetSpec
from reskill_core.data.shard import Shard, read_header, read_shard, write_shard
from reskill_core.data.splits import read_splits, split_episodes, write_splits
from reskill_core.data.statistics import Moments, Statistics
from reskill_core.data.summary import list_episodes, summarise
from reskill_core.data.windows import EpochOrder, WindowSampler, WindowStream
from reskill_core.data.world import DataWorld
from reskill_core.data.writer import DatasetWriter

__all__ = [
    "CompressedFrames",
    "DataWorld",
    "DatasetSpec",
    "DatasetWriter",
    "DemoDataset",
    "Episode",
    "EpochOrder",
    "FrameCompressor",
    "Moments",
    "Shard",
    "Statistics",
    "Validation",
    "WindowSampler",
    "WindowStream",
    "list_episodes",
    "merge",
    "read_header",
    "read_shard",
    "read_splits",
    "repair",
    "split_episodes",
    "summarise",
    "validate",
    "write_shard",
    "write_splits",
]

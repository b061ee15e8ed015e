"""What a data set holds: a summary, and its episodes one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.data.dataset import DemoDataset
from reskill_core.data.loading import OnBadShard
from reskill_core.data.manifest import find_shards


def summarise(folder: Path | str, on_bad_shard: OnBadShard = "skip") -> dict[str, Any]:
    """Summarise a data set, ready for JSON.

    Labels are listed from the most frequent to the rarest. The empty one stands for episodes without a label; if all
    are, none is listed.

    Raises:
        DataError: there is no data set, or it is damaged and damage is refused.
    """
    dataset = DemoDataset.open(folder, on_bad_shard)
    lengths = dataset.episode_lengths
    task = dataset.spec.task
    paths = find_shards(dataset.folder)
    return {
        "folder": str(folder),
        "task": task.name,
        "profile": dataset.spec.profile,
        "control_rate_hz": task.control_rate_hz,
        "observation_dim": task.obs.dim,
        "observation_terms": {term.name: term.size for term in task.obs.terms},
        "images": {
            item.name: {
                "shape": list(item.frame_shape),
                "stack": item.stack,
                "size_bytes": dataset.images[item.name].stored.size_bytes,
            }
            for item in task.obs.images
        },
        "action_dim": task.action.dim,
        "sim_state_dim": dataset.spec.sim_state_dim,
        "num_shards": len(paths),
        "size_bytes": sum(path.stat().st_size for path in paths.values()),
        "num_episodes": dataset.num_episodes,
        "num_steps": dataset.num_steps,
        "episode_length": {"min": int(lengths.min()), "mean": float(lengths.mean()), "max": int(lengths.max())},
        "success_rate": float(dataset.success.mean()),
        "noise_scale": {"min": float(dataset.noise_scale.min()), "max": float(dataset.noise_scale.max())},
        "sources": {str(name): _part_summary(dataset, dataset.source == name) for name in np.unique(dataset.source)},
        "labels": _label_summaries(dataset),
        "content_hash": dataset.content_hash(),
        "provenance": list(dataset.provenance),
        "merged_from": list(dataset.merged_from),
        "worlds": [
            {
                "profile": world.profile,
                **world.to_dict(),
                "num_episodes": int((dataset.world_number == number).sum()),
                "text": world.describe(),
            }
            for number, world in enumerate(dataset.worlds)
        ],
        "skipped": list(dataset.skipped),
    }


def list_episodes(folder: Path | str, on_bad_shard: OnBadShard = "skip") -> dict[str, Any]:
    """List the episodes of a data set, ready for JSON: index, number of steps, success, seed, source and label.

    Raises:
        DataError: there is no data set, or it is damaged and damage is refused.
    """
    dataset = DemoDataset.open(folder, on_bad_shard)
    columns = {
        "steps": dataset.episode_lengths,
        "success": dataset.success,
        "seed": dataset.seed,
        "source": dataset.source,
        "label": dataset.label,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    episodes = [{"episode": index, **dict(zip(columns, row, strict=True))} for index, row in enumerate(rows)]
    return {"folder": str(folder), "episodes": episodes, "skipped": list(dataset.skipped)}


def _part_summary(dataset: DemoDataset, mask: np.ndarray) -> dict[str, Any]:
    return {
        "num_episodes": int(mask.sum()),
        "success_rate": float(dataset.success[mask].mean()),
        "mean_length": float(dataset.episode_lengths[mask].mean()),
    }


def _label_summaries(dataset: DemoDataset) -> dict[str, dict[str, Any]]:
    labels, counts = np.unique(dataset.label, return_counts=True)
    if not any(labels):
        return {}
    ordered = labels[np.argsort(-counts, kind="stable")]
    return {str(label): _part_summary(dataset, dataset.label == label) for label in ordered}

"""Export of a training run: its best checkpoint, configuration, evaluation results and learning curves."""

from __future__ import annotations

import shutil
from pathlib import Path

from reskill_core.checkpoint import Checkpoint, load_checkpoint, load_episodes, save_checkpoint
from reskill_core.data.world import DataWorld, deviations
from reskill_core.errors import CheckpointError
from reskill_core.files import lock_new
from reskill_core.lineage import Lineage
from reskill_core.provenance import simulator_of
from reskill_core.results import POLICIES_FILE, ROBUSTNESS_FILE, ROBUSTNESS_PLOT, SKILLS_FILE, is_result_of, read_result
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_core.training import run_folder
from reskill_core.training.split import learnt_worlds

ONNX_FOLDER = "onnx"

# Exported next to the checkpoint: the configuration that reproduces it, evaluation results, and learning curves.
_EXTRAS = (
    run_folder.CONFIG_FILE,
    f"{run_folder.EVALUATION_FOLDER}/{SKILLS_FILE}",
    f"{run_folder.EVALUATION_FOLDER}/{POLICIES_FILE}",
    f"{run_folder.EVALUATION_FOLDER}/{ROBUSTNESS_FILE}",
    f"{run_folder.EVALUATION_FOLDER}/{ROBUSTNESS_PLOT}",
    f"{run_folder.PLOTS_FOLDER}/{run_folder.RETURNS_PLOT}",
    f"{run_folder.PLOTS_FOLDER}/{run_folder.LOSSES_PLOT}",
)


def learnt_in(checkpoint: Checkpoint) -> str:
    """Describe the simulated world of a skill module's data or of an agent's training, for messages."""
    if checkpoint.kind != AGENT_KIND:
        return "; ".join(world.describe() for world in learnt_worlds(checkpoint)) or "a world that it does not say"
    training = checkpoint.document.get("training", {})
    simulator = Lineage.of(checkpoint.document).simulator or simulator_of(checkpoint.document.get("provenance", {}))
    # Without a variation, the agent was trained without randomisation.
    return DataWorld(
        str(training.get("profile", "unknown profile")),
        deviations(training.get("variation") or {}),
        simulator,
        settings=checkpoint.task.settings,
    ).describe()


def export_run(run: Path | str, out: Path | str, onnx: bool = False) -> list[Path]:
    """Write the best checkpoint of a run without its training state, together with configuration, results and plots.

    Args:
        run: run folder of a skill module or an agent.
        out: the new folder; it is a checkpoint.
        onnx: also write ONNX files of the networks, into ``ONNX_FOLDER``.

    Returns:
        The files.

    Raises:
        CheckpointError: the run has no checkpoint, the folder exists or is being written by another process, or the
            results are of another checkpoint; or an actor has no ONNX graph.
        TrainingError: a network cannot be exported.
    """
    with lock_new(Path(out), CheckpointError):
        return _export(Path(run), Path(out), onnx)


def _export(run: Path, out: Path, onnx: bool) -> list[Path]:
    checkpoint = load_checkpoint(run, *POLICY_KINDS)
    results = [run / name for name in _EXTRAS if name.endswith(".json") and (run / name).is_file()]
    outdated = [str(path) for path in results if is_result_of(read_result(path), checkpoint) is False]
    if outdated:
        raise CheckpointError(
            f"{', '.join(outdated)}: measured with another checkpoint than {checkpoint.folder}, the best one now; "
            "evaluate that, or move them away"
        )
    graphs = _onnx_files(checkpoint) if onnx else {}
    episodes = load_episodes(checkpoint.folder)
    save_checkpoint(out, checkpoint.kind, checkpoint.weights, checkpoint.document, episodes=episodes)
    for name in _EXTRAS:
        if (run / name).is_file():
            shutil.copyfile(run / name, out / Path(name).name)
    for name, content in graphs.items():
        (out / ONNX_FOLDER).mkdir(exist_ok=True)
        (out / ONNX_FOLDER / name).write_bytes(content)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _onnx_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    from reskill_core.training.onnx_files import onnx_files

    return onnx_files(checkpoint)

"""ONNX files of a policy, for acting in other languages.

Besides the graphs of :mod:`reskill_core.models.graph_export`, ``features``, ``prior``, ``begin`` and ``act``, an agent
has

============  ==========================  ===================
graph         inputs                      outputs
============  ==========================  ===================
high_level    features (N, F)             noise (N, Z)
residual      inputs (N, I)               correction (N, A)
============  ==========================  ===================

and with a state estimator of M members also ``estimator``, from observation (N, O), last actions (N, K · A) and hidden
(N, M · H) to estimate (N, O) and following (N, M · H).

``policy.json`` says how they are put together; docs/agents.md explains it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_from_dict
from reskill_core.errors import CheckpointError
from reskill_core.estimation.config import EstimatorConfig
from reskill_core.estimation.network import EstimatorNetwork
from reskill_core.models.graph_export import export_graph, export_graphs
from reskill_core.models.io import acting_model, load_state_arrays
from reskill_core.models.networks import Features, Mlp, soft_limit
from reskill_core.models.skill_document import unpacked_graphs
from reskill_core.rl.actor import Actor, StandardNormalActor
from reskill_core.rl.gaussian import GaussianActor
from reskill_core.rl.sac_actor import SacActor
from reskill_core.runtime.agent import AGENT_KIND, ESTIMATOR, ESTIMATOR_KEY, agent_policy, below
from reskill_core.runtime.estimator import CORRECTION_SCALE, MEAN, SCALE
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.shrinkage import Shrinkage
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import SkillPolicy, residual_dim
from reskill_core.spec.observations import VECTOR

POLICY_FILE = "policy.json"
_ROWS = 3


def onnx_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Export the networks of a skill module or agent; returns the files, ``policy.json`` among them, by name.

    Raises:
        TrainingError: a network cannot be exported.
        CheckpointError: an actor is not a network of this package.
    """
    if checkpoint.kind == AGENT_KIND:
        policy = agent_policy(checkpoint, batch_invariant=False)
    else:
        policy = SkillPolicy(SkillModule(checkpoint, batch_invariant=False))
    files = {f"{name}.onnx": graph for name, graph in _graphs_of(policy).items()}
    document = {**_document(policy), "checkpoint": checkpoint.sha256}
    return {**files, POLICY_FILE: json.dumps(document, indent=2).encode()}


def _graphs_of(policy: SkillPolicy) -> dict[str, bytes]:
    module = policy.module
    if isinstance(module, SkillModule):
        # Kinds without a runtime of their own act by graphs that are in their checkpoints.
        graphs = unpacked_graphs(module.checkpoint.weights)
        graphs = graphs or export_graphs(acting_model(module.checkpoint), module.task_spec)
    else:
        graphs = {"features": _features_graph(module)}
    features = module.features(policy.task_spec.obs.zeros(1)).shape[-1] + (policy.memory.dim if policy.memory else 0)
    if policy.decodes and not isinstance(policy.high_level, StandardNormalActor):
        graphs["high_level"] = _actor_graph(policy.high_level, "features", features, "noise")
    if policy.estimator is not None:
        graphs["estimator"] = _estimator_graph(policy)
    if policy.residual is not None:
        graphs["residual"] = _actor_graph(policy.residual, "inputs", residual_dim(module, features), "correction")
    return graphs


def _features_graph(module: ObservationFeatures) -> bytes:
    features = Features(module.feature_map)
    return export_graph(features, features, {VECTOR: torch.randn(_ROWS, module.task_spec.obs.dim)}, ("features",))


def _actor_graph(actor: Actor, inputs: str, width: int, output: str) -> bytes:
    if isinstance(actor, GaussianActor):
        layers, limit = actor.mean.layers, math.inf
    elif isinstance(actor, SacActor):
        layers, limit = actor.net.layers, actor.mean_limit
    else:
        known = " and ".join(each.__name__ for each in (GaussianActor, SacActor))
        raise CheckpointError(f"an actor of type {type(actor).__name__} has no ONNX graph; {known} have")
    network = Mlp((width, *(len(layer.bias) for layer in layers)))
    arrays: dict[str, NDArray[Any]] = {}
    for number, layer in enumerate(layers):
        arrays |= {f"linear.{number}.weight": layer.weight.T, f"linear.{number}.bias": layer.bias}
    load_state_arrays(network, arrays)
    network.requires_grad_(False)

    def decision(rows: Tensor) -> Tensor:
        if math.isinf(limit):
            return network(rows)
        # The mean comes first, then what the standard deviation is computed from.
        return soft_limit(network(rows).chunk(2, dim=-1)[0], limit)

    return export_graph(network, decision, {inputs: torch.randn(_ROWS, width)}, (output,))


def _estimator_graph(policy: SkillPolicy) -> bytes:
    document, spec = policy.checkpoint.document, policy.task_spec
    config = config_from_dict(EstimatorConfig, document[ESTIMATOR_KEY], source="the estimator")
    weights = below(ESTIMATOR, policy.checkpoint.weights)
    mean, scale, correction_scale = (torch.from_numpy(weights.pop(name)) for name in (MEAN, SCALE, CORRECTION_SCALE))
    shrinkage = Shrinkage(weights, torch.from_numpy)
    network = EstimatorNetwork(config, spec.obs.dim, spec.action.dim)
    load_state_arrays(network, {name: weights[name] for name in weights.keys() - set(shrinkage.names)})
    network.requires_grad_(False)

    def estimate(observation: Tensor, actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([(observation - mean) / scale, actions], dim=-1)
        parts = hidden.chunk(config.members, dim=-1)
        found = [member(inputs[:, None], part[None]) for member, part in zip(network.members, parts, strict=True)]
        corrections = torch.stack([correction[:, 0] for correction, _ in found]) * correction_scale
        return observation + shrinkage(corrections), torch.cat([new[0] for _, new in found], dim=-1)

    examples = {
        VECTOR: torch.randn(_ROWS, spec.obs.dim),
        "actions": torch.randn(_ROWS, config.actions * spec.action.dim),
        "hidden": torch.randn(_ROWS, config.members * config.hidden),
    }
    return export_graph(network, estimate, examples, ("estimate", "following"))


def _document(policy: SkillPolicy) -> dict[str, Any]:
    module = policy.module
    return {
        "task": policy.task_spec.to_dict(),
        "skill_steps": policy.skill_steps if policy.decodes else 0,
        "latent_dim": module.latent_dim,
        "state_dim": module.state_dim,
        "latent_source": policy.latent_source,
        "noise_limit": float(policy.noise_limit),
        "estimator_dim": policy.estimator.hidden_dim if policy.estimator else 0,
        "estimator_actions": policy.estimator.actions_dim // policy.task_spec.action.dim if policy.estimator else 0,
        "memory": asdict(policy.memory.config) if policy.memory else {},
        "residual_weight": policy.residual_weight if policy.residual is not None else 0.0,
    }

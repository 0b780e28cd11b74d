"""The network as ONNX, which runs without PyTorch, and the check that it computes the same."""

import importlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.network import Network, to_unit_range
from mnist12k.errors import UserError
from mnist12k.files import atomic_write
from mnist12k.photos import PREPARATION

BATCHES = (1, 7, 1000)
SINGLES = 100  # images for the batch size 1
TOLERANCE = 4e-6  # of the largest logit; the order of summation differs
SCALE = (
    "Pixels of 0 to 255, 0 the background, are divided by 255. The network normalises by mean and "
    "standard deviation itself."
)


def export_onnx(network: Network, path: Path, images: Tensor, data_set: str) -> float:
    """Write the network, on the CPU and in evaluation mode, with a variable batch size.

    Returns the largest difference of a logit (see `check_onnx`). Raises UserError, and leaves
    `path` as it is, if the packages of the extra `export` are missing or the check fails.
    """
    onnx = _imported("onnx")
    _imported("onnxscript")
    logging.getLogger("onnxscript").setLevel(logging.WARNING)
    program = torch.onnx.export(
        network,
        # Two images, since torch.export takes a batch of one for a constant.
        (torch.zeros(2, *network.architecture.image_shape),),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _remove_source_lines(model)
    onnx.helper.set_model_props(model, _description(network.architecture, data_set))
    with atomic_write(path) as temporary:
        onnx.save(model, str(temporary))
        return check_onnx(temporary, network, images)


def check_onnx(path: Path, network: Network, images: Tensor) -> float:
    """Return the largest difference of a logit between the file and the network.

    `images` is uint8, as in `Digits`, tried in several batch sizes. Raises UserError if
    the difference exceeds `TOLERANCE`, or a prediction differs.
    """
    session = _imported("onnxruntime").InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    inputs = to_unit_range(images)
    with torch.no_grad():
        expected = torch.cat([network(part) for part in inputs.split(1000)]).numpy()
    worst, allowed = 0.0, TOLERANCE * max(1.0, float(np.abs(expected).max()))
    for size in BATCHES:
        parts = (inputs if size > 1 else inputs[:SINGLES]).split(size)
        logits = np.concatenate([session.run(None, {"images": p.numpy()})[0] for p in parts])
        wanted = expected[: len(logits)]
        worst = max(worst, float(np.abs(logits - wanted).max()))
        different = int((logits.argmax(axis=1) != wanted.argmax(axis=1)).sum())
        if not worst <= allowed or different:
            raise UserError(
                f"ONNX differs from PyTorch at batch size {size}: by {worst:.2g} in a logit "
                f"({allowed:.2g} allowed), and in {different} predictions"
            )
    return worst


def _description(architecture: Architecture, data_set: str) -> dict[str, str]:
    shape, classes = architecture.image_shape, architecture.classes
    return {
        "description": f"A {architecture.parameters():,}-parameter network, trained on {data_set}.",
        "input": f"images: float32 of shape (n, {', '.join(map(str, shape))}) in [0, 1], 0 the "
        "background",
        "preprocessing": (PREPARATION + " " if architecture.reads_digits else "") + SCALE,
        "output": f"logits: float32 of shape (n, {len(classes)}), one per class: "
        f"{', '.join(classes)}; their softmax is the probabilities",
    }


def _remove_source_lines(model: Any) -> None:
    """Remove each node's source lines, which name paths of this machine."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"ONNX needs the package {package}: `pip install 'mnist12k[export]'`, or "
            "`pip install '.[export]'` in the project's folder"
        ) from error

"""The network as ONNX, which runs without PyTorch, and the proof that it computes the same."""

import importlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist12k.cnn.network import Network, to_unit_range
from mnist12k.errors import UserError
from mnist12k.files import written_whole

BATCHES = (1, 7, 1000)
ALONE = 100  # images that are also given one at a time
TOLERANCE = 1e-4  # of a logit; the two differ in the order of their sums
DESCRIPTION = {
    "description": "A 12,442-parameter network that tells handwritten digits apart, made on MNIST.",
    "input": "images: float32 of shape (n, 1, 28, 28) in [0, 1], 0 the background, 1 the ink",
    "preprocessing": "MNIST's: grey levels divided by 255, light ink on a dark ground; the ink's "
    "bounding box scaled into 20x20 with its aspect ratio kept, smoothly, and put into 28x28 so "
    "that its centre of mass lies at row 14, column 14, counted from 0. Mean and standard "
    "deviation are taken away inside the network.",
    "output": "logits: float32 of shape (n, 10), one a digit from 0 to 9; softmax makes them "
    "probabilities",
}


def export_onnx(network: Network, path: Path) -> None:
    """Write the network, on the CPU and in evaluation mode, with any number of images at once.

    Raises UserError where the packages of the extra `export` are absent.
    """
    onnx = _imported("onnx")
    _imported("onnxscript")
    logging.getLogger("onnxscript").setLevel(logging.WARNING)
    program = torch.onnx.export(
        network,
        # Of two images, not one: torch.export takes a batch of one for the only size there is.
        (torch.zeros(2, 1, 28, 28),),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _forget_sources(model)
    onnx.helper.set_model_props(model, DESCRIPTION)
    with written_whole(path) as beside:
        onnx.save(model, str(beside))


def check_onnx(path: Path, network: Network, images: Tensor) -> float:
    """Return by how much a logit differs at most between the file and the network.

    `images` is uint8 of shape (n, 28, 28); they are given at several batch sizes. Raises UserError
    if the difference is more than the order of sums explains, or a digit is another.
    """
    session = _imported("onnxruntime").InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    given = to_unit_range(images)
    with torch.no_grad():
        expected = torch.cat([network(part) for part in given.split(1000)]).numpy()
    worst = 0.0
    for size in BATCHES:
        parts = (given if size > 1 else given[:ALONE]).split(size)
        found = np.concatenate([session.run(None, {"images": p.numpy()})[0] for p in parts])
        wanted = expected[: len(found)]
        worst = max(worst, float(np.abs(found - wanted).max()))
        others = int((found.argmax(axis=1) != wanted.argmax(axis=1)).sum())
        if not worst <= TOLERANCE or others:
            raise UserError(
                f"{path} differs from PyTorch by {worst:.2g} in a logit and reads {others} images "
                f"otherwise, at batch size {size}; at most {TOLERANCE:g} is allowed"
            )
    return worst


def _forget_sources(model: Any) -> None:
    """Take out the lines of code that each node came from, and their places on this machine."""
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

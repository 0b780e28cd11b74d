"""The trained network for use elsewhere: as ONNX, and with its card."""

from pathlib import Path

import torch

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.onnx_file import check_onnx, export_onnx
from mnist12k.digits.dataset import load_test_digits
from mnist12k.params import Params
from mnist12k.report.model_card import CARD, DATA, MODEL, write_model_card

ONNX = Path("models/cnn.onnx")


def export(params: Params) -> None:
    """Write models/cnn.onnx, checked on the test images, and the card; tell each in a line.

    Raises UserError, and leaves no file that is wrong, if ONNX computes anything else.
    """
    network = load_network(MODEL, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    images = load_test_digits(DATA).images
    export_onnx(network, ONNX)
    try:
        worst = check_onnx(ONNX, network, images)
    except BaseException:
        ONNX.unlink(missing_ok=True)
        raise
    print(f"{ONNX}: {len(images):,} test images as PyTorch reads them, logits within {worst:.1g}")
    write_model_card(params)
    print(f"{CARD}: what it is, and what it was measured to do")

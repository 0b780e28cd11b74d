"""Export the trained network: as ONNX, and with a model card."""

import torch

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_test_digits
from mnist12k.export.model_card import write_model_card
from mnist12k.export.onnx_file import check_onnx, export_onnx
from mnist12k.paths import DATA, MODEL, MODEL_CARD, ONNX_MODEL


def export(train: Train, device: str) -> None:
    """Write models/cnn.onnx, checked on the test images, and the model card.

    Raises UserError, and leaves no ONNX file, if it computes anything else than PyTorch.
    """
    network = load_network(MODEL, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    images = load_test_digits(DATA).images
    export_onnx(network, ONNX_MODEL)
    try:
        worst = check_onnx(ONNX_MODEL, network, images)
    except BaseException:
        ONNX_MODEL.unlink(missing_ok=True)
        raise
    print(
        f"{ONNX_MODEL}: predicts {len(images):,} test images as PyTorch does, "
        f"logits within {worst:.1g}"
    )
    write_model_card(train, device)
    print(f"{MODEL_CARD}: intended use, results and limits")

"""Export the trained network: as ONNX, and with a model card."""

import torch

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_test_digits
from mnist12k.export.model_card import write_model_card
from mnist12k.export.onnx_file import export_onnx
from mnist12k.files import all_or_none
from mnist12k.paths import DATA, MODEL, MODEL_CARD, ONNX_MODEL


def export(train: Train, data_set: str, device: str) -> None:
    """Write models/cnn.onnx, checked on the test images, and the model card.

    Raises UserError, and replaces neither, if ONNX computes anything else than PyTorch.
    """
    network = load_network(MODEL, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    images = load_test_digits(DATA, network.architecture).images
    with all_or_none():
        write_model_card(train, data_set, device)
        worst = export_onnx(network, ONNX_MODEL, images, data_set)
    print(
        f"{ONNX_MODEL}: predicts {len(images):,} test images as PyTorch does, "
        f"logits within {worst:.1g}"
    )
    print(f"{MODEL_CARD}: intended use, results and limits")

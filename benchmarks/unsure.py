"""The probability below which `mnist12k predict` calls a digit unsure.

    python benchmarks/unsure.py     # half a minute; needs MNIST in data/mnist, and models/cnn.pt

The network reads MNIST's hold-out set, which it was not trained on, prepared anew as pictures are.
Prints the threshold that leaves 1 % of the correctly read images unsure, which is UNSURE in
src/mnist12k/photos/confidence.py, rounded down to 0.01, and what UNSURE does with that set.
"""

import torch
from common import DATA, ROOT, VALIDATION_SIZE

from mnist12k import paths
from mnist12k.cnn.model_file import load_network
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.photos.confidence import UNSURE, UNSURE_IF_WIDE, measure


def main() -> None:
    """Print the threshold and the counts."""
    network = load_network(ROOT / paths.MODEL, torch.device("cpu"))
    digits = load_training_digits(DATA, network.architecture)
    result = measure(network, split(digits, VALIDATION_SIZE)[1])
    print(f"threshold: {result.threshold:.4f}")
    print(
        f"UNSURE = {UNSURE}, {UNSURE_IF_WIDE} if wider than high: of {result.total:,} images "
        f"{result.refused} are refused, {result.unsure} unsure, among them {result.unsure_wrong} "
        f"of the {result.wrong} that are read wrong"
    )


if __name__ == "__main__":
    main()

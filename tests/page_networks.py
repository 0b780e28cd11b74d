"""Networks with random weights, to compare the page with PyTorch."""

import math

import torch

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.network import Network


def random_network(layers: Architecture) -> Network:
    """Return a network with random weights, biases and running statistics."""
    torch.manual_seed(3)
    network = Network(layers).eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            drawn = torch.rand_like(value) + 0.5 if "var" in name else torch.randn_like(value)
            # Convolutions that keep the scale keep the logits within float32's precision.
            value.copy_(drawn / math.sqrt(value[0].numel()) if value.ndim > 1 else drawn)
    return network

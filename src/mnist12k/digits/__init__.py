"""MNIST: sources, verification, tensors, splits."""

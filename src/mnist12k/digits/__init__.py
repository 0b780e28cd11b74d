"""The data set: sources, verification, tensors, splits."""

"""Pictures of digits: prepared as MNIST's images were, and classified."""

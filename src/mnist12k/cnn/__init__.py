"""The 12,442-parameter network: its layers, its training, its evaluation."""

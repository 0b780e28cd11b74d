"""The trained network for use elsewhere: ONNX, and a model card."""

"""The 2-2-2 network whose gradients are written out by hand."""

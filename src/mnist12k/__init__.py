"""An experiment-tracked pipeline around one small network."""

import os

# How many turns PyTorch's threads spin before they sleep while they wait for each other, on Linux.
# libgomp reads it when PyTorch is imported; its own 300,000 waste a busy machine's cores. See also
# threads.py.
SPIN_COUNT = 100_000

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)

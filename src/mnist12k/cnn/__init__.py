"""The network, augmentation, schedules, fit(), evaluate()."""

import os

# oneDNN pads 8 channels to the 16 lanes of an AVX-512 register. With eight lanes this network
# trains a tenth faster (benchmarks/README.md). It is read when a process convolves first.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

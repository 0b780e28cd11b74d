"""The network, augmentation, schedules, fit(), evaluate()."""

import os

# oneDNN pads 8 channels to the 16 lanes of an AVX-512 register. With eight lanes a step took 34 ms
# rather than 38 (one thread of a Zen 4 EPYC). It is read when a process convolves first.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

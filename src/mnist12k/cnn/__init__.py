"""Everything that decides the bits of a training, and nothing else."""

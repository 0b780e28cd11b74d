"""Learning rates as plain functions of the epoch."""


def step_learning_rate(epoch: int, base: float, step_size: int, gamma: float) -> float:
    """Return the rate in `epoch` (from 1): `base`, times `gamma` after every `step_size` epochs."""
    return base * gamma ** ((epoch - 1) // step_size)

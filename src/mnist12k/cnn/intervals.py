"""How sure a share measured on so many images is."""

from math import sqrt
from statistics import NormalDist


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval for a share of `correct` out of `total` (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At either end the formula's exact 0 or 1 drowns in rounding.
    low = (centre - half) / scale if correct > 0 else 0.0
    high = (centre + half) / scale if correct < total else 1.0
    return low, high

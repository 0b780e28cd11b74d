"""How sure a share measured on so many images is."""

from math import exp, lgamma, pi, sqrt
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


def student_t(freedom: int, confidence: float = 0.95) -> float:
    """Return the factor by which a mean's standard error becomes its two-sided interval.

    Student's t (1908) with `freedom` degrees of freedom, one less than there are values.
    """
    scale = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(freedom * pi)
    slices = 2000  # of Simpson's rule, which is then right to more than six digits

    def within(t: float) -> float:
        """Return the probability of lying between -t and t."""
        width = t / slices
        density = [
            (1 + (k * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for k in range(slices + 1)
        ]
        inner = 4 * sum(density[1:-1:2]) + 2 * sum(density[2:-1:2])
        return float(2 * scale * width / 3 * (density[0] + inner + density[-1]))

    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < confidence else (low, middle)
    return high

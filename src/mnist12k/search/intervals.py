"""Means with their 95 % intervals."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats


def mean_with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of at least two values, and the ends of its 95 % interval (Student's t)."""
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    # Not t.interval, which is NaN for equal values.
    half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean, mean - half, mean + half

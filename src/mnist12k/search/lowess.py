"""LOWESS, the robust local regression of Cleveland (1979): outliers do not bend the curve."""

import numpy as np

FRACTION = 2 / 3  # of the points that a local line is fitted to
ROUNDS = 3  # of reweighting


def lowess(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the smoothed y at each of `at`; all are vectors of floats, and x need not be sorted.

    A line is fitted to the nearest points, with tricube weights by distance and, after the first
    round, bisquare weights by residual.
    """
    robustness = np.ones_like(y)
    for _ in range(ROUNDS):
        residuals = np.abs(y - local_lines(x, y, x, robustness))
        scale = 6 * np.median(residuals)
        if scale < 1e-12 * np.abs(y).max():  # at least half of the points lie on the curve
            break
        robustness = (1 - np.minimum(residuals / scale, 1) ** 2) ** 2
    return local_lines(x, y, at, robustness)


def local_lines(x: np.ndarray, y: np.ndarray, at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the value at each of `at` of the line fitted to the nearest points."""
    nearest = int(FRACTION * len(x) + 1e-10)
    values = np.empty_like(at)
    for i, point in enumerate(at):
        distances = np.abs(x - point)
        width = max(np.sort(distances)[nearest - 1], 1e-9)  # not 0 where many x are the same
        root = np.sqrt(weights * (1 - np.minimum(distances / width, 1) ** 3) ** 3)
        line = np.stack([np.ones_like(x), (x - point) / width], axis=1)
        values[i] = np.linalg.lstsq(line * root[:, None], y * root)[0][0]
    return values

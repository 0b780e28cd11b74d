"""The digits that the page's small network learns from, in the reader's browser."""

from typing import Any

import numpy as np
import pandas as pd

from mnist12k.digits.dataset import Digits
from mnist12k.report.page.network import base64_text

LEARNT, OTHERS = 30, 10  # per class


def lesson_data(training: Digits) -> dict[str, Any]:
    """Return the first digits of each class: those to learn from, then others to score on.

    Grey levels are rounded to 4 bits, 0 to 15, and two pixels share a byte, the first in its upper
    half. `learnt` is the number of digits to learn from.
    """
    labels = pd.Series(training.labels.numpy())
    rank = labels.groupby(labels).cumcount()
    learnt, others = labels[rank < LEARNT], labels[rank.between(LEARNT, LEARNT + OTHERS - 1)]
    chosen = pd.concat([learnt, others])
    levels = np.rint(training.images.numpy()[chosen.index] / 17).astype(np.uint8).ravel()
    return {
        "pixels": base64_text(levels[::2] << 4 | levels[1::2]),
        "labels": chosen.tolist(),
        "learnt": len(learnt),
    }

"""The network after earlier epochs of its training: weights, and how it read hold-out images."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist12k.cnn.ema import averaged_tensors, copy
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError
from mnist12k.paths import EPOCHS, MODEL
from mnist12k.report.page.network import base64_text, flat_weights

BYTES = 1_000_000  # of weights on the page; of a longer training it has fewer, evenly spaced epochs
IMAGES = 1000  # of the hold-out set; more would make building the page slow


def epochs_data(network: Network, holdout: Digits) -> dict[str, Any] | None:
    """Return the weights and the confusion matrices of epochs, None without their file.

    `weights` are float16, of every epoch in `epochs` but the last, whose weights the page has. Each
    of `counts` has a row per label and a column per prediction, in one list; of the first IMAGES
    hold-out images, none without a hold-out set. Raises UserError if the weights are not those of
    the network's training.
    """
    if not EPOCHS.is_file():
        return None
    rows = _read(network)
    fit = max(2, BYTES // rows[0].nbytes)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(fit, len(rows))).round().astype(int))
    digits = Digits(*(part[:IMAGES] for part in holdout))
    return {
        "epochs": (chosen + 1).tolist(),
        "weights": base64_text(rows[chosen[:-1]]),
        "images": len(digits.labels),
        "counts": [_counts(network, rows[k], digits) for k in chosen] if len(digits.labels) else [],
    }


def _read(network: Network) -> NDArray[np.float16]:
    """Return the weights after every epoch: (epochs, values), in the state_dict's order."""
    with np.errstate(over="ignore"):
        last = flat_weights(network).astype(np.float16)
    remedy = "`dvc repro --force train` rewrites both"
    try:
        rows = np.load(EPOCHS, allow_pickle=False)
        usable = rows.dtype == np.float16 and rows.shape == (len(rows), last.size)
        usable = usable and len(rows) > 0 and bool(np.isfinite(rows).all())
    except Exception as error:  # a damaged file leads numpy to any of them
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{EPOCHS} is damaged ({reason}); {remedy}") from error
    if not usable or not np.array_equal(rows[-1], last):
        raise UserError(f"{EPOCHS} does not end with the weights of {MODEL}; {remedy}")
    return np.asarray(rows, np.float16)


def _counts(network: Network, values: NDArray[np.float16], digits: Digits) -> list[int]:
    earlier = deepcopy(network)
    weights = averaged_tensors(earlier)
    parts = torch.from_numpy(values.astype(np.float32)).split([each.numel() for each in weights])
    copy([part.view(each.shape) for part, each in zip(parts, weights, strict=True)], weights)
    classes = len(network.architecture.classes)
    cells: Tensor = digits.labels * classes + predict(earlier, digits.images).argmax(dim=1)
    counts: list[int] = cells.bincount(minlength=classes**2).tolist()
    return counts

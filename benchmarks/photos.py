"""Pictures of digits, prepared in three ways, and read by the same weights, models/cnn.pt.

    python benchmarks/photos.py FOLDER   # a minute for 250 pictures

FOLDER has the pictures and a labels.csv with the columns file, label and kind. Prints how many of
each kind are read correctly, in Markdown:

ours            mnist12k.photos, as `mnist12k predict` uses it
naive           resized to 28x28, and inverted if that makes the border dark
OpenCV          Otsu's threshold, the largest piece, into 20x20, centred by its mass

A picture that a preparation refuses counts as wrong. Then prints the files that ours reads wrong,
and how many images of MNIST's hold-out set are read correctly, as they are and prepared by ours.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import DATA, ROOT, VALIDATION_SIZE
from numpy.typing import NDArray
from PIL import Image

from mnist12k import paths
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.errors import UserError
from mnist12k.photos.confidence import measure
from mnist12k.photos.prepare import prepare
from mnist12k.photos.read import read_grey

try:
    import cv2
except ImportError:
    raise SystemExit("the OpenCV recipe needs OpenCV: pip install '.[benchmarks]'") from None

Prepared = NDArray[np.uint8]


def ours(file: Path) -> Prepared:
    """Prepare as `mnist12k predict` does."""
    return prepare(read_grey(file))


def naive(file: Path) -> Prepared:
    """Resize the whole picture; MNIST's ink is light."""
    with Image.open(file) as image:
        small = np.array(image.convert("L").resize((28, 28)))
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    return 255 - small if border.mean() > 127 else small


def opencv(file: Path) -> Prepared:
    """Prepare as tutorials do, in a dozen lines."""
    grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise UserError("OpenCV cannot read it")
    _, ink = cv2.threshold(cv2.GaussianBlur(grey, (5, 5), 0), 0, 255, cv2.THRESH_OTSU)
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    if border.mean() > 127:
        ink = 255 - ink
    count, pieces, boxes, _ = cv2.connectedComponentsWithStats(ink)
    if count < 2:
        raise UserError("no ink")
    largest = 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height, _ = boxes[largest]
    ink = np.where(pieces == largest, ink, 0)[y : y + height, x : x + width]
    scale = 20 / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    ink = cv2.copyMakeBorder(
        cv2.resize(ink, size, interpolation=cv2.INTER_AREA), 14, 14, 14, 14, cv2.BORDER_CONSTANT
    )
    moments = cv2.moments(ink)
    top, left = (round(moments[name] / moments["m00"]) - 14 for name in ("m01", "m10"))
    return ink[top : top + 28, left : left + 28]


PREPARATIONS: dict[str, Callable[[Path], Prepared]] = {
    "ours": ours,
    "naive": naive,
    "OpenCV": opencv,
}


def main() -> None:
    """Print the counts, and the files that ours reads wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    network = load_network(ROOT / paths.MODEL, torch.device("cpu"))

    table = pd.read_csv(folder / "labels.csv")
    files = [folder / name for name in table["file"]]
    for name, preparation in PREPARATIONS.items():
        table[name] = [_digit(network, preparation, file) for file in files]
    right = table[list(PREPARATIONS)].eq(table["label"], axis=0).assign(kind=table["kind"])
    counts = right.groupby("kind").sum()
    counts.insert(0, "pictures", right["kind"].value_counts())
    counts.loc["all"] = counts.sum()
    print(_markdown(counts))
    wrong = table[table["ours"] != table["label"]]
    print("", *wrong[["file", "label", "ours"]].to_string(index=False).splitlines(), sep="\n")

    _, digits = split(load_training_digits(DATA, network.architecture), VALIDATION_SIZE)
    as_is = int((predict(network, digits.images).argmax(dim=1) == digits.labels).sum())
    anew = measure(network, digits)
    print(
        f"\nMNIST's hold-out set: {as_is:,} of {anew.total:,} right as they are, "
        f"{anew.total - anew.refused - anew.wrong:,} prepared anew"
    )


def _digit(network: Network, preparation: Callable[[Path], Prepared], file: Path) -> int:
    """Return the digit that is read, or -1."""
    try:
        image = preparation(file)
    except UserError:
        return -1
    return int(predict(network, torch.from_numpy(image)[None]).argmax())


def _markdown(table: pd.DataFrame) -> str:
    rows = [["kind", *table.columns], ["---"] * (1 + table.shape[1])]
    rows += [[str(value) for value in row] for row in table.itertuples()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()

"""Small generated data sets of other images than MNIST's, and params.yaml for them."""

from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from conftest import write_idx
from ruamel.yaml import YAML

from mnist12k.digits.fetch import file_sha256
from mnist12k.digits.settings import IDX_FILES
from mnist12k.files import write_text

TRAINING, TEST = 520, 208  # images


class DataSet(NamedTuple):
    """What a generated data set consists of."""

    name: str
    side: int
    classes: list[str]
    first_label: int = 0
    channels: int = 1


LETTERS = [chr(ord("A") + number) for number in range(26)]
CLOTHES = [
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]
SETS = [
    DataSet("clothes", 28, CLOTHES),
    DataSet("letters", 28, LETTERS, first_label=1),  # as in EMNIST's
    DataSet("sides", 28, ["left & up", "<right>"]),
    DataSet("fruit", 24, ["apple", "lemon", "plum"], channels=3),
    DataSet("small letters", 20, LETTERS),
]


def write_data(folder: Path, data: DataSet) -> Path:
    """Write noisy images with one bright bar each, whose row and column tell the class.

    Those of three channels have the bar in one of them.
    """
    folder.mkdir(parents=True)
    for part, count, seed in (("train", TRAINING, 1), ("t10k", TEST, 2)):
        random = np.random.default_rng(seed)
        labels = np.arange(count) % len(data.classes)
        shape = (count, data.side, data.side, data.channels)
        images = random.integers(0, 60, shape, dtype=np.uint8)
        step = data.side // 6
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 6)
            bar = np.s_[row * step : row * step + step, column * step : column * step + step]
            image[(*bar, label % data.channels)] += 180
        images = images.squeeze(3) if data.channels == 1 else images
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", (labels + data.first_label).astype("uint8"))
    return folder


def describe(data: DataSet, folder: Path, params: dict[str, Any]) -> None:
    """Change params.yaml's sections as a user would; reference does not fit images of 20 pixels."""
    params["fetch"] |= {
        "name": data.name,
        "side": data.side,
        "channels": data.channels,
        "classes": data.classes,
        "source": str(folder),
        "sha256": {name: file_sha256(folder / name) for name in IDX_FILES},
    }
    params["train"] |= {"parameter_budget": None, "recipe": "fast", "learning_rate": 0.1}
    if data.side < 28:
        params["train"]["network"] = "vgg"
        del params["networks"]["reference"]
        del params["seeds"]["recipes"]["reference"]


def write_params(path: Path, params: dict[str, Any]) -> None:
    text = StringIO()
    YAML(typ="safe").dump(params, text)
    write_text(path, text.getvalue())

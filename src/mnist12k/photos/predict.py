"""Classify pictures of digits."""

import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mnist12k.cnn.architecture import DIGITS
from mnist12k.cnn.network import Network, to_unit_range
from mnist12k.errors import UserError
from mnist12k.photos.prepare import FORMATS, Grey, prepare, read_grey
from mnist12k.photos.prepare import FRAME as SIDE
from mnist12k.signals import print_line

STDIN = "-"


class Model(NamedTuple):
    """A trained network: the images that it takes, their classes, and the network as a function.

    The function maps images, float32 of shape (n, 1, side, side) in [0, 1], to logits of shape
    (n, classes).
    """

    side: int
    classes: Sequence[str]
    logits: Callable[[NDArray[np.float32]], NDArray[np.float32]]


class NotFiniteError(UserError):
    """A model returns infinite logits, or NaN, for a picture."""


def predict(files: Sequence[str], model: Model, *, as_json: bool) -> None:
    """Print one line per picture: its digit and the digit's probability.

    `-` stands for a picture on standard input, a folder for all pictures in it. A picture that
    cannot be read, or whose logits are not finite, gets a line with the reason, and the others are
    still classified; UserError is raised at the end, and at once if the model reads no digits.
    """
    if (model.side, tuple(model.classes)) != (SIDE, DIGITS):
        classes = textwrap.shorten(", ".join(model.classes), 60, placeholder=" ...")
        raise UserError(
            f"pictures are prepared as MNIST's digits are; this network takes images of "
            f"{model.side}x{model.side} pixels, of the classes {classes}"
        )
    total = failed = 0
    verb = "read"
    for name, source in _pictures(files):
        total += 1
        try:
            probabilities = _probabilities(model, prepare(_read(source)))
        except UserError as error:
            failed += 1
            verb = "classified" if isinstance(error, NotFiniteError) else verb
            _print_failure(name, str(error), as_json=as_json)
        else:
            _print_digit(name, probabilities, as_json=as_json)
    if failed:
        raise UserError(f"{failed} of {total} could not be {verb}")


def as_model(network: Network) -> Model:
    """Return the network, on the CPU, as a function of NumPy arrays."""

    @torch.no_grad()
    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
        return logits

    return Model(network.architecture.side, network.architecture.classes, run)


def _pictures(files: Sequence[str]) -> Iterator[tuple[str, Path | bytes]]:
    """Yield each picture's name and its path or content; a folder without pictures as it is."""
    for name in files:
        path = Path(name)
        if name == STDIN:
            yield "stdin", sys.stdin.buffer.read()
        elif path.is_dir():
            pictures = [file for file in sorted(path.rglob("*")) if _is_picture(file)]
            yield from ((str(picture), picture) for picture in pictures or [path])
        else:
            yield name, path


def _is_picture(file: Path) -> bool:
    suffixes = Image.registered_extensions()
    return suffixes.get(file.suffix.lower()) in FORMATS and file.is_file()


def _read(source: Path | bytes) -> Grey:
    if isinstance(source, Path) and source.is_dir():
        raise UserError("no picture in this folder")
    return read_grey(source)


def _probabilities(model: Model, image: NDArray[np.uint8]) -> list[float]:
    logits = model.logits(to_unit_range(torch.from_numpy(image)[None]).numpy())
    if not np.isfinite(logits).all():
        raise NotFiniteError("the model's logits are not finite numbers")
    probabilities: list[float] = torch.from_numpy(logits)[0].softmax(dim=0).tolist()
    return probabilities


def _print_digit(name: str, probabilities: list[float], *, as_json: bool) -> None:
    digit = int(np.argmax(probabilities))
    probability = probabilities[digit]
    if as_json:
        line = {"file": name, "digit": digit, "probability": probability}
        print_line(json.dumps(line | {"probabilities": probabilities}))
    else:
        print_line(f"{name}: {digit} ({probability:.1%})")


def _print_failure(name: str, reason: str, *, as_json: bool) -> None:
    """Print to standard output for programs, in the order of the pictures; else to stderr."""
    if as_json:
        print_line(json.dumps({"file": name, "error": reason}))
    else:
        print(f"{name}: {reason}", file=sys.stderr, flush=True)

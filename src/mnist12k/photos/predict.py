"""Classify pictures of digits, and print a line for each."""

import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from mnist12k.cnn.architecture import DIGITS
from mnist12k.cnn.network import Network, to_unit_range
from mnist12k.errors import UserError
from mnist12k.photos.confidence import is_wide, least_probability
from mnist12k.photos.many import draw_boxes, find_all
from mnist12k.photos.prepare import FRAME as SIDE
from mnist12k.photos.prepare import WIDEST_DIGIT, prepare
from mnist12k.photos.read import read_grey, read_picture
from mnist12k.photos.sources import Source, find_pictures
from mnist12k.signals import print_line


class Model(NamedTuple):
    """A trained network as a function, with the shape of the images that it takes, and the classes.

    The function maps images, float32 of shape (n, channels, side, side) in [0, 1], to logits of
    shape (n, classes).
    """

    image_shape: tuple[int, ...]
    classes: Sequence[str]
    logits: Callable[[NDArray[np.float32]], NDArray[np.float32]]


class NotFiniteError(UserError):
    """A model returns infinite logits, or NaN, for a picture."""


BOXES_SUFFIXES = (".png", ".jpg")
Line = dict[str, Any]  # what JSON says of a picture or of a digit on it


def predict(
    files: Sequence[str],
    model: Model,
    *,
    as_json: bool,
    many: bool = False,
    boxes: str | None = None,
) -> None:
    """Print one line per picture: its digit and the digit's probability; with `many`, per digit.

    `-` stands for a picture on standard input, a folder for all pictures in it. A picture that
    cannot be read, or whose logits are not finite, gets a line with the reason, and the others are
    still classified; UserError is raised at the end, and at once if the model reads no digits.
    `boxes`, with `many` and a single picture, is where to save it with the digits' boxes drawn.
    """
    if (model.image_shape, tuple(model.classes)) != ((1, SIDE, SIDE), DIGITS):
        channels, height, width = model.image_shape
        classes = textwrap.shorten(", ".join(model.classes), 60, placeholder=" ...")
        raise UserError(
            f"pictures are prepared as MNIST's digits are; this network takes "
            f"{'grey' if channels == 1 else 'colour'} images of {height}x{width} pixels, of the "
            f"classes {classes}"
        )
    sources = list(find_pictures(files))
    if boxes is not None:
        _check_boxes(boxes, sources, many)
    total = failed = 0
    verb = "read"
    for source in _with_progress(sources):
        try:
            lines = list(_many(source, model, boxes) if many else _one(source, model))
        except UserError as error:
            lines = [{"error": str(error)}]
            verb = "classified" if isinstance(error, NotFiniteError) else verb
        for line in lines:
            _print({"file": source.name} | line, as_json=as_json)
        total += len(lines)
        failed += sum("error" in line for line in lines)
    if failed:
        raise UserError(f"{failed} of {total} could not be {verb}")


def as_model(network: Network) -> Model:
    """Return the network, on the CPU, as a function of NumPy arrays."""

    @torch.no_grad()
    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
        return logits

    return Model(network.architecture.image_shape, network.architecture.classes, run)


def _one(source: Source, model: Model) -> Iterator[Line]:
    yield _digit(model, prepare(read_grey(source.content())))


def _many(source: Source, model: Model, boxes: str | None) -> Iterator[Line]:
    """Yield a line per digit, in reading order, with its row and box: left, top, right, bottom."""
    picture = read_picture(source.content())
    drawn = []
    for row, box, image in find_all(picture):
        line = _digit(model, image)
        left, top, right, bottom = box
        is_too_wide = right - left > WIDEST_DIGIT * (bottom - top)
        if is_too_wide or (line["unsure"] and is_wide(image)):
            line = {"error": "touching digits"}
        drawn.append((box, str(line.get("digit", "?"))))
        yield {"row": row, "box": box} | line
    if boxes is not None:
        draw_boxes(picture, drawn, Path(boxes))


def _check_boxes(boxes: str, sources: Sequence[Source], many: bool) -> None:
    """Raise UserError unless the picture with boxes can be saved, and replaces no other."""
    if not many or len(sources) != 1:
        raise UserError("--boxes needs --many, and one picture")
    path, source = Path(boxes), sources[0].path
    if path.suffix.lower() not in BOXES_SUFFIXES:
        raise UserError(f"--boxes {boxes}: its name should end in {' or '.join(BOXES_SUFFIXES)}")
    if source is not None and path.resolve() == source.resolve():
        raise UserError(f"--boxes {boxes}: it would replace the picture itself")


def _digit(model: Model, image: NDArray[np.uint8]) -> Line:
    logits = model.logits(to_unit_range(torch.from_numpy(image)[None]).numpy())
    if not np.isfinite(logits).all():
        raise NotFiniteError("the model's logits are not finite numbers")
    probabilities: list[float] = torch.from_numpy(logits)[0].softmax(dim=0).tolist()
    highest = max(probabilities)
    return {
        "digit": probabilities.index(highest),
        "probability": highest,
        "unsure": highest < least_probability(image),
        "probabilities": probabilities,
    }


def _with_progress(sources: Sequence[Source]) -> "tqdm[Source]":
    """Show a bar on a terminal, unless the lines go there as well."""
    return tqdm(sources, leave=False, disable=sys.stdout.isatty() or not sys.stderr.isatty())


def _print(line: Line, *, as_json: bool) -> None:
    """Print for programs to standard output, failures in their order; else these to stderr."""
    if as_json:
        print_line(json.dumps(line))
        return
    text = _printable(line["file"]) + ": "
    if "error" in line:
        text += line["error"]
    else:
        text += f"{line['digit']} ({line['probability']:.1%})" + ", unsure" * line["unsure"]
    if "box" in line:
        left, top, right, bottom = line["box"]
        text += f", row {line['row']}, {right - left}x{bottom - top} at {left},{top}"
    if "error" in line:
        tqdm.write(text, file=sys.stderr)
    else:
        print_line(text)


def _printable(name: str) -> str:
    """Return a file's name on one line, without what would control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode-escape").decode() for c in name)

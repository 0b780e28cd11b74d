"""What digit is on a picture."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.prepare import FORMATS, prepare, read_grey
from mnist12k.errors import UserError

STDIN = "-"
# Float32 images of shape (n, 1, 28, 28) to logits of shape (n, 10).
Model = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def predict(files: Sequence[tuple[str, Path]], model: str | Path, *, as_json: bool) -> None:
    """Print a line for each picture: its digit and how probable the network thinks it.

    What cannot be read gets a line that says why, and the rest are still done. `-` is a picture
    on standard input, a folder all the pictures in it. A file comes as the user names it, and as a
    path that holds in whatever folder this runs. Raises UserError at the end if any failed.
    """
    network = load_model(model)
    tried = failed = 0
    for name, source in _pictures(files):
        tried += 1
        try:
            if isinstance(source, UserError):
                raise source
            probabilities = _probabilities(network, prepare(read_grey(source)))
        except UserError as error:
            failed += 1
            _tell_failure(name, str(error), as_json=as_json)
        else:
            _tell(name, probabilities, as_json=as_json)
    if failed:
        raise UserError(f"{failed} of {tried} could not be read")


def load_model(address: str | Path) -> Model:
    """Return the network in a file, or the registered one at a `models:/` address, on the CPU."""
    if isinstance(address, str):
        from mnist12k.tracking.registered import load_registered

        return load_registered(address)
    network = load_network(address, torch.device("cpu"))

    @torch.no_grad()
    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
        return logits

    return run


def _pictures(files: Sequence[tuple[str, Path]]) -> Iterator[tuple[str, Path | bytes | UserError]]:
    """Name each picture and say where it is, or why it is none."""
    for name, path in files:
        if name == STDIN:
            yield "stdin", sys.stdin.buffer.read()
        elif path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if _is_picture(file)]
            if not inside:
                yield name, UserError("no picture is in this folder")
            for file in inside:
                yield str(Path(name) / file.relative_to(path)), file
        else:
            yield name, path


def _is_picture(file: Path) -> bool:
    suffixes = Image.registered_extensions()
    return suffixes.get(file.suffix.lower()) in FORMATS and file.is_file()


def _probabilities(network: Model, image: NDArray[np.uint8]) -> list[float]:
    logits = network(to_unit_range(torch.from_numpy(image)[None]).numpy())
    probabilities: list[float] = torch.from_numpy(logits)[0].softmax(dim=0).tolist()
    return probabilities


def _tell(name: str, probabilities: list[float], *, as_json: bool) -> None:
    digit = int(np.argmax(probabilities))
    if as_json:
        found = {"digit": digit, "probability": probabilities[digit]}
        print(json.dumps({"file": name, **found, "probabilities": probabilities}), flush=True)
    else:
        print(f"{name}: {digit} ({probabilities[digit]:.1%})", flush=True)


def _tell_failure(name: str, reason: str, *, as_json: bool) -> None:
    """Tell a program on standard output, in its place among the others; a person on the other."""
    if as_json:
        print(json.dumps({"file": name, "error": reason}), flush=True)
    else:
        print(f"{name}: {reason}", file=sys.stderr, flush=True)

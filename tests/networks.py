"""Networks of params.yaml, and small ones that use every field of a block and of a head."""

from collections.abc import Sequence
from typing import Any

from project import ROOT

from mnist12k.cnn.architecture import DIGITS, Architecture
from mnist12k.cnn.network import Network
from mnist12k.cnn.settings import Train
from mnist12k.params import load_params
from mnist12k.paths import PARAMS

LOADED = load_params(ROOT / PARAMS)
PIXELS = {"mean": 0.1307, "deviation": 0.3081}  # of MNIST
REFERENCE = LOADED.architecture("reference").model_copy(update=PIXELS)


def reference(dropout: float | Sequence[float] = 0.0) -> Network:
    return Network(REFERENCE, dropout)


def by_recipe(name: str, seed: int, validation_size: int, /, **changes: object) -> Train:
    """Return a training of the reference network by a recipe, with some settings changed."""
    own = {"seed": seed, "device": "cpu", "validation_size": validation_size}
    own |= {"architecture": REFERENCE}
    return LOADED.training("reference", name).model_copy(update=own | changes)


def architecture(*blocks: dict[str, Any], **head: Any) -> Architecture:
    """Return an architecture for MNIST."""
    return Architecture.model_validate(
        PIXELS
        | {"side": 28, "classes": DIGITS}
        | {"blocks": blocks, "head": {"kind": "convolution"} | head}
    )


def changed(*blocks: dict[str, Any], keep: int, **head: Any) -> Architecture:
    """Return the reference network's first blocks, these blocks, and its head with changes."""
    first = [block.model_dump() for block in REFERENCE.blocks[:keep]]
    return architecture(*first, *blocks, **head)


STEM = {"channels": 4, "padding": 1, "pool": True}
PADDED = {"channels": 4, "padding": 1}
SMALL = {
    **{name: LOADED.architecture(name).model_copy(update=PIXELS) for name in LOADED.networks},
    "one block more": changed({"channels": 32, "padding": 1}, keep=6),
    "one block less": changed(keep=5),
    "other kernels": architecture(
        *({"channels": 8, "kernel": 5, "padding": 2}, {"channels": 6, "kernel": 4, "pool": True}),
        {"channels": 5, "kernel": 1, "pool": True},
        kernel=2,
    ),
    "shortcuts": architecture(
        *(STEM, PADDED, PADDED | {"residual": 2}, {"channels": 4, "residual": 1, "kernel": 1}),
        {"channels": 6, "padding": 1, "residual": 4, "projection": True, "pool": True},
        kind="average",
    ),
    "dense": architecture(STEM, {"channels": 3, "pool": True}, kind="dense"),
    "dense with a hidden layer": architecture(
        STEM, {"channels": 3, "pool": True}, kind="dense", units=7
    ),
}

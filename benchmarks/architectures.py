"""How far 12,442 parameters get: networks and recipes, compared on the hold-out set.

    python benchmarks/architectures.py 1         # every variant from seed 1; hours on two cores
    python benchmarks/architectures.py 1 2 3     # and from further seeds
    python benchmarks/architectures.py           # write the table again

See trainings.py. Adds to benchmarks/architectures.csv, and writes architectures.md beside it.
record.py trains the best of them on all images.
"""

import argparse
from pathlib import Path
from typing import Any

from common import ROOT
from ideas import IDEAS
from trainings import comparison, on_hold_out, train_missing

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.settings import Train
from mnist12k.files import write_text
from mnist12k.params import Params, load_params
from mnist12k.paths import PARAMS

RESULTS, TABLE = (Path(__file__).with_suffix(suffix) for suffix in (".csv", ".md"))
BASE = "reference by best"


def block(channels: int, **fields: Any) -> dict[str, Any]:
    """Return a padded 3x3 block, with some fields changed."""
    return {"channels": channels, "padding": 1} | fields


POOL = {"pool": True}
NETWORKS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "a shortcut in the reference network": (
        [
            *(block(8), block(8), block(8, residual=2, pool=True)),
            *(block(16), block(16, padding=0, pool=True), block(32, padding=0)),
        ],
        {"kind": "convolution"},
    ),
    "channels in later layers": (
        [
            *(block(6), block(6), block(8, pool=True), block(16)),
            *(block(16, padding=0, pool=True), block(33, padding=0)),
        ],
        {"kind": "convolution"},
    ),
    "wide last block, average and linear head": (
        [
            *(block(8), block(8), block(12, pool=True), block(16)),
            *(block(24, padding=0, pool=True), block(24, padding=0)),
        ],
        {"kind": "average"},
    ),
    "ten narrow blocks with shortcuts": (
        [
            *(block(8), block(8), block(8, residual=2, pool=True)),
            *(block(12), block(12), block(12, residual=2), block(12, **POOL)),
            *(block(14), block(14), block(14, residual=2)),
        ],
        {"kind": "average"},
    ),
    "a 5x5 kernel first": (
        [
            *(block(8, kernel=5, padding=2), block(8), block(8, pool=True)),
            *(block(16), block(16, padding=0, pool=True), block(31, padding=0)),
        ],
        {"kind": "convolution"},
    ),
}
WIDER = {"rotation": 12, "shear": 8, "shift": 0.06, "scale": 0.1}
CHANGES: dict[str, dict[str, Any]] = {
    "dropout 0.06": {"dropout": 0.06},
    "label smoothing 0.05": {"label_smoothing": 0.05},
    "rotation 12, shear 8": {"rotation": 12, "shear": 8},
    "learning rate 0.5": {"learning_rate": 0.5},
    "weight decay 0.0005": {"weight_decay": 5e-4},
    "longer warm-down": {"warm_up": 0.1},
    "no dropout": {"dropout": 0.0},
    "wider augmentation": WIDER,
    "wider augmentation, no dropout": {**WIDER, "dropout": 0.0},
    "wider augmentation, no dropout, weight decay 0.0005": {
        **WIDER,
        "dropout": 0.0,
        "weight_decay": 5e-4,
    },
    "batches of 256": {"batch_size": 256},
    "batches of 64": {"batch_size": 64},
}


def variants(params: Params) -> dict[str, Train]:
    """Return every network by the recipe `best`, and the reference network by changed recipes."""
    best = params.training("reference", "best")
    found = {BASE: best} | {
        name: params.training(name, "best") for name in params.networks if name != "reference"
    }
    kind = {"side": best.architecture.side, "classes": best.architecture.classes}
    for name, (blocks, head) in NETWORKS.items():
        layers = Architecture.model_validate(kind | {"blocks": blocks, "head": head})
        found[name] = Train(**best.model_dump() | {"network": name, "architecture": layers})
    found |= {name: best.model_copy(update=new) for name, new in CHANGES.items()}
    return found | dict.fromkeys(IDEAS, best)


def main() -> None:
    """Run the missing trainings, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="*")
    tasks = on_hold_out(variants(load_params(ROOT / PARAMS)), parser.parse_args().seeds)
    results = train_missing(tasks, RESULTS)
    text = comparison(results, BASE, "network or recipe")
    write_text(TABLE, f"# Networks and recipes on the hold-out set\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()

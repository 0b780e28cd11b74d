"""What each part of the recipe `best` contributes: the recipe without it, from five seeds.

    python benchmarks/ablation.py        # adds to benchmarks/ablation.csv; hours on two cores

See trainings.py. Prints the table in benchmarks/README.md.
"""

from pathlib import Path

from common import ROOT
from trainings import comparison, on_hold_out, train_missing

from mnist12k.params import load_params
from mnist12k.paths import PARAMS

RESULTS = Path(__file__).with_suffix(".csv")
SEEDS = range(1, 6)
CHANGES: dict[str, dict[str, object]] = {  # by what they remove
    "nothing": {},
    "moving average of the weights": {"ema_decay": 0},
    "one-cycle schedule (cosine instead)": {"schedule": "cosine"},
    "Nesterov momentum": {"nesterov": False},
    "weight decay": {"weight_decay": 0},
    "dropout": {"dropout": 0},
    "rotation": {"rotation": 0},
    "shift": {"shift": 0},
    "scale": {"scale": 0},
    "all augmentation": {"rotation": 0, "shift": 0, "scale": 0, "shear": 0},
}


def main() -> None:
    """Run the missing trainings, then print the table."""
    recipe = load_params(ROOT / PARAMS).training("reference", "best")
    variants = {removed: recipe.model_copy(update=new) for removed, new in CHANGES.items()}
    results = train_missing(on_hold_out(variants, SEEDS), RESULTS)
    print(comparison(results, "nothing", "removed"))


if __name__ == "__main__":
    main()

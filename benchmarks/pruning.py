"""What pruning saves: the same search without a pruner and with two.

    python benchmarks/pruning.py         # writes benchmarks/pruning.json; half an hour

All searches explore the space in params.yaml from the same seed and with equally many trials, each
in a folder and a store of its own. Each trains its best trial and the recipe itself again from five
fresh seeds. Compared are the epochs of the trials, and the winners' mean losses on the hold-out
set. Needs MNIST in data/mnist (`dvc repro fetch`).
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import command, edit_params, environment, machine, temporary_project, write_result

from mnist12k.files import read_json
from mnist12k.outputs import TUNE_METRICS

PRUNERS = ("none", "hyperband", "median")


def search(pruner: str, trials: int) -> dict[str, Any]:
    """Search once; return the content of reports/tune/metrics.json."""
    with temporary_project() as folder:
        replacements = {
            "pruner: hyperband": f"pruner: {pruner}",
            "trials: 40": f"trials: {trials}",
            "finalists: 3": "finalists: 1",
        }
        edit_params(folder, replacements)
        tune = [sys.executable, "-m", "mnist12k", "tune"]
        subprocess.run(tune, cwd=folder, env=environment(), check=True)  # noqa: S603
        return read_json(folder / TUNE_METRICS, dict[str, Any])


def main() -> None:
    """Search with every pruner; write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    options = parser.parse_args()
    searches = {pruner: search(pruner, options.trials) for pruner in PRUNERS}
    unpruned = searches["none"]["epochs"]
    result = {
        "machine": machine(),
        "command": command(__file__),
        **searches,
        "fraction_of_epochs": {
            pruner: round(metrics["epochs"] / unpruned, 3) for pruner, metrics in searches.items()
        },
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()

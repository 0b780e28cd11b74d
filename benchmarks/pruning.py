"""What pruning saves a search: the same search without and with it, side by side in one run.

    python benchmarks/pruning.py         # writes benchmarks/pruning.json; half an hour

All search the space in params.yaml, from the same seed and with as many trials, each in a folder
and a store of its own, and train their best trial and the recipe itself again from five fresh
seeds. Compared are the epochs that the trials took, and the winners' mean losses on the held-out
images. Data must lie in data/mnist (`dvc repro fetch`).
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mnist12k.files import write_json, write_text

ROOT = Path(__file__).parents[1]
PRUNERS = ("none", "hyperband", "median")
ELSEWHERE = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME")  # would name another store


def searched(pruner: str, trials: int) -> dict[str, Any]:
    """Search once; return its reports/tune/metrics.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "dvc.yaml", folder)
        for part in ("src", "data"):
            (folder / part).symlink_to(ROOT / part, target_is_directory=True)
        params = (ROOT / "params.yaml").read_text(encoding="utf-8")
        for key, value in {
            "pruner: hyperband": f"pruner: {pruner}",
            "trials: 40": f"trials: {trials}",
            "finalists: 3": "finalists: 1",
        }.items():
            if key not in params:
                raise SystemExit(f"params.yaml has no `{key}` any more")
            params = params.replace(key, value, 1)
        write_text(folder / "params.yaml", params)
        environment = {key: text for key, text in os.environ.items() if key not in ELSEWHERE}
        command = [sys.executable, "-m", "mnist12k", "tune"]
        subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603
        figures: dict[str, Any] = json.loads((folder / "reports/tune/metrics.json").read_text())
    return figures


def main() -> None:
    """Search by every pruner; write and print what each took and found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    chosen = parser.parse_args()
    found = {pruner: searched(pruner, chosen.trials) for pruner in PRUNERS}
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, "
        f"Python {platform.python_version()}",
        "command": " ".join(["python benchmarks/pruning.py", *sys.argv[1:]]),
        **found,
        "share_of_epochs": {
            pruner: round(figures["epochs"] / found["none"]["epochs"], 3)
            for pruner, figures in found.items()
        },
    }
    write_json(Path(__file__).with_suffix(".json"), result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

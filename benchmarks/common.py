"""Helpers of the benchmarks."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mnist12k import SPIN_COUNT, paths
from mnist12k.cnn.fit import fit
from mnist12k.cnn.network import for_images, new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.errors import without_passwords
from mnist12k.files import write_json, write_text
from mnist12k.params import load_params

ROOT = Path(__file__).parents[1]
DATA = ROOT / paths.DATA
VALIDATION_SIZE = 5000  # of the 60,000 training images
LIBGOMP_COUNT = 300_000  # turns that a waiting thread spins where no variable says otherwise
OTHER_STORE = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME")  # variables that select one


def machine(*details: str) -> str:
    """Describe the machine: processor, cores, Python version, and further details."""
    python = f"Python {platform.python_version()}"
    return ", ".join([processor(), f"{os.cpu_count()} CPU cores", python, *details])


def processor() -> str:
    """Return the processor's name where Linux tells it, else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def command(script: str) -> str:
    """Return the command that started this benchmark, without a database's password."""
    text = " ".join(["python", f"benchmarks/{Path(script).name}", *sys.argv[1:]])
    return without_passwords(text)


def training(recipe: str, network: str = "reference", **changes: object) -> Train:
    """Return a training of params.yaml on a CPU, with some settings changed."""
    own = {"seed": 1, "device": "cpu", "validation_size": VALIDATION_SIZE} | changes
    return load_params(ROOT / paths.PARAMS).training(network, recipe).model_copy(update=own)


def fit_seconds(settings: Train, device: torch.device) -> list[float]:
    """Train by `fit` on 55,000 images, without a hold-out set; return the seconds per epoch."""
    digits = load_training_digits(DATA, settings.architecture)
    images, validation = split(digits, settings.validation_size)
    network = new_network(for_images(settings, digits.images), device)
    nothing = validation.subset(torch.arange(0))
    return [epoch.seconds for epoch in fit(network, images, nothing, settings)]


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a benchmark's JSON file, and print it."""
    write_json(path, result)
    print(json.dumps(result, indent=2))


def environment() -> dict[str, str]:
    """Return this process's environment without what would select another MLflow store."""
    return {name: value for name, value in os.environ.items() if name not in OTHER_STORE}


def measure_in_new_process(
    script: str, *arguments: str, spin_count: int = SPIN_COUNT, folder: Path | None = None
) -> dict[str, float]:
    """Run a benchmark again with these arguments; return the JSON that it prints."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, script, *arguments],
        cwd=folder,
        env=environment() | {"GOMP_SPINCOUNT": str(spin_count)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])  # after other output
    return measured


@contextmanager
def temporary_project() -> Iterator[Path]:
    """Yield a folder with the pipeline and its parameters, this code and this data."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (paths.PARAMS, paths.PIPELINE):
            shutil.copy(ROOT / file, folder)
        for part in ("src", "data"):
            (folder / part).symlink_to(ROOT / part, target_is_directory=True)
        yield folder


def edit_params(folder: Path, replacements: Mapping[str, str]) -> None:
    """Replace the first occurrence of each text in a project's params.yaml."""
    text = (folder / paths.PARAMS).read_text(encoding="utf-8")
    for old, new in replacements.items():
        if old not in text:
            raise SystemExit(f"params.yaml no longer contains `{old}`")
        text = text.replace(old, new, 1)
    write_text(folder / paths.PARAMS, text)

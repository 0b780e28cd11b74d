"""What identifies a study. Imports no Optuna: to log a finished search needs none."""

import hashlib
import json
from pathlib import Path

from mnist12k.fingerprint import file_md5, folder_md5
from mnist12k.paths import DATA
from mnist12k.search.settings import SearchSettings

PACKAGE = Path(__file__).parents[1]
# What decides the loss of a trial: the training, its images, and what becomes of them here.
CODE = ("digits/dataset.py", "search/trial.py", "search/fused.py")


def study_digest(settings: SearchSettings) -> str:
    """Return 32 hexadecimal digits that identify all inputs of a trial but its hyperparameters.

    These include the code of a training, but not the device, which only who searches knows.
    """
    networks = settings.networks if "network" in settings.tune.space else {}
    dumped = {name: each.model_dump(exclude_defaults=True) for name, each in networks.items()}
    inputs = settings.tune.model_dump(include={"space", "seed", "seeds_per_trial"}) | {
        "start": settings.start.model_dump(),
        "network": dumped or settings.train.architecture.model_dump(exclude_defaults=True),
        "validation_size": settings.train.validation_size,
        "deterministic": settings.train.deterministic,
    }
    return digest_of(inputs | data_and_code())


def data_and_code() -> dict[str, object]:
    """Return the digests of the data, and of the code that decides a loss."""
    return {
        "data": folder_md5(DATA),
        "cnn": folder_md5(PACKAGE / "cnn"),
        "code": [file_md5(PACKAGE / name) for name in CODE],
    }


def digest_of(content: object) -> str:
    """Return 32 hexadecimal digits of a JSON content's SHA-256."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

"""What identifies a study. Imports no Optuna: to log a finished search needs none."""

import hashlib
import json

from mnist12k.fingerprint import folder_md5
from mnist12k.paths import DATA
from mnist12k.search.settings import SearchSettings


def study_digest(settings: SearchSettings) -> str:
    """Return 32 hexadecimal digits that identify all inputs of a trial but its hyperparameters."""
    networks = settings.networks if "network" in settings.tune.space else {}
    dumped = {name: each.model_dump(exclude_defaults=True) for name, each in networks.items()}
    inputs = settings.tune.model_dump(include={"space", "seed", "seeds_per_trial"}) | {
        "start": settings.start.model_dump(),
        "network": dumped or settings.train.architecture.model_dump(exclude_defaults=True),
        "validation_size": settings.train.validation_size,
        "data": folder_md5(DATA),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]

"""What a training is known by: a digest of everything that produces it."""

import hashlib
import json
from pathlib import Path

from mnist12k.digits.fetch import RAW, file_sha256
from mnist12k.params import Params, read_yaml

DATA = Path("data/mnist")


def data_digest() -> str:
    """Return 32 hexadecimal digits that stand for the bytes of all four IDX files."""
    files = sorted((DATA / RAW).iterdir())
    return _digest({path.name: file_sha256(path) for path in files})


def training_fingerprint(params: Params) -> str:
    """Return 32 hexadecimal digits that stand for the recipe, the data and the code of `train`.

    The code is what dvc.yaml names as the stage's dependencies.
    """
    deps = read_yaml(Path("dvc.yaml"))["stages"]["train"]["deps"]
    code = {path: file_sha256(Path(path)) for path in sorted(deps) if path.endswith(".py")}
    return _digest({"params": params.train.model_dump(), "data": data_digest(), "code": code})


def _digest(content: dict[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]

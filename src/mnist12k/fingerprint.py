"""What a training is known by: a digest of all that went into it, as DVC digests it."""

import hashlib
import json
from pathlib import Path

from mnist12k.params import Train, read_yaml

DATA = Path("data/mnist")


def file_md5(path: Path) -> str:
    """Return the hexadecimal MD5 of a file's bytes, which is what dvc.lock calls it by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(folder: Path) -> str:
    """Return DVC's digest of a folder: the MD5 of the list of its files with theirs."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    entries = [{"md5": file_md5(f), "relpath": f.relative_to(folder).as_posix()} for f in files]
    entries.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    content = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"


def training_fingerprint(settings: Train) -> str:
    """Return 32 hexadecimal digits that stand for the recipe, the data and the code of `train`.

    The code is what dvc.yaml names as the stage's dependencies.
    """
    deps = read_yaml(Path("dvc.yaml"))["stages"]["train"]["deps"]
    made_of = {
        "params": settings.model_dump(),
        "data": folder_md5(DATA),
        "code": {path: file_md5(Path(path)) for path in sorted(deps) if path.endswith(".py")},
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]

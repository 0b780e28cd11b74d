"""The presets' numbers, computed elsewhere with 50 decimal digits."""

import json
from pathlib import Path
from typing import Any

from mnist12k.backprop.settings import SmallNetwork

ORACLE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "oracle.json").read_text(encoding="utf-8")
)


def _network(name: str) -> SmallNetwork:
    keys = ("inputs", "targets", "weights", "biases")
    return SmallNetwork(**{key: ORACLE[name][key] for key in keys})


REFERENCE, MAZUR = _network("reference"), _network("mazur")

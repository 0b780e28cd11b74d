"""What the presets' numbers are, computed elsewhere with 50 decimal digits."""

import json
from pathlib import Path
from typing import Any

from mnist12k.backprop.network import Network

ORACLE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "oracle.json").read_text(encoding="utf-8")
)


def _network(name: str) -> Network:
    given = ORACLE[name]
    return Network(*(tuple(given[key]) for key in ("inputs", "targets", "weights", "biases")))


SEED, MAZUR = _network("seed"), _network("mazur")

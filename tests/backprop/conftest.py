import json
from pathlib import Path
from typing import Any

import pytest

from mnist12k.backprop.network import Network

ORACLE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "oracle.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="session")
def oracle() -> dict[str, Any]:
    """What the presets' numbers are, computed elsewhere with 50 digits."""
    return ORACLE


def oracle_network(name: str) -> Network:
    given = ORACLE[name]
    return Network(*(tuple(given[key]) for key in ("inputs", "targets", "weights", "biases")))


@pytest.fixture(scope="session")
def seed() -> Network:
    return oracle_network("seed")


@pytest.fixture(scope="session")
def mazur() -> Network:
    return oracle_network("mazur")


@pytest.fixture(params=["seed", "mazur"])
def preset(request: pytest.FixtureRequest) -> tuple[Network, dict[str, Any]]:
    return oracle_network(request.param), ORACLE[request.param]

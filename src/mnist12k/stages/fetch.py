"""Bring MNIST to data/mnist."""

from pathlib import Path

from mnist12k.digits.fetch import fetch
from mnist12k.params import Params

DATA = Path("data/mnist")


def run(params: Params) -> None:
    """Fetch and verify the four files."""
    source = fetch(params.fetch.source, params.fetch.sha256, DATA)
    print(f"MNIST from {source}: {len(params.fetch.sha256)} files, SHA-256 verified, in {DATA}")

"""Download MNIST to data/mnist."""

from mnist12k.digits.fetch import fetch
from mnist12k.digits.settings import Fetch
from mnist12k.paths import DATA


def run(settings: Fetch) -> None:
    """Download and verify the four files."""
    source = fetch(settings.source, settings.sha256, DATA)
    print(f"MNIST from {source}: {len(settings.sha256)} files, SHA-256 verified, in {DATA}")

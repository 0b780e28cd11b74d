"""Download the data set to data/mnist."""

from mnist12k.digits.fetch import fetch
from mnist12k.digits.settings import IDX_FILES, Fetch
from mnist12k.paths import DATA


def run(settings: Fetch) -> None:
    """Download and verify the four files."""
    source = fetch(settings.source, settings.sha256, DATA)
    verified = "not verified" if settings.sha256 is None else "SHA-256 verified"
    print(f"{settings.name} from {source}: {len(IDX_FILES)} files, {verified}, in {DATA}")

"""Build the report page from the results of all stages."""

from collections.abc import Mapping

from mnist12k.backprop.settings import Backprop
from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.settings import Train
from mnist12k.digits.settings import Fetch
from mnist12k.files import write_text
from mnist12k.paths import PAGE
from mnist12k.report.page.build import build


def run(
    backprop: Backprop, train: Train, fetch: Fetch, networks: Mapping[str, Architecture]
) -> None:
    """Write reports/index.html: one file that needs neither a server nor a network."""
    write_text(PAGE, build(backprop, train, fetch, networks))
    print(f"{PAGE}: {PAGE.stat().st_size / 1e6:.2f} MB; open it in a browser")

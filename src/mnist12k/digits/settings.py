"""The section `fetch` of params.yaml, and what MNIST consists of."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from mnist12k.files import Section

RAW = Path("MNIST/raw")  # where torchvision looks below its root
TRAINING_IMAGES = 60_000
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class Fetch(Section):
    """Where the four IDX files come from, and their digests."""

    source: str = Field(min_length=1)
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]

    @model_validator(mode="after")
    def _every_file_has_a_digest(self) -> Self:
        if set(self.sha256) != set(IDX_FILES):
            raise ValueError(
                f"sha256 names {', '.join(self.sha256)}; it should name {', '.join(IDX_FILES)}"
            )
        return self

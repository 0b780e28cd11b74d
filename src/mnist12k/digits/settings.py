"""The section `fetch` of params.yaml, and what MNIST consists of."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, Strict, model_validator

from mnist12k.files import Section

RAW = Path("MNIST/raw")  # where torchvision looks below its root
TRAINING_IMAGES = 60_000
SIDE, CLASSES = 28, 10  # of the images, in pixels; of the labels
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _as_text(name: object) -> object:
    """Return a whole number as text: YAML takes the names of digits for numbers."""
    return str(name) if isinstance(name, int) and not isinstance(name, bool) else name


Name = Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=40)]


class Fetch(Section):
    """What the images show, where the four IDX files come from, and their digests."""

    side: int = Field(ge=SIDE, le=SIDE)  # of the square images, in pixels
    classes: Annotated[
        tuple[Name, ...], Strict(False), Field(min_length=CLASSES, max_length=CLASSES)
    ]
    source: str = Field(min_length=1)
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]

    @model_validator(mode="after")
    def _every_file_has_a_digest(self) -> Self:
        if set(self.sha256) != set(IDX_FILES):
            raise ValueError(
                f"sha256 names {', '.join(self.sha256)}; it should name {', '.join(IDX_FILES)}"
            )
        return self

    @model_validator(mode="after")
    def _classes_are_different(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {list(self.classes)} has a duplicate")
        return self

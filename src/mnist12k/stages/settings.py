"""The sections `evaluate` and `seeds` of params.yaml."""

from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from mnist12k.digits.settings import TRAINING_IMAGES
from mnist12k.files import Section


class Evaluate(Section):
    """How the trained network is measured on the test images."""

    device: str = Field(min_length=1)
    batch_size: int = Field(ge=1, le=TRAINING_IMAGES)


class Seeds(Section):
    """Trainings of each recipe from the seeds 1 to `count`."""

    recipes: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]
    count: int = Field(ge=2, le=10_000)
    validation_size: int = Field(ge=0, lt=TRAINING_IMAGES)

    @model_validator(mode="after")
    def _recipes_are_different(self) -> Self:
        if len(set(self.recipes)) < len(self.recipes):
            raise ValueError(f"recipes {list(self.recipes)} has a duplicate")
        return self

"""The sections `evaluate` and `seeds` of params.yaml."""

from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from mnist12k.digits.settings import MOST_IMAGES
from mnist12k.files import Section


class Evaluate(Section):
    """How the trained network is measured on the test images."""

    device: str = Field(min_length=1)
    batch_size: int = Field(ge=1, le=MOST_IMAGES)


Names = Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]


class Seeds(Section):
    """Trainings of networks by recipes from the seeds 1 to `count`."""

    recipes: Annotated[dict[str, Names], Field(min_length=1)]  # by network
    count: int = Field(ge=2, le=10_000)
    device: str = Field(min_length=1)
    together: int = Field(ge=1, le=10_000)  # trainings per worker, as one program
    validation_size: int = Field(ge=0, lt=MOST_IMAGES)

    @model_validator(mode="after")
    def _recipes_are_different(self) -> Self:
        for network, recipes in self.recipes.items():
            if len(set(recipes)) < len(recipes):
                raise ValueError(f"recipes.{network} = {list(recipes)} has a duplicate")
        return self

    def pairs(self) -> list[tuple[str, str]]:
        """Return every (network, recipe) in its order."""
        return [(network, recipe) for network, names in self.recipes.items() for recipe in names]

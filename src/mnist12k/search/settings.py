"""The section `tune` of params.yaml, and what a search needs of the other sections."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from mnist12k.cnn.architecture import Architecture, Block, with_fields
from mnist12k.cnn.settings import Recipe, Train
from mnist12k.files import Section
from mnist12k.search.space import Point

MANY = 100_000  # more than any search finishes
NETWORK = frozenset({"network", *Block.model_fields})  # what a point may say of its network


class Tune(Section):
    """The hyperparameter search: start, space, and workers."""

    recipe: str
    seed: int = Field(ge=0, lt=2**63)
    trials: int = Field(ge=1, le=MANY)
    sampler: Literal["tpe", "gp", "cma_es", "random", "grid"]
    pruner: Literal["hyperband", "median", "wilcoxon", "none"]
    seeds_per_trial: int = Field(ge=1, le=MANY)
    patience: Annotated[int, Field(ge=1, le=MANY)] | None  # trials without a lower loss
    timeout: Annotated[float, Field(gt=0, le=1e9)] | None  # seconds
    start_points: tuple[Point, ...] = Field(strict=False)
    from_study: str | None  # in the same storage
    finalists: int = Field(ge=1, le=MANY)
    finalist_budget: int = Field(ge=8, le=MANY)  # trainings of finalists
    workers: (
        Annotated[int, Field(ge=1, le=MANY)] | None
    )  # None: one per core, or one on an accelerator
    together: int = Field(ge=1, le=MANY)  # trials per worker, trained as one program
    storage: Annotated[str, Field(pattern="^(journal|postgresql(\\+psycopg)?://.+)$")]
    engine: Literal["local", "ray"]
    space: dict[str, Any]

    @model_validator(mode="after")
    def _seeds_suit_the_pruner(self) -> Self:
        if self.pruner == "wilcoxon" and self.seeds_per_trial < 2:
            raise ValueError(
                "pruner wilcoxon compares seed by seed: seeds_per_trial must be above 1"
            )
        if self.together > 1 and self.seeds_per_trial > 1:
            raise ValueError("trials together have one seed each: seeds_per_trial must be 1")
        return self


def reason(error: ValueError) -> str:
    """Return, in one line, why a network is impossible or above the budget."""
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return str(problem.get("ctx", {}).get("error", problem["msg"]))
    return str(error)


def is_integer(name: str) -> bool:
    """Return whether a parameter of a recipe, or a field of a block, is an integer."""
    schemas = Recipe.model_json_schema()["properties"] | Block.model_json_schema()["properties"]
    schema = schemas.get(name.partition(".")[0], {})
    return "integer" in (kind.get("type") for kind in schema.get("anyOf", [schema]))


class SearchSettings(NamedTuple):
    """The section `tune`, the recipe it starts from, the section `train`, and all networks."""

    tune: Tune
    start: Recipe
    train: Train
    networks: Mapping[str, Architecture]

    def for_point(self, point: Point, seed: int) -> Train:
        """Return the training at a point of the space: the start with these values replaced.

        Device, determinism and hold-out set are those of the section `train`. Raises ValueError if
        the network is impossible or above the budget.
        """
        network, architecture = self.network(point)
        recipe = {
            name: value
            for name, value in point.items()
            if name not in NETWORK and value is not None  # None: the recipe's
        }
        chosen = {"network": network, "architecture": architecture}
        chosen |= {"recipe": self.tune.recipe, "seed": seed}
        return Train(**self.train.model_dump() | self.start.model_dump() | recipe | chosen)

    def network(self, point: Point) -> tuple[str, Architecture]:
        """Return the network at a point, and its name; raise ValueError if it is impossible."""
        name = point.get("network", self.train.network)
        if name not in self.networks:
            raise ValueError(f"network = {name!r}: allowed: {', '.join(self.networks)}")
        fields = {field: point[field] for field in Block.model_fields if field in point}
        layers = self.networks[name]
        try:
            return name, with_fields(layers, fields) if fields else layers
        except ValueError as error:
            raise ValueError(f"network {name}: {reason(error)}") from error

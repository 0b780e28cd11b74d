"""params.yaml as frozen, validated types. Nothing else in the project reads YAML.

DVC reads YAML 1.2 with ruamel.yaml, and so does this module: `1e-3` is a number to both.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mnist12k.errors import UserError
from mnist12k.space import corners, parse_space

MNIST_TRAINING_IMAGES = 60_000
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

BLOCKS = 6  # of the network, each with a dropout
SCHEDULE_NEEDS = {"step": ("step_size", "gamma"), "one_cycle": ("warm_up",)}

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1e100)]
Output = Annotated[float, Field(ge=0, le=1)]
Bounded = Annotated[float, Field(ge=-1e6, le=1e6)]
# YAML has lists where Python has tuples; their elements stay strict.
Pair = Annotated[tuple[Bounded, Bounded], Strict(False)]
Rates = Annotated[tuple[Share, ...], Strict(False), Field(min_length=BLOCKS, max_length=BLOCKS)]
ONE, EACH = "one rate", "one a block"
Dropout = Annotated[
    Annotated[Share, Tag(ONE)] | Annotated[Rates, Tag(EACH)],
    Discriminator(lambda given: EACH if isinstance(given, list | tuple) else ONE),
]


class Section(BaseModel):
    """What every section keeps to: frozen, no unknown key, no silent conversion, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Fetch(Section):
    """Where the four IDX files come from, and what they must be."""

    source: str = Field(min_length=1)
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]

    @model_validator(mode="after")
    def _digests_are_of_the_four_files(self) -> Self:
        if set(self.sha256) != set(IDX_FILES):
            raise ValueError(
                f"sha256 is of {', '.join(self.sha256)}; it should be of {', '.join(IDX_FILES)}"
            )
        return self


class Network(Section):
    """A 2-2-2 network and the example that it learns; within these limits nothing overflows."""

    inputs: Pair
    targets: Annotated[tuple[Output, Output], Strict(False)]
    weights: Annotated[tuple[Bounded, ...], Strict(False), Field(min_length=8, max_length=8)]
    biases: Pair


class Presets(Section):
    """The published examples, which every study proves beside its own network."""

    seed: Network
    mazur: Network


class Backprop(Network):
    """The learning-rate study: its own network, the presets, and how to descend."""

    preset: Literal["own", "seed", "mazur"]
    learning_rates: Annotated[tuple[Rate, ...], Strict(False), Field(min_length=1, max_length=20)]
    iterations: int = Field(ge=1, le=10_000)
    worksheet_learning_rate: Rate
    presets: Presets

    @model_validator(mode="after")
    def _rates_are_consistent(self) -> Self:
        rates = [float(rate) for rate in self.learning_rates]
        if len(set(rates)) < len(rates):
            raise ValueError(f"learning_rates {rates} name a rate twice")
        if self.worksheet_learning_rate not in rates:
            raise ValueError(
                f"worksheet_learning_rate {self.worksheet_learning_rate:g} is not one of "
                f"learning_rates {rates}"
            )
        return self


class Recipe(Section):
    """How the CNN is trained. What a recipe leaves out is off."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: Positive = Field(description="the schedule's highest")
    momentum: Share
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0
    schedule: Literal["step", "one_cycle", "cosine", "linear"]
    step_size: Annotated[int, Field(ge=1)] | None = None  # step: epochs at one learning rate
    gamma: Annotated[float, Field(gt=0, le=1)] | None = None  # step: the factor after each
    warm_up: Share | None = None  # one_cycle: the share of all steps that climbs
    final: Share = 0  # cosine: the share of learning_rate that is left at the end
    dropout: Dropout = 0  # the rate after each block, or a list of six
    label_smoothing: Share = 0
    average: Share = 0  # decay of the weights' exponential moving average
    rotation: Annotated[float, Field(ge=0, le=180)] = 0  # degrees either way
    shift: Annotated[float, Field(ge=0, le=1)] = 0  # share of the side, either way on each axis
    scale: Share = 0  # 1 plus or minus this
    shear: Annotated[float, Field(ge=0, lt=90)] = 0  # degrees either way, along x
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    fill: Annotated[int, Field(ge=0, le=255)] = 0  # grey level of what turns in from outside

    @model_validator(mode="after")
    def _schedule_has_what_it_needs(self) -> Self:
        for name in SCHEDULE_NEEDS.get(self.schedule, ()):
            if getattr(self, name) is None:
                raise ValueError(f"schedule {self.schedule} needs {name}")
        return self


class Train(Recipe):
    """One training in full: its recipe, and what is no part of any recipe."""

    recipe: str
    seed: int = Field(ge=0, lt=2**63)
    device: str = Field(min_length=1)
    deterministic: bool  # on an accelerator: the same bits every time, more slowly
    validation_size: int = Field(ge=0, lt=MNIST_TRAINING_IMAGES)


class Evaluate(Section):
    """How the trained network is measured on the test images."""

    device: str = Field(min_length=1)
    batch_size: int = Field(ge=1)


class Publish(Section):
    """When a new model takes the champion's place in MLflow's registry."""

    champion_level: Annotated[float, Field(gt=0, lt=1)]


class Seeds(Section):
    """Many trainings of each recipe, from the seeds 1 to `count`."""

    recipes: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]
    count: int = Field(ge=2)
    validation_size: int = Field(ge=0, lt=MNIST_TRAINING_IMAGES)


class Tune(Section):
    """The hyperparameter search: where it starts, what it may change, and who does the work."""

    recipe: str
    seed: int = Field(ge=0, lt=2**63)
    trials: int = Field(ge=1)
    sampler: Literal["tpe", "gp", "cma_es", "random", "grid"]
    pruner: Literal["hyperband", "median", "wilcoxon", "none"]
    seeds_per_trial: int = Field(ge=1)
    finalists: int = Field(ge=1)
    finalist_seeds: int = Field(ge=2)
    workers: Annotated[int, Field(ge=1)] | None  # None: one a core, or one on an accelerator
    together: int = Field(ge=1)  # trials that a worker trains at once, in one program
    storage: Annotated[str, Field(pattern="^(journal|postgresql(\\+psycopg)?://.+)$")]
    engine: Literal["local", "ray"]
    space: dict[str, Any]

    @model_validator(mode="after")
    def _seeds_are_for_wilcoxon(self) -> Self:
        if self.pruner == "wilcoxon" and self.seeds_per_trial < 2:
            raise ValueError(
                "pruner wilcoxon compares seed by seed: seeds_per_trial must be above 1"
            )
        if self.together > 1 and self.seeds_per_trial > 1:
            raise ValueError("trials together have one seed each: seeds_per_trial must be 1")
        return self


class Params(Section):
    """All of params.yaml. A key of `train` that is null there is here what its recipe says."""

    fetch: Fetch
    backprop: Backprop
    recipes: dict[str, Recipe]
    train: Train
    evaluate: Evaluate
    publish: Publish
    seeds: Seeds
    tune: Tune

    @model_validator(mode="before")
    @classmethod
    def _recipe_fills_train(cls, content: Any) -> Any:
        match content:
            case {"recipes": dict(recipes), "train": dict(train)}:
                name = train.get("recipe")
                if name not in recipes:
                    raise ValueError(f"train.recipe = {name!r}: allowed: {', '.join(recipes)}")
                given = {key: value for key, value in train.items() if value is not None}
                recipe = recipes[name] if isinstance(recipes[name], dict) else {}
                return {**content, "train": {**recipe, **given}}
        return content

    @model_validator(mode="after")
    def _seeds_are_of_known_recipes(self) -> Self:
        for name in self.seeds.recipes:
            if name not in self.recipes:
                raise ValueError(f"seeds.recipes: {name!r}: allowed: {', '.join(self.recipes)}")
        return self

    @model_validator(mode="after")
    def _space_is_of_trainings(self) -> Self:
        if self.tune.recipe not in self.recipes:
            raise ValueError(
                f"tune.recipe = {self.tune.recipe!r}: allowed: {', '.join(self.recipes)}"
            )
        if self.train.validation_size == 0:
            raise ValueError("tune: a search needs train.validation_size above 0")
        try:
            space = parse_space(self.tune.space)
        except ValueError as error:
            raise ValueError(f"tune.space: {error}") from error
        start = self.recipes[self.tune.recipe].model_dump()
        for point in corners(space):
            try:
                Recipe.model_validate(start | point)
            except ValidationError as error:
                raise ValueError(f"tune.space: {_explain(error.errors()[0], Recipe)}") from error
            if self.tune.together > 1 and (
                shapes := {"epochs", "batch_size", "interpolation"} & set(point)
            ):
                raise ValueError(f"tune.space: {min(shapes)}: trials together must agree in it")
        return self

    def training(self, recipe: str, seed: int, validation_size: int) -> Train:
        """Return a training by a recipe alone, whatever `train` says besides; on one CPU thread."""
        return Train(
            recipe=recipe,
            seed=seed,
            device="cpu",
            deterministic=False,
            validation_size=validation_size,
            **self.recipes[recipe].model_dump(),
        )


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file; raise UserError where it is absent or no YAML."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        what = getattr(error, "problem", None) or "not UTF-8 text"
        raise UserError(f"{path}:{line} is not YAML: {what}") from error


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate params.yaml; raise UserError with one line for each thing wrong."""
    content = read_yaml(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        # A mistake in the chosen recipe shows again in `train`, which it fills: tell it once.
        in_recipes = {(p["loc"][2:], p["msg"]) for p in problems if p["loc"][:1] == ("recipes",)}
        lines = [
            f"{path}: {_explain(problem)}"
            for problem in problems
            if problem["loc"][:1] != ("train",)
            or (problem["loc"][1:], problem["msg"]) not in in_recipes
        ]
        raise UserError("\n".join(lines)) from error


def _explain(problem: Any, top: type[BaseModel] = Params) -> str:
    """One validation problem in one line: the key, what was given, what is allowed."""
    location = tuple(part for part in problem["loc"] if part not in (ONE, EACH))
    key = ".".join(str(part) for part in location) or "the file"
    given = repr(problem["input"])
    if len(given) > 80:
        given = given[:77] + "..."
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            allowed = list(_section_at(location[:-1], top).model_fields)
            close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(allowed)}"
            return f"{key} = {given} is not a known key; {hint}"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}" if location else str(problem["ctx"]["error"])
        case "finite_number":
            return f"{key} = {given}: a finite number is needed"
        case _:
            rule = problem["msg"].replace("Input should", "it should").replace("Tuple", "the list")
            return f"{key} = {given}: {rule}"


def _section_at(location: tuple[int | str, ...], section: type[BaseModel]) -> type[BaseModel]:
    if location[:1] == ("recipes",) and len(location) > 1:
        return Recipe
    for name in location:
        annotation = section.model_fields[str(name)].annotation
        assert isinstance(annotation, type)  # every nested key of params.yaml is a Section
        section = annotation
    return section

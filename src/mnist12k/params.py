"""params.yaml as one validated object, composed of the section types of the packages."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from mnist12k.backprop.settings import Backprop
from mnist12k.cnn.settings import ONE_RATE, RATE_PER_BLOCK, Recipe, Train
from mnist12k.digits.settings import Fetch
from mnist12k.errors import UserError
from mnist12k.files import Section, read_yaml
from mnist12k.paths import PARAMS
from mnist12k.search.settings import SearchSettings, Tune
from mnist12k.search.space import corners, parse_space
from mnist12k.stages.settings import Evaluate, Seeds
from mnist12k.tracking.settings import Publish


class Params(Section):
    """All of params.yaml. A key of `train` that is null there has its recipe's value here."""

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
    def _recipe_completes_train(cls, content: Any) -> Any:
        match content:
            case {"recipes": dict(recipes), "train": dict(train)}:
                name = train.get("recipe")
                if not isinstance(name, str) or name not in recipes:
                    raise ValueError(f"train.recipe = {name!r}: allowed: {_listed(recipes)}")
                overrides = {key: value for key, value in train.items() if value is not None}
                recipe = recipes[name] if isinstance(recipes[name], dict) else {}
                return {**content, "train": {**recipe, **overrides}}
        return content

    @model_validator(mode="after")
    def _named_recipes_exist(self) -> Self:
        named = [("seeds.recipes:", name) for name in self.seeds.recipes]
        for key, name in [*named, ("tune.recipe =", self.tune.recipe)]:
            if name not in self.recipes:
                raise ValueError(f"{key} {name!r}: allowed: {_listed(self.recipes)}")
        return self

    @model_validator(mode="after")
    def _space_holds_valid_recipes(self) -> Self:
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
            shared = {"epochs", "batch_size", "interpolation"} & set(point)
            if self.tune.together > 1 and shared:
                raise ValueError(f"tune.space: {min(shared)}: trials together must agree in it")
        return self

    def search(self) -> SearchSettings:
        """Return what a search needs; raise UserError if there is no hold-out set."""
        if self.train.validation_size == 0:
            raise UserError(f"{PARAMS}: a search needs train.validation_size above 0")
        return SearchSettings(self.tune, self.recipes[self.tune.recipe], self.train)


def load_params(path: Path = PARAMS) -> Params:
    """Read and validate params.yaml; raise UserError with one line per problem."""
    content = read_yaml(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        # A problem of the chosen recipe recurs in `train`, which it completes: report it once.
        in_recipes = {(p["loc"][2:], p["msg"]) for p in problems if p["loc"][:1] == ("recipes",)}
        if any(problem["loc"] == ("recipes",) for problem in problems):  # there are none
            problems = [problem for problem in problems if problem["loc"][:1] != ("train",)]
        locations = [_location(problem) for problem in problems]
        lines = [
            f"{path}: {_explain(problem, Params)}"
            for problem, own in zip(problems, locations, strict=True)
            if (own[:1] != ("train",) or (problem["loc"][1:], problem["msg"]) not in in_recipes)
            # A list with a wrong element is also reported as too short.
            and not any(own == other[: len(own)] != other for other in locations)
        ]
        raise UserError("\n".join(lines)) from error


def _listed(recipes: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, recipes))


def _explain(problem: Any, model: type[BaseModel]) -> str:
    """Return one line per validation problem: the key, its value, and what is allowed."""
    location = _location(problem)
    key = ".".join(str(part) for part in location) or "the file"
    try:
        value = repr(problem["input"])
    except ValueError:  # Python prints at most 4,300 digits
        value = "a number of thousands of digits"
    if len(value) > 80:
        value = value[:77] + "..."
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            allowed = list(_section_at(location[:-1], model).model_fields)
            close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(allowed)}"
            return f"{key} = {value} is not a known key; {hint}"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}" if location else str(problem["ctx"]["error"])
        case "finite_number":
            return f"{key} = {value}: a finite number is needed"
        case _:
            rule = problem["msg"].replace("Input should", "it should").replace("Tuple", "the list")
            return f"{key} = {value}: {rule}"


def _location(problem: Any) -> tuple[int | str, ...]:
    """Return the problem's key, one part per level."""
    return tuple(part for part in problem["loc"] if part not in (ONE_RATE, RATE_PER_BLOCK))


def _section_at(location: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel]:
    if location[:1] == ("recipes",) and len(location) > 1:
        return Recipe
    for name in location:
        annotation = model.model_fields[str(name)].annotation
        assert isinstance(annotation, type)  # every nested key of params.yaml is a Section
        model = annotation
    return model

"""params.yaml as one validated object, composed of the section types of the packages."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ValidationError, model_validator

from mnist12k.backprop.settings import Backprop
from mnist12k.cnn.architecture import DIGITS, Architecture, Block, Layers
from mnist12k.cnn.settings import ONE_RATE, RATE_PER_BLOCK, Recipe, Train
from mnist12k.digits.settings import Fetch
from mnist12k.errors import UserError
from mnist12k.files import Section, read_yaml
from mnist12k.paths import PARAMS
from mnist12k.search.settings import NETWORK, SearchSettings, Tune, is_integer
from mnist12k.search.space import as_parameters, corners, parse_space, whole_steps, with_lists
from mnist12k.stages.settings import Evaluate, Seeds
from mnist12k.tracking.settings import Publish

# What pydantic adds to a key that may be of several types.
ALTERNATIVES = (ONE_RATE, RATE_PER_BLOCK, "literal['auto']", "constrained-int")


class Params(Section):
    """All of params.yaml. A key of `train` that is null there has its recipe's value here.

    `train.architecture` is the network that `train.network` names, for the images in `fetch`.
    """

    fetch: Fetch
    backprop: Backprop
    networks: dict[str, Layers]
    recipes: dict[str, Recipe]
    train: Train
    evaluate: Evaluate
    publish: Publish
    seeds: Seeds
    tune: Tune

    @model_validator(mode="before")
    @classmethod
    def _recipe_and_network_complete_train(cls, content: Any) -> Any:
        match content:
            case {"recipes": dict(), "networks": dict(), "train": dict(train)}:
                if "architecture" in train:
                    raise ValueError("train.architecture is not a known key; see train.network")
                recipe = _chosen(content, "recipe", "recipes")
                layers = _chosen(content, "network", "networks")
                network = _architecture(train["network"], layers, content.get("fetch"))
                overrides = {key: value for key, value in train.items() if value is not None}
                completed = {"parameter_budget": None, **recipe, **overrides}
                return {**content, "train": completed | {"architecture": network.model_dump()}}
        return content

    @model_validator(mode="after")
    def _networks_suit_the_images(self) -> Self:
        for name in self.networks:
            self.architecture(name)
        return self

    @model_validator(mode="after")
    def _named_recipes_exist(self) -> Self:
        for name in self.seeds.recipes:
            if name not in self.networks:
                raise ValueError(f"seeds.recipes: {name!r}: allowed: {_listed(self.networks)}")
        named = [("seeds.recipes:", recipe) for _, recipe in self.seeds.pairs()]
        for key, name in [*named, ("tune.recipe =", self.tune.recipe)]:
            if name not in self.recipes:
                raise ValueError(f"{key} {name!r}: allowed: {_listed(self.recipes)}")
        for network, recipe in self.seeds.pairs():
            try:  # together: a recipe by itself does not know the network
                self.training(network, recipe)
            except ValidationError as error:
                problem = _explain(error.errors()[0], Train)
                raise ValueError(f"seeds.recipes.{network}: {recipe}: {problem}") from error
        return self

    @model_validator(mode="after")
    def _space_holds_valid_recipes(self) -> Self:
        try:
            space = parse_space(self.tune.space)
            whole_steps(space, is_integer)
        except ValueError as error:
            raise ValueError(f"tune.space: {error}") from error
        for number, point in enumerate(self.tune.start_points):
            where = f"tune.start_points.{number}"
            try:
                known = with_lists(as_parameters(point, space, partial=True))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            if unknown := [name for name in point if name not in known]:
                raise ValueError(
                    f"{where}: {unknown[0]} is not in tune.space, given its other values"
                )
        search = self._search()
        for point in corners(space):
            within = search
            if Block.model_fields.keys() & point.keys():  # the budget is then a constraint
                without = {"parameter_budget": None}
                within = search._replace(train=self.train.model_copy(update=without))
            try:
                within.for_point(point, self.tune.seed)
            except ValidationError as error:
                raise ValueError(f"tune.space: {_explain(error.errors()[0], Train)}") from error
            except ValueError as error:
                raise ValueError(f"tune.space: {error}") from error
            shared = (NETWORK | {"epochs", "batch_size", "interpolation"}) & set(point)
            if self.tune.together > 1 and shared:
                raise ValueError(f"tune.space: {min(shared)}: trials together must agree in it")
        return self

    def architecture(self, name: str) -> Architecture:
        """Return a network for the images in `fetch`; raise ValueError if it does not suit them."""
        return _architecture(name, self.networks[name].model_dump(), self.fetch.model_dump())

    def architectures(self) -> dict[str, Architecture]:
        """Return every network for the images in `fetch`, by its name."""
        return {name: self.architecture(name) for name in self.networks}

    def training(self, network: str, recipe: str) -> Train:
        """Return a training of a network by a recipe alone; raise ValidationError if impossible."""
        chosen = {
            "network": network,
            "architecture": self.architecture(network),
            "recipe": recipe,
        }
        return Train(**self.train.model_dump() | self.recipes[recipe].model_dump() | chosen)

    def search(self) -> SearchSettings:
        """Return what a search needs; raise UserError if there is no hold-out set."""
        if self.train.validation_size == 0:
            raise UserError(f"{PARAMS}: a search needs train.validation_size above 0")
        return self._search()

    def seeds_search(self) -> SearchSettings:
        """Return where `mnist12k seeds` has its queue and workers: where a search has."""
        search, own = self._search(), self.seeds
        return search._replace(
            tune=search.tune.model_copy(update={"together": own.together}),
            train=search.train.model_copy(update={"device": own.device}),
        )

    def _search(self) -> SearchSettings:
        start = self.recipes[self.tune.recipe]
        return SearchSettings(self.tune, start, self.train, self.architectures())


def load_params(path: Path = PARAMS) -> Params:
    """Read and validate params.yaml; raise UserError with one line per problem."""
    content = read_yaml(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        # A problem of the chosen recipe recurs in `train`, which it completes: report it once.
        in_recipes = {(p["loc"][2:], p["msg"]) for p in problems if p["loc"][:1] == ("recipes",)}
        if {("recipes",), ("networks",)} & {problem["loc"] for problem in problems}:  # incomplete
            problems = [problem for problem in problems if problem["loc"][:1] != ("train",)]
        problems = _one_per_key(problems)
        locations = [_location(problem) for problem in problems]
        lines = [
            f"{path}: {_explain(problem, Params)}"
            for problem, own in zip(problems, locations, strict=True)
            if (own[:1] != ("train",) or (problem["loc"][1:], problem["msg"]) not in in_recipes)
            # A list with a wrong element is also reported as too short.
            and not any(own == other[: len(own)] != other for other in locations)
        ]
        raise UserError("\n".join(lines)) from error


def _chosen(content: dict[str, Any], key: str, section: str) -> dict[str, Any]:
    """Return the entry of a section that a key of `train` names; raise ValueError without one."""
    name, entries = content["train"].get(key), content[section]
    if not entries:
        raise ValueError(f"{section} is empty")
    if not isinstance(name, str) or name not in entries:
        raise ValueError(f"train.{key} = {name!r}: allowed: {_listed(entries)}")
    return entries[name] if isinstance(entries[name], dict) else {}


def _architecture(name: str, layers: Mapping[str, Any], fetch: Any) -> Architecture:
    match fetch:
        case {"side": side, "channels": channels, "classes": classes}:
            images = {"side": side, "channels": channels, "classes": classes}
        case _:  # reported for itself
            images = {"side": 28, "classes": DIGITS}
    try:
        return Architecture.model_validate({**layers, **images})
    except ValidationError as error:
        problems = error.errors()
        unknown = [each for each in problems if each["type"] == "extra_forbidden"]
        problem = (unknown or problems)[0]
        of_images = problem["loc"][:1] in [("side",), ("channels",), ("classes",)]
        section = "fetch" if of_images else f"networks.{name}"
        separator = "." if problem["loc"] else ": "
        raise ValueError(f"{section}{separator}{_explain(problem, Layers)}") from error


def _listed(names: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, names))


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
            rule = rule.replace("a valid tuple", "a list")
            return f"{key} = {value}: {rule}"


def _one_per_key(problems: Iterable[Any]) -> list[Any]:
    """Join the problems of a key that may be of several types, which pydantic reports for each."""
    joined: list[Any] = []
    for problem in problems:
        key = _location(problem)
        if joined and key != problem["loc"] and key == _location(joined[-1]):
            rule = problem["msg"].removeprefix("Input should be")
            joined[-1] = {**joined[-1], "msg": f"{joined[-1]['msg']} or{rule}"}
        else:
            joined.append(problem)
    return joined


def _location(problem: Any) -> tuple[int | str, ...]:
    """Return the problem's key, one part per level."""
    return tuple(part for part in problem["loc"] if part not in ALTERNATIVES)


def _section_at(location: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel]:
    annotation: Any = model
    for name in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(name)].annotation
        else:  # a list or mapping of sections
            kinds = [each for each in get_args(annotation) if isinstance(each, type)]
            annotation = next(each for each in kinds if issubclass(each, BaseModel))
    assert isinstance(annotation, type)  # every nested key of params.yaml is a Section
    return annotation

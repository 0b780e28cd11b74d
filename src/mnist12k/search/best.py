"""The best hyperparameters of a search: their file, and how they get into params.yaml."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mnist12k.cnn.architecture import Layers
from mnist12k.cnn.settings import Recipe
from mnist12k.errors import UserError
from mnist12k.files import damaged, read_yaml, write_text
from mnist12k.outputs import TuneMetrics
from mnist12k.search.settings import NETWORK, SearchSettings
from mnist12k.search.space import Point

NULL = "tag:yaml.org,2002:null"
TUNED = "tuned"  # the network in params.yaml whose fields a search has chosen
END = "...\n"  # YAML's end of a document: a file without it was cut
BETTER = "better"  # the verdict that needs no --force


def best_params(settings: SearchSettings, best: Point, found: TuneMetrics) -> dict[str, Any]:
    """Return the verdict on a point, and the point as sections of params.yaml.

    A network of its own is the network `TUNED`.
    """
    verdict = {
        "verdict": found.verdict,
        "difference": found.difference_mean,
        "low": found.difference_low,
        "high": found.difference_high,
        "seeds": found.verdict_seeds,
    }
    return {"verdict": verdict} | sections(settings, best)


def sections(settings: SearchSettings, best: Point) -> dict[str, Any]:
    """Return a point as sections of params.yaml."""
    train = {"recipe": settings.tune.recipe, "seed": settings.tune.seed}
    train |= {name: value for name, value in best.items() if name not in NETWORK}
    if not NETWORK & best.keys():
        return {"train": train}
    name, architecture = settings.network(best)
    if best.keys() & NETWORK == {"network"}:
        return {"train": train | {"network": name}}
    layers = architecture.model_dump(include=set(Layers.model_fields), exclude_defaults=True)
    layers["blocks"] = list(layers["blocks"])
    return {"networks": {TUNED: layers}, "train": train | {"network": TUNED}}


def write_best(best: Mapping[str, Any], path: Path) -> None:
    """Write `best_params` as a YAML file."""
    text = StringIO()
    yaml = YAML()
    yaml.explicit_end = True
    yaml.dump(best, text)
    write_text(path, text.getvalue())


def apply_best(best: Path, params: Path, *, force: bool = False) -> None:
    """Copy the hyperparameters of one YAML file to another, whose comments are kept.

    The recipe's other keys become null, so that the recipe decides them. Raises UserError if the
    first file is missing or damaged, or unless `force` if it is not shown to be better.
    """
    names = ("recipe", "seed", *Recipe.model_fields)
    found = read_yaml(best)
    chosen = found.get("train") if isinstance(found, dict) else None
    if not best.read_text(encoding="utf-8").endswith(END):
        raise damaged(best, "its end is missing")
    allowed = {"network", *names}
    if not isinstance(chosen, dict) or not {"recipe", "seed"} <= chosen.keys() <= allowed:
        raise damaged(best, "it has no section train with recipe and seed")
    networks = found.get("networks", {})
    if not isinstance(networks, dict) or not networks.keys() <= {TUNED}:
        raise damaged(best, f"its section networks may have nothing but {TUNED}")
    verdict = found.get("verdict")
    if not isinstance(verdict, dict) or not isinstance(verdict.get("verdict"), str):
        raise damaged(best, "it has no verdict")
    if verdict["verdict"] != BETTER and not force:
        raise UserError(
            f"{best} against its recipe {chosen['recipe']}: {verdict['verdict']}; "
            "`mnist12k tune --apply --force` writes it to params.yaml nevertheless"
        )
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar(NULL, "null")
    )
    content = yaml.load(params.read_text(encoding="utf-8"))
    section = content["train"]
    for name in names:
        if name in section or name in chosen:
            section[name] = chosen.get(name)
    section.update({"network": chosen["network"]} if "network" in chosen else {})
    content["networks"].update(networks)
    text = StringIO()
    yaml.dump(content, text)
    write_text(params, text.getvalue())

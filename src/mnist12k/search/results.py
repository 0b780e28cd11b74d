"""The results of a search: its tables, metrics, and best hyperparameters."""

import shlex
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import TrialState
from ruamel.yaml import YAML

from mnist12k.cnn.architecture import Layers
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.settings import Recipe
from mnist12k.files import damaged, read_yaml, write_text
from mnist12k.outputs import TRIAL_COLUMNS, TuneMetrics
from mnist12k.report.markdown import table
from mnist12k.search.digest import study_digest
from mnist12k.search.finalists import START, mean_results
from mnist12k.search.queue import finished
from mnist12k.search.settings import NETWORK, SearchSettings
from mnist12k.search.space import Point
from mnist12k.search.trial import ACCURACY, epochs_of

NULL = "tag:yaml.org,2002:null"
TUNED = "tuned"  # the network in params.yaml whose fields a search has chosen
END = "...\n"  # YAML's end of a document: a file without it was cut


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per finished trial: `TRIAL_COLUMNS`, then its hyperparameters."""
    trials = finished(study)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = []
    for trial in trials:
        epochs = epochs_of(trial)
        seconds = round(sum(epoch.seconds for epoch in epochs), 3)
        result = (trial.state.name.lower(), trial.value, trial.user_attrs.get(ACCURACY))
        parameters = map(trial.params.get, names)
        rows.append((trial.number, *result, len(epochs), seconds, *parameters))
    # Objects, since pandas would turn an integer column with empty cells into floats.
    return pd.DataFrame(rows, columns=[*TRIAL_COLUMNS, *names], dtype=object)


def epochs_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per epoch of each finished trial: the trial's number, then `Epoch`."""
    rows = [(trial.number, *epoch) for trial in finished(study) for epoch in epochs_of(trial)]
    return pd.DataFrame(rows, columns=["trial", *Epoch._fields], dtype=object)


def ranking(
    settings: SearchSettings, study: optuna.Study, finalists: Iterable[str], results: pd.DataFrame
) -> str:
    """Return, in Markdown, the finalists ranked by their mean loss, next to the search's ranking.

    `finalists` are the names in the search's order, `results` those of `finalist_results`.
    """
    tune = settings.tune
    losses = {str(trial.number): trial.value for trial in finished(study)}
    in_search = {
        name: [str(rank), f"{losses[name]:.5f}"]
        for rank, name in enumerate(finalists)
        if name != START
    }
    rows = [
        [str(rank), name, f"{loss:.5f}", f"{accuracy:.3%}", *in_search.get(name, ["", ""])]
        for rank, (name, loss, accuracy) in enumerate(mean_results(results).itertuples(), start=1)
    ]
    header = ["rank", "trial", "mean loss", "mean accuracy", "rank in search", "loss in search"]
    return (
        "# Finalists\n\n"
        f"The best trials and the recipe that the search started from (`{tune.recipe}`), trained\n"
        f"again from {tune.finalist_seeds} fresh seeds and ranked by mean validation loss.\n"
        "The ranking in the search favours lucky trials. All losses and accuracies are on the\n"
        f"{settings.train.validation_size:,} images of the hold-out set; the test images were not "
        f"used.\n\n{table(header, rows)}\n"
    )


def metrics(
    settings: SearchSettings,
    study: optuna.Study,
    finalists_study: optuna.Study,
    results: pd.DataFrame,
) -> TuneMetrics:
    """Return the cost of the search, and the mean results of its winner and its start."""
    trials = finished(study)
    means = mean_results(results).to_dict("index")
    winner, *_ = means
    start = means.get(START, {})
    return TuneMetrics(
        study=study.study_name,
        fingerprint=study_digest(settings),
        trials=len(trials),
        pruned=sum(trial.state == TrialState.PRUNED for trial in trials),
        epochs=len(epochs_table(study)),
        epochs_of_finalists=len(epochs_table(finalists_study)),
        winner_trial=None if winner == START else int(str(winner)),
        winner_validation_loss_mean=means[winner]["validation_loss"],
        winner_validation_accuracy_mean=means[winner]["validation_accuracy"],
        start_recipe=settings.tune.recipe,
        start_validation_loss_mean=start.get("validation_loss"),
        start_validation_accuracy_mean=start.get("validation_accuracy"),
    )


def best_params(settings: SearchSettings, best: Point) -> dict[str, Any]:
    """Return a point as sections of params.yaml; a network of its own is the network `TUNED`."""
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


def train_command(best: Mapping[str, Any]) -> str:
    """Return the command that trains with `best`, on one thread like a trial: to the same bits.

    Empty for a network of its own, which has to be in params.yaml first.
    """
    if "networks" in best:
        return ""
    values = best["train"] | {"threads": 1}
    changes = (f"-S {shlex.quote(f'train.{key}={value}')}" for key, value in values.items())
    return f"dvc exp run {' '.join(changes)}"


def write_best(best: Mapping[str, Any], path: Path) -> None:
    """Write `best_params` as a YAML file."""
    text = StringIO()
    yaml = YAML()
    yaml.explicit_end = True
    yaml.dump(best, text)
    write_text(path, text.getvalue())


def apply_best(best: Path, params: Path) -> None:
    """Copy the sections of one YAML file to another, whose comments are kept.

    The recipe's other keys become null, so that the recipe decides them. Raises UserError if the
    first file is missing or damaged.
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

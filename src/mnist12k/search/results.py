"""What a search leaves behind: tables, the two orders of its best trials, the winner."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from ruamel.yaml import YAML

from mnist12k.cnn.history import Epoch
from mnist12k.files import write_csv, write_text
from mnist12k.params import Params, Recipe, read_yaml
from mnist12k.report.markdown import table
from mnist12k.search.finalists import Result
from mnist12k.search.study import Point, ended
from mnist12k.search.trial import ACCURACY, EPOCHS

NULL = "tag:yaml.org,2002:null"
BEST = "best_params.yaml"
TRIAL = ("trial", "state", "validation_loss", "validation_accuracy", "epochs", "seconds")


def write_trials(study: optuna.Study, folder: Path) -> None:
    """Write trials.csv, a row a trial, and epochs.csv, a row an epoch of each."""
    trials = ended(study)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = [[*_row(trial), *(trial.params.get(name) for name in names)] for trial in trials]
    write_csv(folder / "trials.csv", [*TRIAL, *names], rows)
    epochs = (
        [trial.number, *epoch] for trial in trials for epoch in trial.user_attrs.get(EPOCHS, [])
    )
    write_csv(folder / "epochs.csv", ["trial", *Epoch._fields], epochs)


def _row(trial: FrozenTrial) -> Iterator[object]:
    epochs = [Epoch(*epoch) for epoch in trial.user_attrs.get(EPOCHS, [])]
    yield trial.number
    yield trial.state.name.lower()
    yield trial.value
    yield trial.user_attrs.get(ACCURACY)
    yield len(epochs)
    yield round(sum(epoch.seconds for epoch in epochs), 3)


def write_finalists(found: Sequence[Result], folder: Path) -> None:
    """Write finalists.csv, a row a training, and ranking.md with both orders side by side."""
    rows = [
        (_name(result), seed, result.losses[seed], result.accuracies[seed])
        for result in found
        for seed in sorted(result.losses)
    ]
    write_csv(
        folder / "finalists.csv", ["trial", "seed", "validation_loss", "validation_accuracy"], rows
    )


def ranking(study: optuna.Study, found: Sequence[Result], params: Params) -> str:
    """Return, in Markdown, the finalists in the order of their fresh seeds, beside the search's."""
    trials = {trial.number: trial for trial in ended(study)}
    in_search = [r.finalist.trial for r in found if r.finalist.trial is not None]
    in_search.sort(key=lambda number: trials[number].value or 0)
    rows = [
        [
            str(place),
            _name(result),
            f"{result.mean_loss:.5f}",
            f"{result.mean_accuracy:.3%}",
            *_in_search(result.finalist.trial, in_search, trials),
        ]
        for place, result in enumerate(found, start=1)
    ]
    header = ["place", "trial", "mean loss", "mean accuracy", "place in the search", "loss there"]
    size = params.train.validation_size
    return (
        "# Who won\n\n"
        f"The best trials and the recipe that they started from, `{params.tune.recipe}`, trained "
        f"again\nfrom {params.tune.finalist_seeds} fresh seeds. All figures are of the {size:,} "
        "held-out images; the test images stayed closed.\nThe left order decides; the right one "
        f"is the search's, and partly luck.\n\n{table(header, rows)}\n"
    )


def _in_search(
    number: int | None, order: Sequence[int], trials: Mapping[int, FrozenTrial]
) -> tuple[str, str]:
    """Return a finalist's place and loss in the search, where the recipe itself had none."""
    if number is None:
        return "", ""
    return str(order.index(number) + 1), f"{trials[number].value:.5f}"


def winner(params: Params, point: Point) -> Point:
    """Return the winner's keys of the section `train`: recipe, seed, and what was found."""
    return {"recipe": params.tune.recipe, "seed": params.tune.seed, **point}


def write_best(chosen: Point, folder: Path) -> None:
    """Write best_params.yaml: the winner as params.yaml has it."""
    text = StringIO()
    YAML().dump({"train": chosen}, text)
    write_text(folder / BEST, text.getvalue())


def command(chosen: Point) -> str:
    """Return the line that trains the winner: on one thread, as the trial was, to the same bits."""
    given = " ".join(f"-S {shlex.quote(f'train.{key}={value}')}" for key, value in chosen.items())
    return f"OMP_NUM_THREADS=1 dvc exp run {given}"


def apply_best(folder: Path, path: Path) -> None:
    """Write best_params.yaml into the section `train` of params.yaml, whose comments stay.

    What the recipe is to decide becomes null.
    """
    chosen = read_yaml(folder / BEST)["train"]
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar(NULL, "null")
    )
    content = yaml.load(path.read_text(encoding="utf-8"))
    section = content["train"]
    for name in ("recipe", "seed", *Recipe.model_fields):
        if name in section or name in chosen:
            section[name] = chosen.get(name)
    text = StringIO()
    yaml.dump(content, text)
    write_text(path, text.getvalue())


def _name(result: Result) -> str:
    number = result.finalist.trial
    return "start" if number is None else str(number)

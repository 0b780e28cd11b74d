"""What the stages write under reports/: its types, and how it is read back and checked."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from mnist12k.files import damaged, read_json, read_table
from mnist12k.paths import (
    BACKPROP_REPORTS,
    EVALUATE_REPORTS,
    SEEDS_REPORTS,
    TRAIN_REPORTS,
    TUNE_REPORTS,
)

if TYPE_CHECKING:
    from pandas import DataFrame

# A metrics.json is what `dvc exp show` has columns for: what one compares, and nothing else.
TRAIN_METRICS = TRAIN_REPORTS / "metrics.json"
TRAIN_RESULT = TRAIN_REPORTS / "result.json"
HISTORY = TRAIN_REPORTS / "history.csv"
EVALUATE_METRICS = EVALUATE_REPORTS / "metrics.json"
EVALUATE_RESULT = EVALUATE_REPORTS / "result.json"
PREDICTIONS = EVALUATE_REPORTS / "predictions.csv"
BACKPROP_METRICS = BACKPROP_REPORTS / "metrics.json"
LOSSES = BACKPROP_REPORTS / "losses.csv"
HILL = BACKPROP_REPORTS / "hill.csv"
SEEDS_METRICS = SEEDS_REPORTS / "metrics.json"
RESULTS = SEEDS_REPORTS / "results.csv"
TUNE_METRICS = TUNE_REPORTS / "metrics.json"
TRIALS = TUNE_REPORTS / "trials.csv"
TRIAL_EPOCHS = TUNE_REPORTS / "epochs.csv"
FINALISTS = TUNE_REPORTS / "finalists.csv"

EPOCH_COLUMNS = {  # of cnn.history.Epoch, whose import would tie the backprop study to cnn
    "epoch": int,
    "learning_rate": float,
    "train_loss": float,
    "train_accuracy": float,
    "validation_loss": float,
    "validation_accuracy": float,
    "seconds": float,
}
TRIAL_COLUMNS = {  # before the parameters
    "trial": int,
    "state": str,
    "validation_loss": float,
    "validation_accuracy": float,
    "epochs": int,
    "seconds": float,
}
VALIDATION = ("validation_loss", "validation_accuracy")  # empty without a hold-out set


class Record(BaseModel):
    """The content of a result.json or metrics.json."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class TrainResult(Record):
    """A training: the last epoch's figures, and what identifies it."""

    epochs: int = Field(ge=1)
    train_loss: float
    train_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    best_validation_accuracy: float | None = None
    best_validation_epoch: int | None = None
    seconds: float
    parameters: int
    device: str
    started: float  # seconds since 1970
    fingerprint: str


class EvaluateResult(Record):
    """The test result of one model; the interval is Wilson's, 95 %."""

    test_loss: float
    test_accuracy: float
    test_correct: int = Field(ge=0)
    test_total: int = Field(ge=1)
    test_accuracy_low: float
    test_accuracy_high: float
    model_md5: str


class LargestDeviation(Record):
    """See backprop.proof.Deviation; over all networks and learning rates."""

    gradient_autograd: float
    gradient_central: float
    curve_absolute: float
    curve_relative: float


class HillEdges(Record):
    """See backprop.hill.Hill."""

    first_step_edge: float | None = None
    fastest: float | None = None
    fastest_from: float | None = None
    fastest_to: float | None = None
    fastest_updates: int | None = None
    largest_never_rising: float | None = None
    saturation: float | None = None
    stable_below: float | None = None


class BackpropMetrics(Record):
    """The study's losses, by learning rate, its largest deviations, and the hill's edges."""

    loss_before: float
    loss_after: dict[str, float]
    largest_deviation: LargestDeviation
    hill: HillEdges


class Difference(Record):
    """To the first network by the same recipe: the mean over equal seeds, its 95 % interval."""

    seeds: int = Field(ge=2)
    mean: float
    low: float
    high: float


class SeedsSummary(Record):
    """One network's trainings by one recipe: the mean test accuracy, its 95 % interval (t)."""

    trainings: int = Field(ge=2)
    epochs: int
    training_images: int
    parameters: int
    multiply_adds: int  # of one image
    test_accuracy_mean: float
    test_accuracy_sd: float
    test_accuracy_mean_low: float
    test_accuracy_mean_high: float
    test_accuracy_lowest: float
    test_accuracy_highest: float
    seconds_mean: float
    difference: Difference | None = None


SeedsSummaries = dict[str, dict[str, SeedsSummary]]  # by network, then by recipe


class TuneMetrics(Record):
    """A finished search: its cost, its challenger, and the verdict on it.

    Losses and accuracies are means over the verdict's seeds, which chose nothing; the difference is
    the challenger's loss minus the recipe's, with its 95 % interval. None: a training diverged.
    """

    study: str
    search: str  # which search of this study's inputs
    fingerprint: str
    trials: int
    pruned: int
    epochs: int
    trainings_of_finalists: int
    epochs_of_finalists: int
    start_recipe: str
    challenger_trial: int
    verdict: Literal["better", "worse", "no difference shown"]
    verdict_seeds: int
    difference_mean: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    challenger_validation_loss_mean: float | None = None
    challenger_validation_accuracy_mean: float | None = None
    start_validation_loss_mean: float | None = None
    start_validation_accuracy_mean: float | None = None

    def summary(self) -> str:
        """Return the verdict in one sentence."""
        compared = f"trial {self.challenger_trial} against the recipe {self.start_recipe}"
        if self.difference_mean is None:
            return f"{compared}: {self.verdict}, since trainings of one of them diverged"
        return (
            f"{compared}, from {self.verdict_seeds} fresh seeds: mean validation loss "
            f"{self.challenger_validation_loss_mean:.5f} against "
            f"{self.start_validation_loss_mean:.5f}, difference {self.difference_mean:+.5f} "
            f"({self.difference_low:+.5f} to {self.difference_high:+.5f}): {self.verdict}"
        )


def read_history(trained: TrainResult | None = None) -> "DataFrame":
    """Return the training's epochs, one row each.

    Raises UserError if there are others than the result of a finished training says.
    """
    history = read_table(HISTORY, EPOCH_COLUMNS, optional=VALIDATION)
    if trained and history["epoch"].tolist() != list(range(1, trained.epochs + 1)):
        raise damaged(HISTORY, f"it should have the epochs 1 to {trained.epochs}")
    return history


def read_predictions(evaluated: EvaluateResult, classes: int) -> "DataFrame":
    """Return one row per test image: index, label, prediction, and the latter's probability.

    Labels and predictions are below the number of classes.
    """
    columns = {"index": int, "label": int, "prediction": int, "probability": float}
    predictions = read_table(PREDICTIONS, columns)
    labels = predictions[["label", "prediction"]]
    if (
        not labels.isin(range(classes)).all(axis=None)
        or not predictions["probability"].between(0, 1).all()
    ):
        raise damaged(PREDICTIONS, "a label, prediction or probability is out of range")
    correct = int((predictions["label"] == predictions["prediction"]).sum())
    if (len(predictions), correct) != (evaluated.test_total, evaluated.test_correct):
        raise damaged(PREDICTIONS, f"its rows do not agree with {EVALUATE_RESULT}")
    return predictions


def read_losses() -> "DataFrame":
    """Return the study's loss curves: learning_rate, iteration, loss."""
    return read_table(LOSSES, {"learning_rate": float, "iteration": int, "loss": float})


def read_hill() -> "DataFrame":
    """Return the sweep over learning rates, one row each; updates_needed may be empty."""
    names = ("learning_rate", "loss_after_1", "loss_after_study", "updates_needed")
    return read_table(HILL, dict.fromkeys(names, float), optional=("updates_needed",))


def read_results() -> "DataFrame":
    """Return one row per training of the seeds study."""
    columns = {
        "network": str,
        "recipe": str,
        "seed": int,
        "epochs": int,
        "validation_accuracy": float,
        "test_accuracy": float,
        "seconds": float,
    }
    return read_table(RESULTS, columns, optional=VALIDATION)


def read_trials(metrics: TuneMetrics | None = None) -> "DataFrame":
    """Return one row per trial of the search; further columns are its parameters.

    Raises UserError if there are fewer than a finished search's `metrics` say.
    """
    trials = read_table(TRIALS, TRIAL_COLUMNS, optional=VALIDATION)
    if not trials["state"].isin(["complete", "pruned"]).all():
        raise damaged(TRIALS, "a state is neither complete nor pruned")
    if metrics is not None and len(trials) < metrics.trials:
        raise damaged(TRIALS, f"it should have {metrics.trials} trials")
    return trials


def read_trial_epochs() -> "DataFrame":
    """Return one row per epoch of every trial."""
    return read_table(TRIAL_EPOCHS, {"trial": int, **EPOCH_COLUMNS}, optional=VALIDATION)


def read_finalists() -> "DataFrame":
    """Return one row per training of a finalist; `trial` is `start` for the recipe itself.

    `round` is `race` or `verdict`; loss and accuracy are empty if the training diverged.
    """
    columns = {"trial": str, "seed": int, "round": str, **dict.fromkeys(VALIDATION, float)}
    finalists = read_table(FINALISTS, columns, optional=VALIDATION)
    if not finalists["round"].isin(["race", "verdict"]).all():
        raise damaged(FINALISTS, "a round is neither race nor verdict")
    return finalists


def read_train_result() -> TrainResult:
    """Return the figures of the training in the workspace."""
    return read_json(TRAIN_RESULT, TrainResult)


def read_evaluate_result() -> EvaluateResult:
    """Return the test result in the workspace."""
    return read_json(EVALUATE_RESULT, EvaluateResult)

"""The model card: what the network is, its results, and its limits."""

from collections.abc import Sequence
from textwrap import fill

from scipy.stats import binomtest

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_test_digits
from mnist12k.errors import UserError
from mnist12k.export.robustness import Condition, NoDigit, measure_digits, measure_no_digits
from mnist12k.files import write_text
from mnist12k.fingerprint import file_md5
from mnist12k.outputs import (
    EVALUATE_METRICS,
    EvaluateMetrics,
    TrainMetrics,
    read_evaluate_metrics,
    read_train_metrics,
)
from mnist12k.paths import DATA, MODEL, MODEL_CARD
from mnist12k.report.markdown import table


def write_model_card(settings: Train, device: str) -> None:
    """Evaluate models/cnn.pt on changed test images, and write its card; half a minute on a core.

    Raises UserError if the metrics are missing, damaged, or another model's.
    """
    training, evaluation = read_train_metrics(), read_evaluate_metrics()
    place = pick_device(device, "evaluate.device")
    network = load_network(MODEL, place)
    if evaluation.model_md5 != file_md5(MODEL):
        raise UserError(
            f"{EVALUATE_METRICS} is of another model than {MODEL}; `dvc repro evaluate`"
        )
    digits = load_test_digits(DATA).to(place)
    conditions = measure_digits(network, digits)
    no_digits = measure_no_digits(network, place, len(digits.labels))
    write_text(MODEL_CARD, model_card(settings, training, evaluation, conditions, no_digits))


def model_card(
    settings: Train,
    training: TrainMetrics,
    evaluation: EvaluateMetrics,
    conditions: Sequence[Condition],
    no_digits: Sequence[NoDigit],
) -> str:
    """Return the card as Markdown."""
    return "\n".join(
        [
            _description(training),
            _data_and_protocol(settings, training, evaluation),
            _result(training, evaluation),
            _limits(conditions, no_digits),
            LICENCES,
        ]
    )


def _description(training: TrainMetrics) -> str:
    return f"""# Model card: mnist12k-cnn

A convolutional network that classifies handwritten digits: seven 3x3 convolutions, the first six
followed by batch normalisation and ReLU, {training.parameters:,} parameters. It takes grey images
of 28x28 pixels, light ink on a dark background, and returns ten logits; their softmax is the
probabilities.

Made for learning and teaching, and as a small example of a tracked project. It was not made to
read forms, cheques or postal codes, and was not evaluated on them.

`mnist12k predict FILE...` prepares a scan or a photo of one digit as MNIST's images were: it finds
the ink, scales its bounding box into 20x20 pixels, and centres it by its mass. Without this
preparation, expect the accuracies under Limits.
"""


def _data_and_protocol(settings: Train, training: TrainMetrics, evaluation: EvaluateMetrics) -> str:
    choices = {
        "recipe": settings.recipe,
        "epochs": settings.epochs,
        "batch size": settings.batch_size,
        "highest learning rate": f"{settings.learning_rate:g}, schedule {settings.schedule}",
        "momentum": f"{settings.momentum:g}{', Nesterov' if settings.nesterov else ''}",
        "weight decay": f"{settings.weight_decay:g}",
        "dropout": settings.dropout,
        "label smoothing": f"{settings.label_smoothing:g}",
        "moving average of the weights": f"decay {settings.ema_decay:g}",
        "augmentation": f"rotation ± {settings.rotation:g}°, shear ± {settings.shear:g}°, "
        f"shift ± {settings.shift:.1%} of the side, scale ± {settings.scale:.1%}",
        "seed": settings.seed,
        "device": training.device,
    }
    hold_out = (
        f"{settings.validation_size:,} of the 60,000 training images were held out for validation "
        "and evaluated after every epoch."
        if settings.validation_size
        else "All 60,000 training images were trained on, without a hold-out set."
    )
    text = (
        "MNIST (LeCun, Cortes and Burges): 70,000 digits by about 500 American census employees "
        f"and high-school students, scaled and centred, collected before 1995. {hold_out} The "
        f"{evaluation.test_total:,} test images were used after it for the results below, and "
        "influenced no choice of this training. Earlier choices of the recipes did see them; the "
        "project's documentation says which."
    )
    rows = ((name, str(value)) for name, value in choices.items())
    return f"""## Data and protocol

{fill(text, 100)}

{table(["", ""], rows)}"""


def _result(training: TrainMetrics, evaluation: EvaluateMetrics) -> str:
    interval = f"{evaluation.test_accuracy_low:.2%} to {evaluation.test_accuracy_high:.2%}"
    rows = [
        ("test accuracy", f"{evaluation.test_accuracy:.2%}", interval),
        ("test errors", str(evaluation.test_total - evaluation.test_correct), ""),
        ("test loss (mean negative log-likelihood)", f"{evaluation.test_loss:.4f}", ""),
    ]
    if training.validation_accuracy is not None:
        accuracy = f"{training.validation_accuracy:.2%}"
        rows.append(("validation accuracy after the last epoch", accuracy, ""))
    return f"""## Result

{table(["", "", "95 % interval (Wilson)"], rows)}
One training from one seed: the interval covers the choice of test images, not of the seed.
"""


def _limits(conditions: Sequence[Condition], no_digits: Sequence[NoDigit]) -> str:
    changes = []
    for change, correct, total, confidence in conditions:
        interval = binomtest(correct, total).proportion_ci(method="wilson")
        percent = f"{interval.low:.2%} to {interval.high:.2%}"
        changes.append((change, f"{correct / total:.2%}", percent, f"{confidence:.1%}"))
    others = (
        (
            kind.images,
            f"{kind.total:,}",
            str(kind.digit),
            f"{kind.confidence:.1%}",
            f"{kind.confident:.1%}",
        )
        for kind in no_digits
    )
    change_head = ["change", "accuracy", "95 % interval", "mean highest probability"]
    other_head = ["no digit", "images", "mostly", "mean highest probability", "above 90 %"]
    return f"""## Limits

The test images under changes, without preparing them again. Shifts go in four directions in turn,
rotations either way; noise is in fractions of the range from black to white.

{table(change_head, changes)}
**Every image gets a digit.** There is no eleventh class, and a high probability does not prove that
the image shows a digit: letters, scribbles and noise can get one too.

{table(other_head, others)}
One digit per image. Digits written differently than in the United States of the 1990s (a 1 with a
long upstroke, a crossed 7) are rare in the data.
"""


LICENCES = """## Licences

Code and weights: MIT. MNIST: Yann LeCun and Corinna Cortes hold the copyright of the data set, a
derivative of NIST's special databases 1 and 3; it is commonly distributed under Creative Commons
Attribution-ShareAlike 3.0. The images are not part of this repository.
"""

"""The model card: what the network is, what was measured, and what it cannot do."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.intervals import wilson_interval
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.robustness import Condition, NoDigit, measure_digits, measure_no_digits
from mnist12k.digits.dataset import load_test_digits
from mnist12k.errors import UserError
from mnist12k.files import write_text
from mnist12k.fingerprint import file_md5
from mnist12k.params import Params, Train
from mnist12k.report.markdown import table

DATA = Path("data/mnist")
MODEL = Path("models/cnn.pt")
TRAINING = Path("reports/train/metrics.json")
EVALUATION = Path("reports/evaluate/metrics.json")
CARD = Path("reports/model_card.md")


def write_model_card(params: Params, path: Path = CARD) -> None:
    """Measure models/cnn.pt on changed test images, and write its card; half a minute on a core.

    Raises UserError if the figures in reports are absent or another model's.
    """
    training, evaluation = _figures(TRAINING), _figures(EVALUATION)
    device = pick_device(params.evaluate.device)
    network = load_network(MODEL, device)
    if evaluation.get("model_md5") != file_md5(MODEL):
        raise UserError(f"{EVALUATION} is of another model than {MODEL}; `dvc repro evaluate`")
    digits = load_test_digits(DATA).to(device)
    conditions = measure_digits(network, digits)
    no_digits = measure_no_digits(network, device, len(digits.labels))
    write_text(path, model_card(params.train, training, evaluation, conditions, no_digits))


def model_card(
    settings: Train,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    conditions: Sequence[Condition],
    no_digits: Sequence[NoDigit],
) -> str:
    """Return the card as Markdown, from a training's parameters and what was measured."""
    return "\n".join(
        [
            _what(training),
            _data_and_protocol(settings, training, evaluation),
            _result(training, evaluation),
            _limits(conditions, no_digits),
            _licences(),
        ]
    )


def _what(training: Mapping[str, Any]) -> str:
    parameters = f"{training['parameters']:,}"
    return f"""# Model card: mnist12k-cnn

A convolutional network that tells the ten handwritten digits apart: seven 3x3 convolutions, the
first six followed by batch normalisation and ReLU, {parameters} parameters. It takes grey images of
28x28 pixels, light ink on a dark ground, and gives ten logits; softmax makes them probabilities.

Made to learn and to teach with, and as a small example of a tracked project. It was not made to
read forms, cheques or postal codes, and nothing here says how well it would.

`mnist12k predict FILE...` prepares a scan or a photo of one digit as MNIST's images were: ink found
and made light, its bounding box scaled into 20x20 pixels, its centre of mass put into the middle.
Without that, expect what the tables under Limits show.
"""


def _data_and_protocol(
    settings: Train, training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> str:
    choices = {
        "recipe": settings.recipe,
        "epochs": settings.epochs,
        "batch size": settings.batch_size,
        "highest learning rate": f"{settings.learning_rate:g}, schedule {settings.schedule}",
        "momentum": f"{settings.momentum:g}{', Nesterov' if settings.nesterov else ''}",
        "weight decay": f"{settings.weight_decay:g}",
        "dropout": settings.dropout,
        "label smoothing": f"{settings.label_smoothing:g}",
        "average of the weights, decay": f"{settings.average:g}",
        "augmentation": f"rotation {settings.rotation:g}° and shear {settings.shear:g}° either "
        f"way, shift {settings.shift:.1%} of the side, scale ± {settings.scale:.1%}",
        "seed": settings.seed,
        "device": training["device"],
    }
    held_out = (
        f"{settings.validation_size:,} of the 60,000 training images were held out, and looked at "
        "after every epoch."
        if settings.validation_size
        else "All 60,000 training images were trained on; none were held out."
    )
    rows = ((name, str(value)) for name, value in choices.items())
    text = (
        "MNIST (LeCun, Cortes and Burges): 70,000 digits by some 500 American census employees and "
        f"high-school students, scaled and centred, collected before 1995. {held_out} Nothing in "
        f"this training was chosen by the {evaluation['test_total']:,} test images; they were "
        "opened after it, for the figures below. The recipes' own past is less clean: the README "
        "tells it."
    )
    return f"""## Data and protocol

{fill(text, 100)}

{table(["", ""], rows)}"""


def _result(training: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    interval = f"{evaluation['test_accuracy_low']:.2%} to {evaluation['test_accuracy_high']:.2%}"
    rows = [
        ("accuracy, test images", f"{evaluation['test_accuracy']:.2%}", interval),
        ("wrong", str(evaluation["test_total"] - evaluation["test_correct"]), ""),
        ("mean negative log-likelihood, test images", f"{evaluation['test_loss']:.4f}", ""),
    ]
    if "validation_accuracy" in training:
        share = f"{training['validation_accuracy']:.2%}"
        rows.append(("accuracy, held-out images, last epoch", share, ""))
    return f"""## Result

{table(["", "", "95 % interval (Wilson)"], rows)}
One training from one seed: the interval is about the images, not about other seeds.
"""


def _limits(conditions: Sequence[Condition], no_digits: Sequence[NoDigit]) -> str:
    changed = []
    for change, correct, total, confidence in conditions:
        low, high = wilson_interval(correct, total)
        interval = f"{low:.2%} to {high:.2%}"
        changed.append((change, f"{correct / total:.2%}", interval, f"{confidence:.1%}"))
    without = (
        (
            kind.images,
            f"{kind.total:,}",
            str(kind.digit),
            f"{kind.confidence:.1%}",
            f"{kind.sure:.1%}",
        )
        for kind in no_digits
    )
    head = ["change", "accuracy", "95 % interval", "mean probability of the answer"]
    other = ["no digit", "images", "mostly", "mean probability of the answer", "share above 90 %"]
    return f"""## Limits

The test images, changed, without preparing them anew. Shifts go in four directions in turn,
rotations either way; noise is in units of the range from black to white.

{table(head, changed)}
**What is not a digit gets a digit all the same.** There is no eleventh answer, and a high
probability is no proof that there is a digit: a letter, a scribble or noise may get one too.

{table(other, without)}
One digit an image, no more. Digits written in other ways than in the United States of the 1990s
(a 1 with a long upstroke, a crossed 7) are rare in the data.
"""


def _licences() -> str:
    return """## Licences

Code and weights: MIT. MNIST: Yann LeCun and Corinna Cortes hold the copyright of the data set, a
derivative of NIST's special databases 1 and 3; it is commonly given out under Creative Commons
Attribution-ShareAlike 3.0. The images are not part of this repository.
"""


def _figures(path: Path) -> dict[str, Any]:
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; `dvc repro` makes it") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged; `dvc repro -f {path.parent.name}`") from error
    return figures

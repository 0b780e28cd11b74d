"""Evaluate the trained CNN on the test images, and draw what the training led to."""

import pandas as pd
import torch.nn.functional as F
from scipy.stats import binomtest

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.evaluate import predict, score
from mnist12k.cnn.model_file import load_network
from mnist12k.digits.dataset import load_test_digits
from mnist12k.files import all_or_none, write_json, write_table, write_text
from mnist12k.fingerprint import file_md5
from mnist12k.outputs import (
    EVALUATE_METRICS,
    EVALUATE_RESULT,
    PREDICTIONS,
    EvaluateResult,
    read_history,
    read_train_result,
)
from mnist12k.paths import DATA, EVALUATE_REPORTS, MODEL, TRAIN_REPORTS
from mnist12k.report.figures.confusion import confusion_matrix, draw_confusion, draw_mistakes
from mnist12k.report.figures.curves import draw_curves
from mnist12k.report.figures.model_summary import summarise
from mnist12k.stages.settings import Evaluate


@all_or_none()
def run(settings: Evaluate) -> None:
    """Predict every test image; write results, predictions, figures and the layer table.

    In `dvc repro` this is the only stage in which the test images are scored.
    """
    device = pick_device(settings.device, "evaluate.device")
    network = load_network(MODEL, device)
    history = read_history(read_train_result())
    digits = load_test_digits(DATA, network.architecture).to(device)
    logits = predict(network, digits.images, settings.batch_size)
    loss = score(logits, digits.labels).loss

    highest = F.softmax(logits, dim=1).max(dim=1)
    predictions = pd.DataFrame(
        {
            "index": range(len(digits.labels)),
            "label": digits.labels.cpu(),
            "prediction": highest.indices.cpu(),
            "probability": highest.values.double().cpu(),
        }
    )
    classes = network.architecture.classes
    matrix = confusion_matrix(predictions, classes)
    total, correct = len(predictions), int(matrix.to_numpy().trace())
    interval = binomtest(correct, total).proportion_ci(method="wilson")

    write_table(PREDICTIONS, predictions)
    write_table(EVALUATE_REPORTS / "classes.csv", per_class(matrix))
    draw_confusion(matrix, EVALUATE_REPORTS / "confusion_matrix.png")
    draw_mistakes(digits.images.cpu(), predictions, classes, EVALUATE_REPORTS / "mistakes.png")
    draw_curves(history, EVALUATE_REPORTS / "curves.png")
    write_text(TRAIN_REPORTS / "model_summary.txt", summarise(network))
    write_json(EVALUATE_METRICS, {"test_accuracy": correct / total})
    # Last: it vouches for the other files.
    write_json(
        EVALUATE_RESULT,
        EvaluateResult(
            test_loss=loss,
            test_accuracy=correct / total,
            test_correct=correct,
            test_total=total,
            test_accuracy_low=float(interval.low),
            test_accuracy_high=float(interval.high),
            model_md5=file_md5(MODEL),
        ),
    )
    # The closing line of PyTorch's MNIST example, and of the write-up.
    print(
        f"Test set: Average loss: {loss:.4f}, Accuracy: {correct}/{total} ({correct / total:.2%}); "
        f"95 % interval {interval.low:.2%} to {interval.high:.2%}"
    )


def per_class(matrix: pd.DataFrame) -> pd.DataFrame:
    """Return each class's number of images, precision and recall."""
    correct = pd.Series(matrix.to_numpy().diagonal(), index=matrix.index)
    classes = {
        "class": matrix.index,
        "images": matrix.sum(axis=1),
        "precision": correct / matrix.sum(axis=0),
        "recall": correct / matrix.sum(axis=1),
    }
    return pd.DataFrame(classes)

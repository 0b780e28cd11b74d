"""Measure the trained CNN on the test images: the only stage that opens them."""

from pathlib import Path

import torch.nn.functional as F

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.evaluate import predict, score
from mnist12k.cnn.intervals import wilson_interval
from mnist12k.cnn.model_file import load_network
from mnist12k.digits.dataset import load_test_digits
from mnist12k.files import write_csv, write_json
from mnist12k.fingerprint import file_md5
from mnist12k.params import Params
from mnist12k.report.confusion import confusion_matrix, draw_confusion, draw_mistakes

DATA = Path("data/mnist")
MODEL = Path("models/cnn.pt")
REPORTS = Path("reports/evaluate")


def run(params: Params) -> None:
    """Predict every test image; write the figures, the predictions and two pictures."""
    device = pick_device(params.evaluate.device)
    network = load_network(MODEL, device)
    digits = load_test_digits(DATA).to(device)
    logits = predict(network, digits.images, params.evaluate.batch_size)
    loss = score(logits, digits.labels).loss

    probabilities, predictions = (column.cpu() for column in F.softmax(logits, dim=1).max(dim=1))
    images, labels = digits.images.cpu(), digits.labels.cpu()
    total = len(labels)
    correct = int((predictions == labels).sum())
    low, high = wilson_interval(correct, total)
    matrix = confusion_matrix(labels, predictions)

    write_csv(
        REPORTS / "predictions.csv",
        ["index", "label", "prediction", "probability"],
        zip(
            range(total), labels.tolist(), predictions.tolist(), probabilities.tolist(), strict=True
        ),
    )
    write_json(
        REPORTS / "metrics.json",
        {
            "test_loss": loss,
            "test_accuracy": correct / total,
            "test_correct": correct,
            "test_total": total,
            "test_accuracy_low": low,
            "test_accuracy_high": high,
            "model_md5": file_md5(MODEL),
        },
    )
    right = matrix.diagonal()
    write_csv(
        REPORTS / "classes.csv",
        ["digit", "images", "precision", "recall"],
        (
            (digit, int(actual), precision, recall)
            for digit, actual, precision, recall in zip(
                range(10),
                matrix.sum(dim=1),
                (right / matrix.sum(dim=0)).tolist(),
                (right / matrix.sum(dim=1)).tolist(),
                strict=True,
            )
        ),
    )
    draw_confusion(matrix, REPORTS / "confusion_matrix.png")
    draw_mistakes(images, labels, predictions, probabilities, REPORTS / "mistakes.png")
    print(
        f"Test set: Average loss: {loss:.4f}, Accuracy: {correct}/{total} ({correct / total:.2%}); "
        f"95 % interval {low:.2%} to {high:.2%}"
    )

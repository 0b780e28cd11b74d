import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from networks import REFERENCE
from sklearn.metrics import precision_recall_fscore_support
from workspace import inside

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_test_digits
from mnist12k.errors import UserError
from mnist12k.outputs import EVALUATE_RESULT, PREDICTIONS
from mnist12k.params import load_params
from mnist12k.paths import DATA, EVALUATE_REPORTS, MODEL, TRAIN_REPORTS
from mnist12k.stages import evaluate


@pytest.fixture
def evaluated(trained_template: Path) -> Iterator[None]:
    """The current folder has a small training and its evaluation, which no test changes."""
    with inside(trained_template):
        yield


@pytest.mark.usefixtures("evaluated")
def test_precision_and_recall_are_scikit_learns() -> None:
    predictions = pd.read_csv(PREDICTIONS)
    precision, recall, _, count = precision_recall_fscore_support(
        predictions["label"],
        predictions["prediction"],
        labels=range(10),
        zero_division=float("nan"),
    )
    classes = pd.read_csv(EVALUATE_REPORTS / "classes.csv")
    assert classes["class"].tolist() == list(range(10))
    assert classes["images"].tolist() == count.tolist()
    assert classes["recall"].tolist() == pytest.approx(recall.tolist(), rel=1e-6)
    assert classes["precision"].tolist() == pytest.approx(precision.tolist(), rel=1e-6, nan_ok=True)


@pytest.mark.usefixtures("evaluated")
def test_the_metrics_are_those_of_the_model_in_the_file() -> None:
    digits = load_test_digits(DATA, REFERENCE)
    with torch.no_grad():
        logits = load_network(MODEL, torch.device("cpu"))(to_unit_range(digits.images))
    metrics = json.loads(EVALUATE_RESULT.read_text(encoding="utf-8"))
    loss = torch.nn.NLLLoss()(logits.log_softmax(dim=1), digits.labels)
    assert metrics["test_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["test_correct"] == int((logits.argmax(dim=1) == digits.labels).sum())


@pytest.mark.usefixtures("evaluated")
def test_it_writes_figures_and_the_layer_table_of_the_training() -> None:
    figures = {path.name for path in EVALUATE_REPORTS.glob("*.png")}
    assert figures == {"confusion_matrix.png", "curves.png", "mistakes.png"}
    committed = Path(__file__).parents[2] / TRAIN_REPORTS / "model_summary.txt"
    assert (TRAIN_REPORTS / "model_summary.txt").read_bytes() == committed.read_bytes()


def test_the_closing_line_is_the_write_ups(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.run(load_params(workspace / "params.yaml").evaluate)
    metrics = json.loads(EVALUATE_RESULT.read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert printed.startswith(f"Test set: Average loss: {metrics['test_loss']:.4f}, Accuracy: ")
    assert f"{metrics['test_correct']}/1000 ({metrics['test_accuracy']:.2%})" in printed


def test_a_foreign_model_is_refused_and_the_reports_stay(workspace: Path) -> None:
    before = EVALUATE_RESULT.read_bytes()
    torch.save(torch.nn.Linear(2, 2).state_dict(), MODEL)
    with pytest.raises(UserError, match="does not hold a network's weights"):
        evaluate.run(load_params(workspace / "params.yaml").evaluate)
    assert EVALUATE_RESULT.read_bytes() == before

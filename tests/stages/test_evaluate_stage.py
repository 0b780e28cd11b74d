import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_test_digits
from mnist12k.errors import UserError
from mnist12k.params import load_params
from mnist12k.stages import evaluate


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, idx_folder: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("workspace")
    make_workspace(folder, idx_folder)
    with inside(folder):
        train_and_evaluate()
        yield folder


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_precision_and_recall_are_scikit_learns(workspace: Path) -> None:
    predictions = rows("reports/evaluate/predictions.csv")
    labels = [int(row["label"]) for row in predictions]
    predicted = [int(row["prediction"]) for row in predictions]
    precision, recall, _, count = precision_recall_fscore_support(
        labels, predicted, labels=range(10), zero_division=float("nan")
    )
    for row in rows("reports/evaluate/classes.csv"):
        digit = int(row["digit"])
        assert int(row["images"]) == count[digit]
        assert float(row["recall"]) == pytest.approx(recall[digit], rel=1e-6)
        assert float(row["precision"]) == pytest.approx(precision[digit], rel=1e-6, nan_ok=True)
    assert workspace == Path.cwd()


def test_the_figures_are_those_of_the_model_in_the_file(workspace: Path) -> None:
    digits = load_test_digits(workspace / "data/mnist")
    with torch.no_grad():
        logits = load_network(Path("models/cnn.pt"), torch.device("cpu"))(
            to_unit_range(digits.images)
        )
    figures = json.loads(Path("reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    loss = torch.nn.NLLLoss()(logits.log_softmax(dim=1), digits.labels)
    assert figures["test_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert figures["test_correct"] == int((logits.argmax(dim=1) == digits.labels).sum())


def test_the_closing_line_is_the_write_ups(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.run(load_params(workspace / "params.yaml"))
    figures = json.loads(Path("reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    told = capsys.readouterr().out
    assert told.startswith(f"Test set: Average loss: {figures['test_loss']:.4f}, Accuracy: ")
    assert f"{figures['test_correct']}/1000 ({figures['test_accuracy']:.2%})" in told


def test_a_foreign_model_is_refused_and_the_reports_stay(workspace: Path) -> None:
    params = load_params(workspace / "params.yaml")
    before = Path("reports/evaluate/metrics.json").read_bytes()
    model = Path("models/cnn.pt").read_bytes()
    torch.save(torch.nn.Linear(2, 2).state_dict(), "models/cnn.pt")
    with pytest.raises(UserError, match="does not hold this network's weights"):
        evaluate.run(params)
    assert Path("reports/evaluate/metrics.json").read_bytes() == before
    Path("models/cnn.pt").write_bytes(model)

from pathlib import Path

import pytest

from mnist12k.errors import UserError
from mnist12k.params import load_params

PARAMS = (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("right", "wrong", "key", "allowed"),
    [
        ("epochs: 19", "epochs: 0", "train.epochs = 0", "greater than or equal to 1"),
        ("epochs: 19", "epochs: 1e1", "train.epochs = 10.0", "integer"),
        ("dropout: 0.1", "dropout: 1.5", "train.dropout = 1.5", "less than 1"),
        ("learning_rate: 0.01", "learning_rate: -1", "train.learning_rate = -1", "greater than 0"),
        ("learning_rate: 0.01", "learning_rate: '1'", "train.learning_rate = '1'", "number"),
        ("momentum: 0.9", "momentum: .nan", "train.momentum = nan", "finite"),
        ("seed: 1", "seed: true", "train.seed = True", "integer"),
        ("gamma: 0.1", "gama: 0.1", "train.gama = 0.1 is not a known key", "mean gamma?"),
        ("  gamma: 0.1", "", "train.gamma", "missing"),
        ("validation_size: 5000", "validation_size: 60000", "60000", "less than 60000"),
        (", 0.55]", "]", "backprop.weights", "at least 8 items"),
        ("targets: [0.5, 0.5]", "targets: [0.5]", "backprop.targets.1", "missing"),
        ("[0.1, 0.2", "[0.1, 0", "backprop.learning_rates.1 = 0", "greater than 0"),
        ("[0.1, 0.2", "[0.1, fast", "backprop.learning_rates.1 = 'fast'", "number"),
        ("[0.1, 0.2", "[0.1, .nan", "backprop.learning_rates.1 = nan", "finite"),
        ("[0.1, 0.2", "[0.1, .inf", "backprop.learning_rates.1 = inf", "finite"),
        ("[0.1, 0.2", "[0.1, -0.2", "backprop.learning_rates.1 = -0.2", "greater than 0"),
        ("[0.1, 0.2", "[0.1, 0.1", "backprop: learning_rates [0.1, 0.1", "a rate twice"),
        ("targets: [0.5, 0.5]", "targets: [0.5, 2]", "backprop.targets.1 = 2", "equal to 1"),
        ("inputs: [0.05", "inputs: [1e7", "backprop.inputs.0 = 10000000", "equal to 1000000"),
        ("preset: own", "preset: sed", "backprop.preset = 'sed'", "'own', 'seed' or 'mazur'"),
        ("  biases: [0.35", "  bias: [0.35", "presets.mazur.bias", "did you mean biases?"),
        ("2.0]", f"2.0, {', '.join(map(str, range(3, 18)))}]", "learning_rates", "at most 20"),
        ("iterations: 100", "iterations: 0", "backprop.iterations = 0", "equal to 1"),
        ("iterations: 100", "iterations: 10000000", "backprop.iterations", "equal to 10000"),
        ("learning_rate: 0.5", "learning_rate: 0.3", "worksheet_learning_rate", "[0.1, 0.2"),
        ("fetch:", "fetsh:", "fetsh", "did you mean fetch?"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_key_value_and_what_is_allowed(
    tmp_path: Path, right: str, wrong: str, key: str, allowed: str
) -> None:
    assert right in PARAMS
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    explained = [line for line in str(caught.value).splitlines() if key in line]
    assert any(allowed in line for line in explained), caught.value


def test_the_projects_own_params_are_valid() -> None:
    load_params(Path(__file__).parents[1] / "params.yaml")


def test_scientific_notation_without_a_point_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace("learning_rate: 0.01", "learning_rate: 1e-3"), encoding="utf-8")
    assert load_params(path).train.learning_rate == 0.001


def test_a_file_that_is_no_yaml_is_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("fetch: [\ntrain: 1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"params.yaml: line \d+ is not YAML"):
        load_params(path)


def test_an_absent_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_params(tmp_path / "params.yaml")

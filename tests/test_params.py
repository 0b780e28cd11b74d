import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mnist12k.cnn.settings import Recipe
from mnist12k.errors import UserError
from mnist12k.files import read_yaml
from mnist12k.params import Params, load_params

ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("right", "wrong", "key", "allowed"),
    [
        ("epochs: null", "epochs: 0", "train.epochs = 0", "greater than or equal to 1"),
        ("epochs: null", "epochs: 1e1", "train.epochs = 10.0", "integer"),
        ("dropout: null", "dropout: 1.5", "train.dropout = 1.5", "less than 1"),
        (
            "threads: auto",
            "threads: 0",
            "train.threads = 0",
            "'auto' or greater than or equal to 1",
        ),
        ("threads: auto", "threads: four", "train.threads = 'four'", "'auto' or a valid integer"),
        ("threads: auto", "threads: {a: 1}", "train.threads = {'a': 1}", "'auto' or a valid"),
        ("g_rate: null", "g_rate: -1", "train.learning_rate = -1", "greater than 0"),
        ("g_rate: null", "g_rate: '1'", "train.learning_rate = '1'", "number"),
        ("momentum: null", "momentum: .nan", "train.momentum = nan", "finite"),
        ("schedule: null", "schedule: steps", "train.schedule = 'steps'", "'one_cycle'"),
        ("recipe: best", "recipe: bets", "train.recipe = 'bets'", "allowed: reference, fast, best"),
        ("  recipe: best", "", "train.recipe = None", "allowed: reference, fast, best"),
        ("dropout: 0.1", "dropout: 1.5", "recipes.reference.dropout = 1.5", "less than 1"),
        ("ema_decay: 0.998", "ema_decay: 1", "recipes.best.ema_decay = 1", "less than 1"),
        ("gamma: 0.1", "gama: 0.1", "recipes.reference.gama = 0.1 is not a known key", "gamma?"),
        ("    gamma: 0.1", "", "recipes.reference", "schedule step needs gamma"),
        (
            "reference: [fast,",
            "reference: [fats,",
            "seeds.recipes",
            "allowed: reference, fast, best",
        ),
        ("seed: 1", "seed: true", "train.seed = True", "integer"),
        ("gamma: null", "gama: 0.1", "train.gama = 0.1 is not a known key", "mean gamma?"),
        ("validation_size: 5000", "validation_size: 10000000", "10000000", "less than 10000000"),
        (", 0.55]", "]", "backprop.weights", "at least 8 items"),
        ("targets: [0.5, 0.5]", "targets: [0.5]", "backprop.targets.1", "missing"),
        ("[0.1, 0.2", "[0.1, 0", "backprop.learning_rates.1 = 0", "greater than 0"),
        ("[0.1, 0.2", "[0.1, fast", "backprop.learning_rates.1 = 'fast'", "number"),
        ("[0.1, 0.2", "[0.1, .nan", "backprop.learning_rates.1 = nan", "finite"),
        ("[0.1, 0.2", "[0.1, .inf", "backprop.learning_rates.1 = inf", "finite"),
        ("[0.1, 0.2", "[0.1, -0.2", "backprop.learning_rates.1 = -0.2", "greater than 0"),
        ("[0.1, 0.2", "[0.1, 0.1", "backprop: learning_rates [0.1, 0.1", "has a duplicate"),
        ("targets: [0.5, 0.5]", "targets: [0.5, 2]", "backprop.targets.1 = 2", "equal to 1"),
        ("inputs: [0.05", "inputs: [1e7", "backprop.inputs.0 = 10000000", "equal to 1000000"),
        ("preset: own", "preset: sed", "backprop.preset = 'sed'", "'own', 'reference' or 'mazur'"),
        ("  biases: [0.35", "  bias: [0.35", "presets.mazur.bias", "did you mean biases?"),
        ("2.0]", f"2.0, {', '.join(map(str, range(3, 18)))}]", "learning_rates", "at most 20"),
        ("iterations: 100", "iterations: 0", "backprop.iterations = 0", "equal to 1"),
        ("iterations: 100", "iterations: 10000000", "backprop.iterations", "equal to 10000"),
        ("learning_rate: 0.5", "learning_rate: 0.3", "worksheet_learning_rate", "[0.1, 0.2"),
        ("dropout: null", "dropout: [0, 0, 0]", "train: dropout has 3 rates", "has 6 blocks"),
        (
            "dropout: {low: 0, high: 0.1}",
            "dropout: [{low: 0, high: 1e-1}]",
            "tune.space",
            "1 rates",
        ),
        ("dropout: 0.1", "dropout: [0.1, 0.1]", "recipes.reference", "dropout has 2 rates"),
        ("  side: 28", "  side: 0", "fetch.side = 0", "greater than or equal to 1"),
        ("network: reference", "network: vg", "train.network = 'vg'", "allowed: reference"),
        ("network: reference", "architecture: 1", "train.architecture", "see train.network"),
        ("budget: 12442", "budget: 12441", "train: network reference", "budget allows 12,441"),
        ("budget: 12442", "budget: 0", "train.parameter_budget = 0", "equal to 1"),
        ("{channels: 32}", "{chanels: 32}", "networks.reference.blocks.5.chan", "mean channels?"),
        ("{channels: 32}", "{channels: 0}", "networks.reference.blocks.5.channels = 0", "to 1"),
        ("{channels: 32}", "32", "networks.reference.blocks.5 = 32", "valid"),
        ("{kind: convolution}", "{kind: conv}", "networks.reference.head.kind", "'average'"),
        ("{kind: convolution}", "{kind: average, units: 3}", "networks.reference: head", "units"),
        (
            "{kind: convolution}",
            "{kind: convolution, kernel: 5}",
            "reference: head",
            "does not fit",
        ),
        ("{channels: 32}", "{channels: 32, kernel: 7}", "networks.reference: block 6", "not fit"),
        ("{channels: 32}", "{channels: 32, residual: 1}", "networks.reference: block 6", "side 4"),
        (
            "padding: 1, pool",
            "padding: 1, residual: 4, pool",
            "reference: block 3",
            "allowed: 0 to",
        ),
        ("16, padding: 1}", "16, padding: 1, residual: 1}", "reference: block 4", "a projection"),
        ("16, padding: 1}", "16, padding: 1, projection: true}", "reference: block 4", "residual"),
        ("  side: 28", "  side: 8", "networks.reference: block 6", "does not fit"),
        ("  side: 28", "  side: x", "fetch.side = 'x'", "integer"),
        ("[0, 1, 2, 3,", "[0, 0, 2, 3,", "fetch: classes ['0', '0'", "has a duplicate"),
        ("classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", "classes: [0]", "fetch.classes", "2"),
        ("dropout: null", "dropout: [0, 0, 0, 2, 0, 0]", "train.dropout.3 = 2", "less than 1"),
        ("trials: 52", f"trials: {10**400}", "tune.trials = 1000", "less than or equal to 100000"),
        (", 0.55]", ", .nan]", "backprop.weights.7 = nan", "finite"),
        ("dropout: null", "dropout: [0, 0, .nan, 0, 0, 0]", "train.dropout.2 = nan", "finite"),
        ("seed: 1", f"seed: 0o{'7' * 5000}", "train.seed = a number of thousands", "it should be"),
        ("trials: 52", "trials: 0", "tune.trials = 0", "greater than or equal to 1"),
        ("sampler: tpe", "sampler: tpee", "tune.sampler = 'tpee'", "'cma_es'"),
        ("workers: null", "workers: 0", "tune.workers = 0", "greater than or equal to 1"),
        ("storage: journal", "storage: sqlite:///x", "tune.storage = 'sqlite:///x'", "postgresql"),
        ("  recipe: fast", "  recipe: slow", "tune.recipe = 'slow'", "reference, fast, best"),
        ("pruner: none", "pruner: wilcoxon", "tune", "seeds_per_trial must be above 1"),
        (
            "low: 0.05, high: 1.5",
            "low: 2, high: 1.5",
            "tune.space: learning_rate",
            "not below high",
        ),
        ("{low: 0.05, high: 1.5", "{low: 0, high: 1.5", "tune.space: learning_rate", "log: true"),
        (
            "dropout: {low: 0, high: 0.1}",
            "dropout: {low: 0, high: 2}",
            "dropout = 2",
            "less than 1",
        ),
        ("dropout: {low", "drop: {low", "tune.space: drop", "did you mean dropout?"),
        ("step_size: [1, 2]", "step_size: []", "tune.space: schedule.step", "is empty"),
        ("recipe: best", "recipe: [best]", "train.recipe = ['best']", "allowed: reference"),
        ("recipe: best", "recipe: {best: 1}", "train.recipe = {'best': 1}", "allowed: reference"),
        ("momentum: null", "momentum: 0", "train", "nesterov = True needs momentum above 0"),
        (
            "{low: 0, high: 0.1}  #",
            "{low: 0, high: 0.1}\n    momentum: [0, 0.9]  #",
            "tune.space",
            "nesterov",
        ),
        (
            "start_points: []",
            "start_points: [{dropout: 0.5}]",
            "tune.start_points.0: dropout = 0.5",
            "0 to 0.1",
        ),
        (
            "start_points: []",
            "start_points: [{schedule: linear, warm_up: 0.1}]",
            "tune.start_points.0: warm_up",
            "not in tune.space",
        ),
        (
            "schedule:\n      one_cycle",
            "epochs: {low: 1, high: 3, step: 0.5}\n    schedule:\n      one_cycle",
            "tune.space: epochs",
            "not a whole number",
        ),
        ("finalist_budget: 40", "finalist_budget: 7", "tune.finalist_budget = 7", "equal to 8"),
        ("patience: null", "patience: 0", "tune.patience = 0", "equal to 1"),
        ("[fast, best,", "[fast, fast,", "seeds", "has a duplicate"),
        ("    vgg: [best]", "    vga: [best]", "seeds.recipes: 'vga'", "reference, vgg, resnet"),
        ("    vgg: [best]", "    vgg: best", "seeds.recipes.vgg", "list"),
        ("    vgg: [best]", "    vgg: []", "seeds.recipes.vgg", "at least 1"),
        ("  fast:\n", "  1:\n", "recipes.1", "string"),
        ("epochs: null", f"epochs: {10**4000}", "train.epochs", "less than or equal to 100000"),
        ("source: auto", "source: 2026-01-01", "fetch.source", "string"),
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


def test_a_download_needs_digests(tmp_path: Path) -> None:
    content = YAML(typ="safe").load(PARAMS)
    content["fetch"]["sha256"] = None
    path = tmp_path / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    with pytest.raises(UserError, match="fetch: sha256 = null: source auto needs the files' dig"):
        load_params(path)


def test_a_mistake_in_the_chosen_recipe_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace("ema_decay: 0.998", "ema_decay: 1", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"recipes\.best\.ema_decay = 1: it should be less than 1$"):
        load_params(path)


@pytest.mark.parametrize("section", Params.model_fields)
@pytest.mark.parametrize("wrong", ["missing", "null", "text", "[]", "{}", "1"])
def test_a_section_that_is_none_is_one_line_of_its_own(
    tmp_path: Path, section: str, wrong: str
) -> None:
    content = YAML(typ="safe").load(PARAMS)
    del content[section]
    lines = "" if wrong == "missing" else f"{section}: {wrong}\n"
    path = tmp_path / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
        file.write(lines)
    with pytest.raises(UserError) as caught:
        load_params(path)
    explained = str(caught.value).splitlines()
    assert all(section in line for line in explained), caught.value
    assert len(explained) == 1 or wrong == "{}"  # which lacks every key


def test_the_projects_own_params_are_valid() -> None:
    load_params(Path(__file__).parents[1] / "params.yaml")


def test_a_mistake_in_a_network_that_is_not_chosen_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    other = "  other:\n    blocks: [{channels: 2, kernel: 30}]\n    head: {kind: average}\n"
    path.write_text(PARAMS.replace("networks:\n", f"networks:\n{other}", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"networks\.other: block 1: a kernel of 30 does not fit"):
        load_params(path)


def test_every_network_is_within_the_budget_and_has_as_many_parameters_as_its_comment_says() -> (
    None
):
    params = load_params(ROOT / "params.yaml")
    for name in params.networks:
        count = params.architecture(name).parameters()
        assert count <= 12_442
        assert f"  {name}:  # {count:,} parameters\n" in PARAMS


def test_scientific_notation_without_a_point_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace("g_rate: null", "g_rate: 1e-3"), encoding="utf-8")
    assert load_params(path).train.learning_rate == 0.001


@pytest.mark.parametrize("recipe", ["reference", "fast", "best"])
def test_a_value_in_train_replaces_the_recipes_and_null_does_not(
    tmp_path: Path, recipe: str
) -> None:
    path = tmp_path / "params.yaml"
    text = PARAMS.replace("recipe: best", f"recipe: {recipe}", 1)
    path.write_text(text.replace("epochs: null", "epochs: 3", 1), encoding="utf-8")
    params = load_params(path)
    assert params.train.epochs == 3
    named = params.recipes[recipe].model_dump()
    assert params.train.model_dump(include=set(named) - {"epochs"}) == {
        name: value for name, value in named.items() if name != "epochs"
    }


def test_every_key_of_a_recipe_can_be_set_in_train() -> None:
    assert set(Recipe.model_fields) <= set(read_yaml(ROOT / "params.yaml")["train"])


def test_a_file_that_is_no_yaml_is_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("fetch: [\ntrain: 1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"params.yaml: line \d+ is not YAML"):
        load_params(path)


def test_an_absent_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_params(tmp_path / "params.yaml")


def test_trials_trained_together_must_agree_in_their_shapes(tmp_path: Path) -> None:
    text = PARAMS.replace("together: 1", "together: 2").replace(
        "  space:\n", "  space:\n    batch_size: [64, 128]\n"
    )
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"tune.space: batch_size: trials together must agree"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not UTF-8 text"),
        (b"train: [1, 2", "is not YAML"),
        (b"a: 1\na: 2\n", "is not YAML"),
        (b"train: !!int abc\n", "a value is impossible"),
        (b"train: 2026-13-45\n", "a value is impossible"),
        (b"train: " + b"9" * 5000 + b"\n", "a value is impossible"),
        (b"train: " + b"[" * 2000 + b"]" * 2000 + b"\n", "too deeply"),
        (b"train: &a [*a]\n", "more than"),
        (b"train: &a {b: *a}\n", "more than"),
        (
            b"a0: &a0 [1, 1]\n"
            + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
            "more than",
        ),
        (b"# " + b"x" * 2_000_000 + b"\n", "is larger than"),
        (b"- 1\n", "it should be a valid dictionary"),
        (b"", "it should be a valid dictionary"),
    ],
    ids=range(13),
)
def test_a_file_that_cannot_be_params_is_one_short_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_params(tmp_path / "params.yaml")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_a_folder_or_a_pipe_as_params_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder is not a file"):
        load_params(tmp_path / "folder")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(UserError, match="pipe is not a file"):
            load_params(tmp_path / "pipe")


def test_only_a_search_needs_a_hold_out_set(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace("validation_size: 5000", "validation_size: 0", 1), "utf-8")
    params = load_params(path)
    assert params.train.validation_size == 0
    with pytest.raises(UserError, match=r"a search needs train.validation_size above 0"):
        params.search()

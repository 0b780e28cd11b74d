import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import REFERENCE, SMALL, reference
from PIL import Image

from mnist12k.cli import main
from mnist12k.cnn.architecture import DIGITS, Architecture
from mnist12k.cnn.device import pick_device
from mnist12k.cnn.model_file import load_network, save_network
from mnist12k.cnn.network import Network
from mnist12k.errors import UserError
from mnist12k.photos.predict import Model, predict

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", SMALL)
def test_a_saved_network_comes_back_the_same(tmp_path: Path, name: str) -> None:
    network = Network(SMALL[name], 0.1).eval().to(memory_format=torch.channels_last)
    save_network(network, tmp_path / "cnn.pt")
    images = torch.rand(4, 1, 28, 28)
    assert torch.equal(load_network(tmp_path / "cnn.pt", CPU)(images), network(images))


def test_the_file_is_an_architecture_and_a_state_dict_that_need_no_pickle(tmp_path: Path) -> None:
    save_network(reference(), tmp_path / "cnn.pt")
    content = torch.load(tmp_path / "cnn.pt", weights_only=True)
    assert Architecture.model_validate(content["architecture"]) == REFERENCE
    state = content["weights"]
    assert sum(value.numel() for name, value in state.items() if "running" not in name) >= 12_442
    assert all(value.is_contiguous() for value in state.values())


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    network = reference()
    for name in ("one.pt", "two.pt"):
        save_network(network, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_an_absent_model_is_named_with_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cnn.pt is missing; .dvc repro train. writes"):
        load_network(tmp_path / "cnn.pt", CPU)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cnn.pt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(UserError, match=r"cnn.pt does not hold a network's weights"):
        load_network(path, CPU)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cnn.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cnn.pt does not hold a network's weights"):
        load_network(path, CPU)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """The weights of a network, as models/cnn.pt has them."""
    torch.manual_seed(1)
    return dict(reference().state_dict())


def with_architecture(weights: Any) -> dict[str, Any]:
    return {"architecture": REFERENCE.model_dump(), "weights": weights}


def with_value(value: float, name: str = "head.weight") -> Callable[[dict[str, Any]], Any]:
    def change(state: dict[str, Any]) -> Any:
        changed = state[name].clone()
        changed.view(-1)[0] = value
        return state | {name: changed}

    return change


def with_tensor(convert: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state | {"head.weight": convert(state["head.weight"])}


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "NaN": (with_value(float("nan")), "head.weight has a value that is not finite"),
    "infinity": (with_value(float("inf")), "head.weight has a value that is not finite"),
    "NaN in a running mean": (
        with_value(float("nan"), "blocks.0.norm.running_mean"),
        "running_mean has a value that is not finite",
    ),
    "negative variance": (
        with_value(-1, "blocks.0.norm.running_var"),
        "its logits are not finite",
    ),
    "huge weight": (with_value(3e38, "blocks.0.conv.weight"), "its logits are not finite"),
    "float64": (with_tensor(torch.Tensor.double), "dtype float64, not float32"),
    "float16": (with_tensor(torch.Tensor.half), "dtype float16, not float32"),
    "integers": (with_tensor(torch.Tensor.int), "dtype int32, not float32"),
    "complex": (with_tensor(lambda t: t.to(torch.complex64)), "dtype complex64, not float32"),
    "sparse": (with_tensor(torch.Tensor.to_sparse), "layout sparse_coo, not strided"),
    "quantised": (
        with_tensor(lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)),
        "does not hold",
    ),
    "wrong shape": (with_tensor(lambda t: t[:5].clone()), "head.weight has the shape (5, "),
    "a list": (with_tensor(lambda t: t.tolist()), "head.weight is a list, not a tensor"),
    "missing key": (
        lambda state: {name: state[name] for name in state if name != "head.bias"},
        "head.bias is missing",
    ),
    "extra key": (lambda state: state | {"more": state["head.bias"]}, "more is unexpected"),
    "key that is no text": (lambda state: state | {1: state["head.bias"]}, "1 is unexpected"),
    "no dict": (lambda state: list(state.values()), "a list, not a dict of tensors"),
    "a number": (lambda _: 3, "a int, not a dict of tensors"),
}


@pytest.mark.filterwarnings("ignore:.*quantiz", "ignore:.*torch.ao", "ignore:.*TypedStorage")
@pytest.mark.parametrize("kind", WRONG)
def test_weights_of_another_kind_or_not_finite_are_refused(
    tmp_path: Path, state: dict[str, Any], kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    change, reason = WRONG[kind]
    path = tmp_path / "cnn.pt"
    torch.save(with_architecture(change(state)), path)
    recwarn.clear()
    with pytest.raises(UserError) as caught:
        load_network(path, CPU)
    message = str(caught.value)
    assert reason in message
    assert message.startswith(f"{path} does not hold a network's weights (")
    assert message.endswith("; `dvc repro --force train` rewrites models/cnn.pt")
    assert "\n" not in message
    assert not recwarn.list


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1))
def test_a_file_that_was_overwritten_anywhere_is_refused_or_has_the_same_weights(
    tmp_path: Path, place: float
) -> None:
    network, path = reference(), tmp_path / "cnn.pt"
    save_network(network, path)
    content = path.read_bytes()
    start = int(place * (len(content) - 64))
    path.write_bytes(content[:start] + b"\x35" * 64 + content[start + 64 :])
    with contextlib.suppress(UserError):  # there are bytes between the records
        loaded = load_network(path, CPU).state_dict()
        assert all(torch.equal(loaded[name], own) for name, own in network.state_dict().items())


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def from_state(kind: str) -> Callable[[Path], None]:
    return lambda path: torch.save(
        with_architecture(WRONG[kind][0](dict(reference().state_dict()))), path
    )


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": lambda path: os.mkfifo(path),
    "large": large,
    "text": lambda path: path.write_text("weights\n" * 100, encoding="utf-8"),
    "empty": Path.touch,
    "code": lambda path: torch.save({"head.weight": Trap()}, path, pickle_module=pickle),
    "missing": lambda _: None,
    "NaN": from_state("NaN"),
    "complex": from_state("complex"),
    "extra key": from_state("extra key"),
}


def outputs() -> dict[Path, bytes]:
    files = [path for path in Path("reports").rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files} | dict.fromkeys(
        Path("models").iterdir(), b""
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes")
@pytest.mark.parametrize("kind", UNUSABLE)
def test_every_command_refuses_an_unusable_model_in_one_line_and_changes_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    Image.new("L", (28, 28)).save("digit.png")
    model = workspace / "models/cnn.pt"
    model.unlink()
    UNUSABLE[kind](model)
    before = outputs()
    for command in (["predict", "digit.png"], ["evaluate"], ["publish"], ["export"]):
        assert main(command) == 2
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith("mnist12k: error: ")
        assert "models/cnn.pt" in line
        assert "dvc repro" in line
        assert output.out == ""
    assert outputs() == before
    assert not Path("sprung").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_logits_that_are_not_finite_are_a_failure_and_no_digit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    picture = tmp_path / "digit.png"
    image = Image.new("L", (60, 60))
    image.paste(255, (25, 10, 35, 50))
    image.save(picture)
    with pytest.raises(UserError, match="1 of 1 could not be classified"):
        predict(
            [str(picture)],
            Model((1, 28, 28), DIGITS, lambda x: np.full((len(x), 10), np.nan, dtype=np.float32)),
            as_json=as_json,
        )
    output = capsys.readouterr()
    reason = "the model's logits are not finite numbers"
    if as_json:
        assert json.loads(output.out) == {"file": str(picture), "error": reason}
    else:
        assert output.out == ""
        assert output.err == f"{picture}: {reason}\n"


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("sprung"),)


def test_a_checkpoint_that_would_run_code_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"head.weight": Trap()}, tmp_path / "cnn.pt", pickle_module=pickle)
    with pytest.raises(UserError, match="does not hold a network's weights"):
        load_network(tmp_path / "cnn.pt", CPU)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xyz", "meta device", "meta"])
def test_a_device_that_is_not_there_is_an_error_that_says_what_is(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"evaluate.device = '{name}' is not on this machine; allowed: auto"
    ):
        pick_device(name, "evaluate.device")


def test_auto_is_the_accelerator_or_the_cpu() -> None:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    assert pick_device("auto") == (accelerator or CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.accelerator.is_available(), reason="no accelerator")
def test_logits_on_an_accelerator_are_those_of_the_cpu(tmp_path: Path) -> None:
    save_network(reference(0.1), tmp_path / "cnn.pt")
    images = torch.rand(100, 1, 28, 28)
    device = pick_device("auto")
    ours = load_network(tmp_path / "cnn.pt", device)(images.to(device)).cpu()
    torch.testing.assert_close(ours, load_network(tmp_path / "cnn.pt", CPU)(images))

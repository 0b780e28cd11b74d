import pickle
from pathlib import Path

import pytest
import torch

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.model_file import load_network, save_network
from mnist12k.cnn.network import Network, new_network
from mnist12k.errors import UserError

CPU = torch.device("cpu")


def test_a_saved_network_comes_back_the_same(tmp_path: Path) -> None:
    network = new_network(0.1, 1, CPU).eval()
    save_network(network, tmp_path / "cnn.pt")
    images = torch.rand(4, 1, 28, 28)
    assert torch.equal(load_network(tmp_path / "cnn.pt", CPU)(images), network(images))


def test_the_file_is_a_plain_state_dict_that_needs_no_pickle(tmp_path: Path) -> None:
    save_network(Network(), tmp_path / "cnn.pt")
    state = torch.load(tmp_path / "cnn.pt", weights_only=True)
    assert sum(value.numel() for name, value in state.items() if "running" not in name) >= 12_442
    assert all(value.is_contiguous() for value in state.values())


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    network = Network()
    for name in ("one.pt", "two.pt"):
        save_network(network, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_an_absent_model_is_named_with_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cnn.pt is missing; .dvc repro train. writes it"):
        load_network(tmp_path / "cnn.pt", CPU)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cnn.pt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(UserError, match=r"cnn.pt does not hold this network's weights"):
        load_network(path, CPU)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cnn.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cnn.pt does not hold this network's weights"):
        load_network(path, CPU)


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("sprung"),)


def test_a_checkpoint_that_would_run_code_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"head.weight": Trap()}, tmp_path / "cnn.pt", pickle_module=pickle)
    with pytest.raises(UserError, match="does not hold this network's weights"):
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
    save_network(new_network(0.1, 1, CPU), tmp_path / "cnn.pt")
    images = torch.rand(100, 1, 28, 28)
    device = pick_device("auto")
    ours = load_network(tmp_path / "cnn.pt", device)(images.to(device)).cpu()
    torch.testing.assert_close(ours, load_network(tmp_path / "cnn.pt", CPU)(images))

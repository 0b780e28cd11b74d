"""CUDA graphs, by a recorder of every operation that replays them under a graph's rules."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from networks import by_recipe
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist12k.cnn import cpu_block, cuda_graph
from mnist12k.cnn.cuda_graph import WARM_UP, Replayed
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch, Step
from mnist12k.cnn.network import Block, new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, split
from mnist12k.search.fused import fit_fused

pytestmark = pytest.mark.usefixtures("one_thread")
ABSENT = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Recorder(TorchDispatchMode):
    """A graph of CPU operations: a replay repeats them with the numbers and addresses recorded.

    Recording leaves no trace, and reading a value is forbidden meanwhile, as under CUDA.
    """

    made: list["Recorder"]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generators: list[torch.Generator] = []
        self.calls: list[tuple[Any, Any, Any, list[Tensor | None]]] = []
        self.changed: list[tuple[Tensor, Tensor]] = []
        self.replays = 0
        self.made.append(self)

    def register_generator_state(self, generator: torch.Generator) -> None:
        warnings.warn("deprecated, as in PyTorch 2.14", FutureWarning, stacklevel=2)
        self.generators.append(generator)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        given = tensors((args, kwargs))
        earlier = [tensor.clone() for tensor in given]
        result = func(*args, **kwargs)
        pairs = zip(given, earlier, strict=True)
        self.changed += [(now, value) for now, value in pairs if not torch.equal(now, value)]
        before = {address(tensor) for tensor in given}
        results = [None if address(t) in before else t for t in tensors(result)]
        self.calls.append((func, args, kwargs, results))
        return result

    @contextmanager
    def recording(self) -> Iterator[None]:
        states = [generator.get_state() for generator in self.generators]
        try:
            with self:
                yield
        finally:
            with torch.no_grad():
                for tensor, value in reversed(self.changed):
                    tensor.copy_(value)
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, results in self.calls:
            for result, new in zip(results, tensors(func(*args, **kwargs)), strict=True):
                if result is not None:
                    result.copy_(new)


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """Put the recorder in CUDA's place, and the layers of a GPU in the CPU's."""

    def forward(x: Tensor, _: None, block: Block) -> Tensor:
        x = torch.relu(block.norm(block.conv(x)))
        dropped: Tensor = block.dropout(x if block.pool is None else block.pool(x))
        return dropped

    def drop_(x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
        return x.bernoulli_(1 - rate, generator=generator)

    monkeypatch.setattr(cpu_block, "forward", forward)
    monkeypatch.setattr(cpu_block, "drop_", drop_)
    stream = SimpleNamespace(wait_stream=lambda _: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorder)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **_: graph.recording())
    monkeypatch.setattr("mnist12k.cnn.fit.replayed", Replayed)
    Recorder.made = []
    return Recorder.made


class StepByStep:
    """The step as it is, but with its numbers as tensors, as a graph has them."""

    def __init__(self, step: cuda_graph.Step, _: Sequence[torch.Generator]) -> None:
        self.step = step

    def __call__(self, *values: Tensor | float) -> Tensor:
        return self.step(*map(torch.as_tensor, values))


@pytest.fixture
def recipe() -> Train:
    """All that draws numbers, and rates that change from step to step."""
    small = {"epochs": 2, "batch_size": 64, "learning_rate": 0.05, "dropout": 0.1, "shear": 3}
    return by_recipe("best", 1, 90, cuda_graph=True).model_copy(update=small)


def trained(
    digits: Digits, recipe: Train, device: str = "cpu"
) -> tuple[dict[str, Tensor], list[Epoch], list[float]]:
    """Train on 510 images, seven whole batches and one of 62; return what it ends with."""
    network = new_network(recipe, torch.device(device))
    steps: list[Step] = []
    history = fit(network, *split(digits, 90), recipe, on_step=steps.append)
    without_seconds = [epoch._replace(seconds=0) for epoch in history]
    return network.state_dict(), without_seconds, [step.loss.item() for step in steps]


def test_a_training_that_replays_its_steps_ends_with_the_bits_of_one_that_does_not(
    small_training_digits: Digits,
    recipe: Train,
    recorders: list[Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights, history, losses = trained(small_training_digits, recipe)
    (recorder,) = recorders
    assert recorder.replays == 2 * 7 - WARM_UP
    monkeypatch.setattr("mnist12k.cnn.fit.replayed", StepByStep)
    expected, expected_history, expected_losses = trained(small_training_digits, recipe)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert history == expected_history
    assert losses == expected_losses


def test_models_trained_as_one_by_replays_end_with_the_bits_of_those_that_are_not(
    small_training_digits: Digits,
    recipe: Train,
    recorders: list[Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = [recipe, recipe.model_copy(update={"seed": 2, "learning_rate": 0.1, "dropout": 0})]

    def both() -> tuple[list[Tensor], list[list[Epoch]]]:
        networks = [new_network(own, torch.device("cpu")) for own in settings]
        histories = fit_fused(networks, *split(small_training_digits, 90), settings)
        states = [value for network in networks for value in network.state_dict().values()]
        return states, [[epoch._replace(seconds=0) for epoch in own] for own in histories]

    expected = both()
    monkeypatch.setattr("mnist12k.search.fused.replayed", Replayed)
    states, histories = both()
    assert [recorder.replays for recorder in recorders] == [2 * 7 - WARM_UP]
    assert all(torch.equal(*pair) for pair in zip(states, expected[0], strict=True))
    assert histories == expected[1]


class GraphsafeGenerator(torch.Generator):
    """A CPU's generator with what a GPU's can do besides."""

    def graphsafe_set_state(self, other: torch.Generator) -> torch.Generator:
        self.set_state(other.get_state())
        return self


@pytest.mark.usefixtures("recorders")
def test_a_step_that_cannot_be_recorded_goes_on_without_a_graph_and_says_so_once() -> None:
    total = torch.zeros(())

    def step(generator: torch.Generator, factor: float | Tensor) -> Tensor:
        total.add_(torch.rand((), generator=generator) * factor)
        return total.clone() if total.item() else total  # waits for the device

    generator = GraphsafeGenerator().manual_seed(1)
    replayed = Replayed(partial(step, generator), [generator])
    with pytest.warns(
        UserWarning, match=r"without a CUDA graph.*when stream is capturing"
    ) as caught:
        results = [replayed(0.5) for _ in range(10)]
    assert len(caught) == 1

    total.zero_()
    generator.manual_seed(1)
    assert results == [step(generator, 0.5) for _ in range(10)]


@pytest.mark.usefixtures("recorders")
def test_a_replay_takes_the_numbers_of_its_own_call_and_leaves_earlier_results_alone() -> None:
    replayed = Replayed(lambda x, factor: x * factor, [torch.Generator()])
    results = [replayed(torch.tensor([float(n)]), n) for n in range(8)]
    assert results == [n * n for n in range(8)]


def test_no_graph_is_recorded_unless_asked_for(
    small_training_digits: Digits, recipe: Train, recorders: list[Recorder]
) -> None:
    trained(small_training_digits, recipe.model_copy(update={"cuda_graph": False}))
    assert recorders == []


def test_on_a_cpu_there_is_no_graph() -> None:
    assert cuda_graph.replayed(torch.neg, [torch.Generator()]) is torch.neg


@pytest.mark.gpu
@ABSENT
@pytest.mark.usefixtures("deterministic")
def test_on_a_gpu_a_replayed_training_ends_with_the_bits_of_an_unrecorded_one(
    small_training_digits: Digits, recipe: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, _, losses = trained(small_training_digits, recipe, "cuda")
    monkeypatch.setattr("mnist12k.cnn.fit.replayed", lambda step, _: step)
    expected, _, expected_losses = trained(small_training_digits, recipe, "cuda")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert losses == expected_losses

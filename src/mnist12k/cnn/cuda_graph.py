"""A training step as one CUDA graph: recorded once, then replayed with a single launch.

This network's kernels are so short that a GPU mostly waits for launches; a graph launches them all
at once (PyTorch's notes on CUDA semantics, "CUDA Graphs"). Tested on a CPU with a recorder that
enforces a graph's rules, and on an H100, where it gives the bits of unrecorded steps
(benchmarks/gpu.json).
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Step = Callable[..., Tensor]
# Calls before recording: the optimizer allocates its buffers, the libraries pick algorithms.
WARM_UP = 3


def replayed(step: Step, generators: Sequence[torch.Generator]) -> Step:
    """Return `step` as a graph if its generators are on a CUDA device, else `step` itself."""
    return Replayed(step, generators) if generators[0].device.type == "cuda" else step


class Replayed:
    """A step on a CUDA device, recorded at its fourth call and replayed from then on.

    `step` takes tensors and numbers and returns a tensor. Everything else that it reads must stay
    in place, it may draw from `generators` only, and must not wait for the device. Once recorded,
    it receives numbers as float32 tensors. Calls whose shapes differ from the first call's, such as
    an epoch's last batch, run unrecorded. If recording fails, all calls do, after a warning.
    """

    def __init__(self, step: Step, generators: Sequence[torch.Generator]) -> None:
        self.step = step
        self.generators = generators
        self.device = generators[0].device
        self.calls = 0
        self.inputs: list[Tensor] = []
        self.output = torch.empty(0)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(self.device)

    def __call__(self, *values: Tensor | float) -> Tensor:
        """Run the step, and return a tensor that later calls do not overwrite."""
        if not self.inputs:
            self.inputs = [torch.as_tensor(value, device=self.device).clone() for value in values]
        if [torch.as_tensor(value).shape for value in values] != [i.shape for i in self.inputs]:
            return self._run_on_side_stream(*values)
        self.calls += 1
        if self.calls == WARM_UP + 1:
            self._record()
        if self.graph is None:
            return self._run_on_side_stream(*values)
        for buffer, value in zip(self.inputs, values, strict=True):
            buffer.copy_(value) if isinstance(value, Tensor) else buffer.fill_(value)
        self.graph.replay()
        return self.output.clone()

    def _run_on_side_stream(self, *values: Tensor | float) -> Tensor:
        """Run the step on the stream that will record it, since autograd remembers streams."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            output = self.step(*values)
        current.wait_stream(self.stream)
        return output

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        before = [generator.clone_state() for generator in self.generators]
        with warnings.catch_warnings():
            # PyTorch 2.14 registers them itself, and warns of this; 2.11 needs it.
            warnings.simplefilter("ignore")
            for generator in self.generators:
                graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.output = self.step(*self.inputs)
        except RuntimeError as error:
            for generator, state in zip(self.generators, before, strict=True):
                generator.graphsafe_set_state(state)
            reason = " ".join(str(error).split())[:200]
            warnings.warn(
                f"training continues without a CUDA graph, more slowly: {reason}", stacklevel=3
            )
        else:
            self.graph = graph

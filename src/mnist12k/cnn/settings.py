"""The sections `recipes` and `train` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Strict, Tag, model_validator

from mnist12k.cnn.architecture import Architecture
from mnist12k.digits.settings import MOST_IMAGES
from mnist12k.files import Section

SCHEDULE_NEEDS = {"step": ("step_size", "gamma"), "one_cycle": ("warm_up",)}

Fraction = Annotated[float, Field(ge=0, lt=1)]
Rates = Annotated[tuple[Fraction, ...], Strict(False), Field(min_length=1)]
ONE_RATE, RATE_PER_BLOCK = "one rate", "one rate per block"  # in error messages
Dropout = Annotated[
    Annotated[Fraction, Tag(ONE_RATE)] | Annotated[Rates, Tag(RATE_PER_BLOCK)],
    Discriminator(lambda value: RATE_PER_BLOCK if isinstance(value, list | tuple) else ONE_RATE),
]
Threads = Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]


class Recipe(Section):
    """How the CNN is trained. Whatever a recipe omits is off."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=2, le=MOST_IMAGES)
    learning_rate: Annotated[float, Field(gt=0, le=1e100)]  # the schedule's highest
    momentum: Fraction
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0, le=1e100)] = 0
    schedule: Literal["step", "one_cycle", "cosine", "linear"]
    step_size: Annotated[int, Field(ge=1, le=100_000)] | None = None  # step: epochs per rate
    gamma: Annotated[float, Field(gt=0, le=1)] | None = None  # step: the factor between them
    warm_up: Fraction | None = None  # one_cycle: fraction of all steps with a rising rate
    final_fraction: Fraction = 0  # cosine: the last learning rate, as a fraction of the highest
    dropout: Dropout = 0  # one rate for all blocks, or one per block
    label_smoothing: Fraction = 0
    ema_decay: Fraction = 0  # of the exponential moving average of the weights
    rotation: Annotated[float, Field(ge=0, le=180)] = 0  # degrees, either way
    shift: Annotated[float, Field(ge=0, le=1)] = 0  # fraction of the side, either way, per axis
    scale: Fraction = 0  # 1 plus or minus this
    shear: Annotated[float, Field(ge=0, lt=90)] = 0  # degrees, either way, along x
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    fill: Annotated[int, Field(ge=0, le=255)] = 0  # grey level of pixels from outside the image

    @model_validator(mode="after")
    def _schedule_is_complete(self) -> Self:
        for name in SCHEDULE_NEEDS.get(self.schedule, ()):
            if getattr(self, name) is None:
                raise ValueError(f"schedule {self.schedule} needs {name}")
        return self

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = True needs momentum above 0")
        return self


class Train(Recipe):
    """One training in full: its recipe, its network, and what is part of neither."""

    recipe: str
    network: str
    architecture: Architecture  # the network's, for the images in the section `fetch`
    parameter_budget: Annotated[int, Field(ge=1, le=10**12)] | None
    seed: int = Field(ge=0, lt=2**63)
    device: str = Field(min_length=1)
    threads: Threads  # of a CPU
    deterministic: bool  # on an accelerator: reproducible bits, but slower
    cuda_graph: bool  # on an NVIDIA GPU: record a step once, and replay it
    validation_size: int = Field(ge=0, lt=MOST_IMAGES)

    @model_validator(mode="after")
    def _network_is_within_the_budget(self) -> Self:
        parameters, budget = self.architecture.parameters(), self.parameter_budget
        if budget is not None and parameters > budget:
            raise ValueError(
                f"network {self.network} has {parameters:,} parameters; "
                f"train.parameter_budget allows {budget:,}"
            )
        return self

    @model_validator(mode="after")
    def _each_block_has_a_dropout_rate(self) -> Self:
        blocks = len(self.architecture.blocks)
        if isinstance(self.dropout, tuple) and len(self.dropout) != blocks:
            raise ValueError(
                f"dropout has {len(self.dropout)} rates; network {self.network} has {blocks} blocks"
            )
        return self

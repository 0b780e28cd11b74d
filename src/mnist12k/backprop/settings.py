"""The section `backprop` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from mnist12k.files import Section

# Within these limits nothing overflows.
Bounded = Annotated[float, Field(ge=-1e6, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1e100)]
Output = Annotated[float, Field(ge=0, le=1)]
# YAML has lists where Python has tuples; their elements stay strict.
Pair = Annotated[tuple[Bounded, Bounded], Strict(False)]


class SmallNetwork(Section):
    """The 2-2-2 network: one example, the eight weights to start from, and fixed biases."""

    inputs: Pair
    targets: Annotated[tuple[Output, Output], Strict(False)]
    weights: Annotated[tuple[Bounded, ...], Strict(False), Field(min_length=8, max_length=8)]
    biases: Pair


class Presets(Section):
    """Published examples, checked in every study."""

    reference: SmallNetwork
    mazur: SmallNetwork

    def by_name(self) -> dict[str, SmallNetwork]:
        """Return each preset by its name."""
        return {"reference": self.reference, "mazur": self.mazur}


class Backprop(SmallNetwork):
    """The learning-rate study: its own network, the presets, and the descent."""

    preset: Literal["own", "reference", "mazur"]
    learning_rates: Annotated[tuple[Rate, ...], Strict(False), Field(min_length=1, max_length=20)]
    iterations: int = Field(ge=1, le=10_000)
    worksheet_learning_rate: Rate
    presets: Presets

    @model_validator(mode="after")
    def _rates_are_consistent(self) -> Self:
        rates = [float(rate) for rate in self.learning_rates]
        if len(set(rates)) < len(rates):
            raise ValueError(f"learning_rates {rates} has a duplicate")
        if self.worksheet_learning_rate not in rates:
            raise ValueError(
                f"worksheet_learning_rate {self.worksheet_learning_rate:g} is not one of "
                f"learning_rates {rates}"
            )
        return self

    def studied(self) -> tuple[str, SmallNetwork]:
        """Return the network to study, and its name: a preset's if it equals one, else `own`."""
        fields = {name: getattr(self, name) for name in SmallNetwork.model_fields}
        own = SmallNetwork(**fields)
        presets = self.presets.by_name()
        network = presets.get(self.preset, own)
        return next((name for name, preset in presets.items() if preset == network), "own"), network

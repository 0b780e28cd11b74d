"""The section `publish` of params.yaml."""

from typing import Annotated

from pydantic import Field

from mnist12k.files import Section


class Publish(Section):
    """When a new model replaces the champion in MLflow's registry."""

    champion_level: Annotated[float, Field(gt=0, lt=1)]

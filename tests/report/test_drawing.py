from xml.etree import ElementTree

import pytest
from networks import LOADED, SMALL
from project import ROOT

from mnist12k.report.figures.drawing import ORANGE, draw_network


@pytest.mark.parametrize("name", SMALL)
def test_a_drawing_has_a_box_per_map_and_a_line_per_shortcut(name: str) -> None:
    layers = SMALL[name]
    drawing = ElementTree.fromstring(draw_network(layers, "a < b & c"))  # noqa: S314 - our own
    boxes = [element for element in drawing if element.tag.endswith("rect")]
    lines = [element for element in drawing if element.get("stroke") == ORANGE]
    assert len(boxes) == len(layers.blocks) + 2  # the image and the classes
    residuals = [block for block in layers.blocks if block.residual]
    assert len(lines) == len(residuals)
    dashed = [line.get("stroke-dasharray") is not None for line in lines]
    assert dashed == [block.projection for block in residuals]
    edges = [(float(box.get("x", 0)), float(box.get("width", 0))) for box in boxes]
    ends = [left + width for left, width in edges]
    assert all(end < left for end, (left, _) in zip(ends, edges[1:], strict=False))
    assert ends[-1] < float(drawing.get("width", 0))


@pytest.mark.parametrize("name", LOADED.networks)
def test_the_drawings_in_docs_are_those_of_params_yaml(name: str) -> None:
    drawing = (ROOT / f"docs/networks/{name}.svg").read_text(encoding="utf-8")
    assert drawing == draw_network(LOADED.architecture(name), name)
    assert f"networks/{name}.svg" in (ROOT / "docs/networks.md").read_text(encoding="utf-8")

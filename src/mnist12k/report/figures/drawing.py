"""A network as a drawing: its maps from left to right, with shortcuts above them."""

from itertools import pairwise
from typing import NamedTuple
from xml.sax.saxutils import escape

from mnist12k.cnn.architecture import Architecture, Block

SCALE = 2  # pixels of the drawing per pixel of a map's side
GAP, MARGIN, ABOVE, BELOW = 40, 24, 30, 40  # pixels, between and around the maps
BLUE, ORANGE, GREY = "#4087d6", "#d66f2c", "#808080"  # on white and on black


class Map(NamedTuple):
    """The box of a block's output: its left edge, its width and height, and its label."""

    left: float
    width: float
    height: float
    label: tuple[str, str]

    @property
    def middle(self) -> float:
        """The x coordinate of its centre."""
        return self.left + self.width / 2


def draw_network(layers: Architecture, name: str) -> str:
    """Return an SVG: a box per block, as high as its maps and as wide as its channels.

    Arrows are convolutions, lines above them shortcuts, dashed through a projection.
    """
    maps = _maps(layers)
    width = maps[-1].left + maps[-1].width + MARGIN
    height = ABOVE + SCALE * layers.side + BELOW
    centre = ABOVE + SCALE * layers.side / 2
    parts = [
        _tag("rect", x=each.left, y=centre - each.height / 2, width=each.width, height=each.height)
        for each in maps
    ]
    operations = [*map(_operations, layers.blocks), _head(layers)]
    for (before, after), lines in zip(pairwise(maps), operations, strict=True):
        start, end = before.left + before.width + 3, after.left - 3
        parts.append(_tag("path", d=f"M{start:g} {centre:g}H{end:g}l-4 -3m4 3l-4 3", fill="none"))
        middle = (start + end) / 2
        parts += [_text(middle, centre - 6 + 17 * number, line) for number, line in lines.items()]
    for each in maps:
        parts += [
            _text(each.middle, height - 26 + 12 * k, line) for k, line in enumerate(each.label)
        ]
    for index, block in enumerate(layers.blocks):
        if block.residual:
            parts.append(
                _shortcut(maps[index + 1 - block.residual], maps[index + 1], block, centre)
            )
    shortcuts = sum(block.residual > 0 for block in layers.blocks)
    about = f"{name}: {len(layers.blocks)} blocks, {shortcuts} shortcuts, a head"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" font-family="sans-serif" font-size="10" '
        f'fill="{BLUE}" fill-opacity="0.25" stroke="{BLUE}">'
        f"<title>{escape(about)}</title>{''.join(parts)}</svg>\n"
    )


def _maps(layers: Architecture) -> list[Map]:
    maps: list[Map] = []
    left = float(MARGIN)
    for channels, side in layers.shapes():
        label = (f"{channels} ×", f"{side} × {side}")
        maps.append(Map(left, 4 + 0.8 * channels, SCALE * side, label))
        left += maps[-1].width + GAP
    count = len(layers.classes)
    return [*maps, Map(left, 6, min(6 * count, SCALE * layers.side), (str(count), "classes"))]


def _operations(block: Block) -> dict[int, str]:
    """Return what is written above (0) and below (1) a block's arrow."""
    return {0: f"{block.kernel}×{block.kernel}"} | ({1: "pool"} if block.pool else {})


def _head(layers: Architecture) -> dict[int, str]:
    match layers.head.kind:
        case "convolution":
            return {0: f"{layers.head.kernel}×{layers.head.kernel}", 1: "mean"}
        case "average":
            return {0: "mean", 1: "linear"}
        case "dense":
            return {0: "linear"} | ({1: str(layers.head.units)} if layers.head.units else {})


def _shortcut(source: Map, target: Map, block: Block, centre: float) -> str:
    start, end, top = source.middle, target.left - 7, ABOVE - 14
    path = f"M{start:g} {centre - source.height / 2:g}V{top}H{end:g}V{centre - 2:g}l-3 -4m3 4l3 -4"
    dashes = {"stroke_dasharray": "4 3"} if block.projection else {}
    return _tag("path", d=path, fill="none", stroke=ORANGE, **dashes)


def _text(x: float, y: float, text: str) -> str:
    settings = f'x="{x:g}" y="{y:g}" text-anchor="middle" fill="{GREY}" fill-opacity="1"'
    return f'<text {settings} stroke="none">{escape(text)}</text>'


def _tag(name: str, **attributes: object) -> str:
    pairs = (f'{key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f"<{name} {' '.join(pairs)}/>"

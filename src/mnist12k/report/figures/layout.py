"""Positions of the 2-2-2 network's nodes and edge labels in drawings; y points upwards."""

Edge = tuple[str, str]  # tail, head

NODES = {"i1": (0, 1), "i2": (0, 0), "h1": (1, 1), "h2": (1, 0), "o1": (2, 1), "o2": (2, 0)}
EDGES: tuple[Edge, ...] = (
    *(("i1", "h1"), ("i2", "h1"), ("i1", "h2"), ("i2", "h2")),  # w1 to w4
    *(("h1", "o1"), ("h2", "o1"), ("h1", "o2"), ("h2", "o2")),  # w5 to w8
)


def edge_point(edge: Edge, fraction: float) -> tuple[float, float]:
    """Return the point at a fraction of an edge's length: 0 is its tail, 1 its head."""
    (x0, y0), (x1, y1) = (NODES[node] for node in edge)
    return x0 + (x1 - x0) * fraction, y0 + (y1 - y0) * fraction


def label_position(edge: Edge) -> tuple[float, float]:
    """Return the position of an edge's label, clear of the edge that crosses it."""
    level = NODES[edge[0]][1] == NODES[edge[1]][1]
    return edge_point(edge, 0.46 if level else 0.31)

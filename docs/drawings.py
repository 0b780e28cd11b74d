"""Draw the networks of params.yaml to docs/networks/, as on the report page.

python docs/drawings.py
"""

from pathlib import Path

from mnist12k.files import write_text
from mnist12k.params import load_params
from mnist12k.paths import PARAMS
from mnist12k.report.figures.drawing import draw_network

DOCS = Path(__file__).parent

if __name__ == "__main__":
    for name, layers in load_params(DOCS.parent / PARAMS).architectures().items():
        write_text(DOCS / "networks" / f"{name}.svg", draw_network(layers, name))

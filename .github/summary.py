"""Print what a pull request's experiment changes, in Markdown, for a job's summary.

    python .github/summary.py origin/main

GitHub shows no pictures there, but draws Mermaid's charts.
"""

import subprocess
import sys

from pandas import DataFrame

from mnist12k.outputs import read_history

FIGURES = ("loss", "accuracy")


def dvc(*arguments: str) -> str:
    """Return the Markdown that a DVC command prints, or that nothing has changed."""
    command = ["dvc", *arguments, "--md"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return done.stdout.strip() or "No changes."


def chart(title: str, history: DataFrame, columns: list[str]) -> str:
    """Return a line chart over the epochs."""
    values = history[columns].dropna(axis=1)
    margin = 0.05 * float(values.max().max() - values.min().min())
    low, high = values.min().min() - margin, values.max().max() + margin
    lines = [f"  line [{', '.join(f'{v:.5f}' for v in values[name])}]" for name in values]
    axes = f"  x-axis epoch 1 --> {len(history)}\n  y-axis {low:.5f} --> {high:.5f}"
    names = " and ".join(name.replace("_", " ") for name in values)
    body = "\n".join(["xychart-beta", f'  title "{title}"', axes, *lines])
    return f"{names.capitalize()}:\n\n```mermaid\n{body}\n```"


def main(base: str) -> None:
    """Print metrics, parameters and curves."""
    history = read_history()
    parts = [
        f"# Compared with {base}",
        "## Metrics",
        dvc("metrics", "diff", base),
        "## Parameters",
        dvc("params", "diff", base),
        "## Curves",
        *(
            chart(figure, history, [f"train_{figure}", f"validation_{figure}"])
            for figure in FIGURES
        ),
    ]
    print("\n\n".join(parts))


if __name__ == "__main__":
    main(sys.argv[1])

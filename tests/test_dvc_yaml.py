"""dvc.yaml against the code: every stage depends on the code that decides its results."""

from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest

from mnist12k.files import read_yaml
from mnist12k.params import Params

ROOT = Path(__file__).parents[1]
PIPELINES = (ROOT / "dvc.yaml", *ROOT.glob("pipelines/*/dvc.yaml"))
STAGES: dict[str, dict[str, Any]] = {
    name: stage for path in PIPELINES for name, stage in read_yaml(path)["stages"].items()
}
# How results are stored, named and validated, which cannot change them. Figures of the long studies
# are redrawn by running these again, which trains nothing.
NEUTRAL = {
    *("errors", "failures", "files", "fingerprint", "outputs", "paths", "processes", "restore"),
    *("repairs", "signals", "streams", "threads"),
    *("digits.settings", "stages.live", "stages.progress", "stages.settings", "report.markdown"),
}
REDRAWN = {"seeds", "tune"}


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("mnist12k", cache_dir=None)


def imported_modules(stage: str) -> set[str]:
    """Return what a stage's module imports, directly or not, without packages' own files."""
    graph = import_graph()
    module = f"mnist12k.stages.{stage}"
    modules = {module, *graph.find_upstream_modules(module)}
    return {name.removeprefix("mnist12k.") for name in modules if not graph.find_children(name)}


def dependencies(stage: str) -> set[str]:
    """Return a stage's dependencies and those of the stages whose outputs it depends on."""
    deps = set(STAGES[stage]["deps"])
    for name, other in STAGES.items():
        if any(overlap(dep, out) for dep in STAGES[stage]["deps"] for out in outputs(other)):
            deps |= dependencies(name)
    return deps


def outputs(stage: dict[str, Any]) -> list[str]:
    listed = [out for kind in ("outs", "plots", "metrics") for out in stage.get(kind, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


def overlap(first: str, second: str) -> bool:
    return Path(first).is_relative_to(second) or Path(second).is_relative_to(first)


def is_covered(module: str, deps: set[str]) -> bool:
    path = Path("src/mnist12k", *module.split(".")).with_suffix(".py")
    return any(path.is_relative_to(dep) for dep in deps)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_decides_its_results(stage: str) -> None:
    modules = imported_modules(stage) - NEUTRAL
    if stage in REDRAWN:
        modules = {name for name in modules if not name.startswith("report.figures.")}
    deps = dependencies(stage)
    assert [name for name in sorted(modules) if not is_covered(name, deps)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_code_that_it_does_not_import(stage: str) -> None:
    code = [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    imported = imported_modules(stage)
    assert [dep for dep in code if not any(is_covered(name, {dep}) for name in imported)] == []
    assert all((ROOT / dep).exists() for dep in code)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_at_most_five_dependencies(stage: str) -> None:
    assert len(STAGES[stage]["deps"]) <= 5


def test_the_pipeline_files_together_have_at_most_150_lines() -> None:
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in PIPELINES) <= 150


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_name_is_that_of_its_command_module_and_section(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"mnist12k {stage}"
    assert (ROOT / f"src/mnist12k/stages/{stage}.py").is_file()
    assert stage in Params.model_fields or stage == "report"  # it shows the choices of others
    images, network = ["fetch.side", "fetch.channels", "fetch.classes"], "networks.${train.network}"
    of_train = ["device", "network", "parameter_budget", "validation_size"]
    search = [f"train.{name}" for name in of_train]
    expected = {
        "fetch": list(Params.model_fields),  # a mistake anywhere stops the first stage
        "train": [*images, "train", network, "recipes.${train.recipe}"],
        "report": ["backprop", "fetch", "networks", "train"],
        "seeds": [*images, "networks", "recipes", "seeds"],
        "tune": [*images, "networks", *search, "tune", "recipes.${tune.recipe}"],
    }
    assert STAGES[stage]["params"] == expected.get(stage, [stage])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_writes_to_the_folder_of_its_name(stage: str) -> None:
    reports = [out for out in outputs(STAGES[stage]) if out.startswith("reports/")]
    others = {"report": ["reports/index.html"], "evaluate": ["reports/train/model_summary.txt"]}
    folder = Path("reports", stage)
    outside = [out for out in reports if not Path(out).is_relative_to(folder)]
    assert outside == others.get(stage, [])

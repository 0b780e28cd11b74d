import ast
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest

from mnist12k.params import Params, read_yaml

ROOT = Path(__file__).parents[1]
STAGES: dict[str, dict[str, Any]] = {
    name: stage
    for path in (ROOT / "dvc.yaml", *ROOT.glob("pipelines/*/dvc.yaml"))
    for name, stage in read_yaml(path)["stages"].items()
}


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("mnist12k", cache_dir=None)


def imported_files(stage: str) -> list[str]:
    module = f"mnist12k.stages.{stage}"
    modules = {module, *import_graph().find_upstream_modules(module)}
    paths = {Path("src", *name.split(".")).with_suffix(".py") for name in modules}
    # Python runs the packages' own files too; one that is only a docstring changes nothing.
    packages = {parent / "__init__.py" for path in paths for parent in path.parents}
    used = paths | {path for path in packages if has_code(path)} | page_sources(modules)
    return sorted(path.as_posix() for path in used)


def page_sources(modules: set[str]) -> set[Path]:
    """What a stage that makes the page reads beside its modules."""
    if "mnist12k.report.page" not in modules:
        return set()
    return {path.relative_to(ROOT) for path in (ROOT / "src/mnist12k/report/page").iterdir()}


def has_code(path: Path) -> bool:
    if not (ROOT / path).is_file():
        return False
    statements = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return any(not isinstance(statement, ast.Expr) for statement in statements)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_that_it_imports_and_on_no_other(stage: str) -> None:
    listed = [path for path in STAGES[stage]["deps"] if path.startswith("src/")]
    assert listed == imported_files(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_name_is_its_commands_its_modules_and_its_params_section(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"mnist12k {stage}"
    assert (ROOT / f"src/mnist12k/stages/{stage}.py").is_file()
    assert stage in Params.model_fields or stage == "report"  # it shows others' choices
    expected = {
        "fetch": list(Params.model_fields),  # a mistake anywhere stops the first stage
        "train": ["recipes", "train"],
        "report": ["backprop", "fetch", "recipes", "train"],
        "seeds": ["recipes", "seeds"],
        "tune": ["recipes", "train.device", "train.validation_size", "tune"],
    }
    assert STAGES[stage]["params"] == expected.get(stage, [stage])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reports_into_the_folder_of_its_name(stage: str) -> None:
    outputs = [out for kind in ("outs", "plots", "metrics") for out in STAGES[stage].get(kind, [])]
    paths = [out if isinstance(out, str) else next(iter(out)) for out in outputs]
    reports = [path for path in paths if path.startswith("reports/")]
    if stage == "report":
        assert reports == ["reports/index.html"]
    else:
        assert all(path.startswith(f"reports/{stage}/") for path in reports)

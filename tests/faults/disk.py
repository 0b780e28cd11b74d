"""Fill the disk, run a command, free the disk, run it again."""

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from project import ROOT, TRAINED
from tune_command import set_tune

from faults.case import ERROR, WARNING, Case, NotRunError, assert_no_traceback, generator
from faults.templates import Templates, copy_complete, files_below

# What each command replaces.
OUTPUTS = {
    "fetch": ("data",),
    "backprop": ("reports/backprop",),
    "train": ("models", *TRAINED[1:]),
    "evaluate": ("reports/evaluate", "reports/train/model_summary.txt"),
    "report": ("reports/index.html",),
    "publish": (),
    "tune": ("reports/tune",),
}
SMALLEST, LARGEST = 4, 4000  # KiB left
# At the end of every output of an earlier run; in JSON, it changes nothing.
OLD, OLD_JSON = b"\nold", b"\n \n"

# A file system of its own, visible only to this script and its children.
NAMESPACE = ["unshare", "--map-root-user", "--mount", "sh", "-euc"]
SCRIPT = """
mount -t tmpfs -o size=64m none disk
cp -a project/. disk
cd disk
free=$(df -k --output=avail . | tail -n 1)
head -c "$(( (free - LEFT) * 1024 ))" /dev/zero > ballast
for time in full freed; do
  mkdir ../$time
  code=0
  COMMAND > ../$time/out 2> ../$time/err || code=$?
  echo $code > ../$time/code
  cp -a models reports data ../$time
  find . -name '.tmp-*' > ../$time/temporary
  rm -f ballast
done
"""


def can_mount(folder: Path) -> bool:
    """Return whether a file system can be mounted below a folder."""
    if shutil.which("unshare") is None:
        return False
    command = [*NAMESPACE, "mount -t tmpfs -o size=64k none ."]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def cases(templates: Templates, seed: int, per_command: int) -> Iterator[Case]:
    """Yield every command with this many random sizes of the disk."""
    draw = generator(seed)
    for command in OUTPUTS:
        for _ in range(per_command):
            left = round(math.exp(draw.uniform(math.log(SMALLEST), math.log(LARGEST))))
            label = f"mnist12k {command} with {left} KiB left"
            check = partial(check_disk, templates, command, left)
            yield Case("full disk", label, check, processes=True)


def check_disk(templates: Templates, command: str, left: int, folder: Path) -> None:
    """Run the command on a full disk and after space was freed; compare its outputs."""
    if not can_mount(folder):
        raise NotRunError("this user cannot mount a file system")
    project = copy_complete(templates.trained, folder / "project")
    set_tune(project, trials=2, finalists=1, finalist_budget=8, workers=1, pruner="none")
    _prepare(project, command, templates)
    old = _outputs(project, command)
    (folder / "disk").mkdir()
    script = SCRIPT.replace("LEFT", str(left)).replace("COMMAND", f"mnist12k {command}")
    programs = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        [*NAMESPACE, script],
        cwd=folder,
        env={
            "PATH": programs,
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, freed = folder / "full", folder / "freed"
    _assert_one_line(full)
    new = _outputs(full, command)
    if int((full / "code").read_text()):
        changed = [name for name in old | new if old.get(name) != new.get(name)]
        assert changed == [], f"the earlier outputs are changed: {changed}"
    else:
        kept = [name for name, data in new.items() if data.endswith((OLD, OLD_JSON))]
        assert kept == [], f"it ended well, but left as they were: {kept}"
    assert (full / "temporary").read_text() == "", (full / "temporary").read_text()
    assert (freed / "code").read_text() == "0\n", (freed / "err").read_text()[-500:]
    lines = (freed / "err").read_text().splitlines()
    if command == "tune":  # the journal may have lost its last line
        lines = [line for line in lines if "optuna.journal: " not in line]
    assert lines == [], lines
    written = _outputs(freed, command)
    kept = [name for name, data in written.items() if data.endswith((OLD, OLD_JSON))]
    assert kept == [], f"not replaced after space was freed: {kept}"
    assert old.keys() <= written.keys(), f"missing: {sorted(old.keys() - written.keys())}"


def _prepare(project: Path, command: str, templates: Templates) -> None:
    """Make the outputs those of an earlier run, which differ from what the command will write."""
    if command == "fetch":
        params = project / "params.yaml"
        text = params.read_text(encoding="utf-8")
        text = text.replace("source: auto", f"source: {templates.idx_folder}", 1)
        for name, digest in templates.idx_sha256.items():
            start = text.index(f"    {name}: ") + len(f"    {name}: ")
            text = text[:start] + digest + text[start + 64 :]
        params.write_text(text, encoding="utf-8")
    for output in OUTPUTS[command]:
        paths = [project / output, *(project / output).rglob("*")]
        for path in paths:
            if path.is_file():
                with path.open("ab") as file:
                    file.write(OLD_JSON if path.suffix == ".json" else OLD)


def _outputs(root: Path, command: str) -> dict[str, bytes]:
    outputs: dict[str, bytes] = {}
    for output in OUTPUTS[command]:
        path = root / output
        if path.is_dir():
            files = files_below(path).items()
            outputs |= {f"{output}/{name}": content for name, content in files}
        elif path.is_file():
            outputs[output] = path.read_bytes()
    return outputs


def _assert_one_line(folder: Path) -> None:
    """Check that a failure is one line of error, and a store that fails one warning."""
    code, err = int((folder / "code").read_text()), (folder / "err").read_text()
    assert_no_traceback(err)
    assert code in (0, 2), f"exit code {code}: {err[-300:]}"
    lines = err.splitlines()
    assert len(lines) <= 1 + bool(code), f"{len(lines)} lines: {lines}"
    assert all(line.startswith((ERROR, WARNING)) for line in lines), lines
    assert sum(line.startswith(ERROR) for line in lines) == bool(code), lines

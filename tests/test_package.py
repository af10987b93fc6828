"""Tests of the package's layout: one name per module, who imports whom, and what an import costs."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("callbacks", "datamodules", "models", "probes")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
GROUND = {"files", "errors", "printable", "dependencies"}
# What of ours each folder may import beside itself, from the ground upwards; nothing imports upwards.
MAY_IMPORT: dict[str, set[str]] = {
    "files": {"errors", "printable"},
    "probes": set(),
    "datamodules": {"files"},
    "models": {"datamodules", "files"},
    # Lightning's loaders have names for all of these; what checkpoints of any trainer hold is read in one place
    "callbacks": {"probes", "datamodules.set_names", "models.parts.weights", "models.parts.optimizer_state"} | GROUND,
    # what is saved has to know where the loops are, and what is interrupted gives up its fits
    "run": {"callbacks.guards", "models.parts.weights", "probes.giving_up"} | GROUND,
    "results": {"run"} | GROUND,
    "plotting": {"probes", "datamodules", "callbacks", "results"} | GROUND,
    "pages": {"plotting", "callbacks", "results"} | GROUND,
    "fit": {"probes", "datamodules", "models", "callbacks", "run", "results"} | GROUND,
    "experiments": {"probes", "datamodules", "models", "callbacks", "run", "results", "pages", "fit"} | GROUND,
    "__main__": {"commands"},
}
INNER = [file for file in sorted((ROOT / "stratoscope").rglob("*.py")) if not {*FOLDERS} & {*file.parts[-4:-1]}]
HEAVY = {"matplotlib", "pandas", "sklearn", "wandb"}
each_folder = pytest.mark.parametrize("folder", FOLDERS)
each_module = pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))


def name_of(file: Path) -> str:
    """The name a file is imported under."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    inside = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(inside if inside[0] == "stratoscope" else ("stratoscope", *inside))


def imports(source: str, only_on_import: bool = False) -> set[str]:
    """Everything a source text imports, as `module` or `module.name`; relative imports begin with dots.

    Args:
        source: Python.
        only_on_import: Whether to leave out what is imported in functions or for type checkers only.
    """
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if only_on_import:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                waiting += node.orelse
                continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
        waiting += ast.iter_child_nodes(node)
    return found


def inside(name: str, packages: set[str]) -> bool:
    """Whether a dotted name is one of some packages or lies in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def test_shapes_are_checked_wherever_there_are_any() -> None:
    """The tests' type checker is given all the modules that name shapes."""
    words = PYPROJECT["tool"]["pytest"]["ini_options"]["addopts"].rpartition("--jaxtyping-packages=")[2]
    checked = set(words.split(","))
    shaped = {
        name_of(file) for file in MODULES if any(inside(name, {"jaxtyping"}) for name in imports(file.read_text()))
    }
    assert shaped
    assert [name for name in sorted(shaped) if not inside(name, checked)] == []


def test_imports_are_found() -> None:
    """The search that the tests below rest on sees every kind of import, and tells the lazy ones apart."""
    source = """
import stratoscope.fit.command as cli
from stratoscope import probes
from . import sibling
try:
    import wandb.sdk
except ImportError:
    pass
if TYPE_CHECKING:
    import pandas
else:
    import torch
class Late:
    from sklearn import svm
    def method(self):
        from matplotlib import pyplot
"""
    early = {"stratoscope.fit.command", "stratoscope.probes", "..sibling", "wandb.sdk", "torch", "sklearn.svm"}
    assert imports(source, only_on_import=True) == early
    assert imports(source) == early | {"pandas", "matplotlib.pyplot"}
    assert inside("stratoscope.probes.reading.taps", {"stratoscope.probes"})
    assert not inside("stratoscope.probes_table", {"stratoscope.probes"})


@each_folder
def test_a_folder_has_its_link_and_its_mapping(folder: str) -> None:
    """Each folder is mapped into the wheel, its link kept out of it, and both known to the tools."""
    link = ROOT / "stratoscope" / folder
    if not any((ROOT / "stratoscope" / name).is_symlink() for name in FOLDERS):
        pytest.skip("this checkout has lost its links, as zip files do: only type checkers need them")
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder
    assert (link / "__init__.py").is_file()
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["sources"][folder] == f"stratoscope/{folder}"
    assert folder in wheel["only-include"]
    assert f"/stratoscope/{folder}" in wheel["exclude"]
    assert folder in PYPROJECT["tool"]["pyright"]["include"]
    assert folder in PYPROJECT["tool"]["coverage"]["run"]["source"]
    assert f"stratoscope/{folder}" in PYPROJECT["tool"]["ruff"]["extend-exclude"]
    assert folder in PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]


def test_types_and_licence_are_offered() -> None:
    """The marker of PEP 561 is in what the wheel holds, and the licence that is named is there, whole."""
    assert (ROOT / "stratoscope" / "py.typed").is_file()
    assert "stratoscope" in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    licence = (ROOT / "LICENSE").read_text()
    assert licence.strip().startswith("Apache License")
    assert "END OF TERMS AND CONDITIONS" in licence
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["license"], cited["version"]) == ("Apache-2.0", PYPROJECT["project"]["version"])


def test_issue_forms_ask_for_what_doctor_says() -> None:
    """Each of them, and a bug's in any case."""
    for name in ("bug", "wish"):
        form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
        asked = [part for part in form["body"] if "stratoscope doctor" in part["attributes"]["label"]]
        assert len(asked) == 1
        assert name != "bug" or asked[0]["validations"]["required"]


def test_there_is_no_fifth_folder_half_made() -> None:
    """The folders mapped into the wheel are the four and the configs; no other folder of the root is a package."""
    sources = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["sources"]
    assert set(sources) == {*FOLDERS, "configs"}
    assert {file.parent.name for file in ROOT.glob("*/__init__.py")} == {*FOLDERS, "stratoscope"}


def test_every_module_has_one_name() -> None:
    """After importing everything, each file of the four folders is one module, called stratoscope.<folder>.<file>."""
    for file in MODULES:
        importlib.import_module(name_of(file))
    names: dict[Path, list[str]] = {file: [] for file in MODULES}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "/").resolve()
        if path in names:
            names[path].append(name)
    assert names == {file: [name_of(file)] for file in MODULES}
    assert not set(FOLDERS) & set(sys.modules)


@pytest.mark.parametrize("file", [*MODULES, *INNER], ids=lambda file: str(file.relative_to(ROOT)))
def test_import_rules(file: Path) -> None:
    """A module imports of ours only what its folder may, always by the name that begins with stratoscope."""
    found = imports(file.read_text())
    folder = [*name_of(file).split("."), ""][1]
    ours = {name for name in found if inside(name, {"stratoscope"})} - {"stratoscope"}  # which knows the version
    if folder in MAY_IMPORT:
        allowed = {f"stratoscope.{name}" for name in {folder} | MAY_IMPORT[folder]}
        assert {name for name in ours if not inside(name, allowed)} == set()
    assert {name for name in found if name.startswith(".") or inside(name, set(FOLDERS))} == set()


def test_nothing_imports_in_a_circle() -> None:
    """Not even inside a function, or for type checkers."""
    files = {name_of(file): file for file in [*MODULES, *INNER]}
    needs = {name: {_module(found, files) for found in imports(file.read_text())} for name, file in files.items()}
    left = {name: found & files.keys() - {name} for name, found in needs.items()}
    while free := [name for name, found in left.items() if not found]:
        left = {name: found - {*free} for name, found in left.items() if name not in free}
    assert not left, "these import each other, or what does"


def _module(name: str, files: dict[str, Path]) -> str:
    """The module that an imported name is, or is in."""
    return name if name in files else name.rpartition(".")[0]


def test_models_take_the_batch_type_and_the_names_of_sets_only() -> None:
    """Of the data modules the models know nothing but what a batch is."""
    found = set().union(*(imports(file.read_text()) for file in (ROOT / "models").rglob("*.py")))
    taken = {name for name in found if inside(name, {"stratoscope.datamodules"})}
    assert taken == {"stratoscope.datamodules.Batch", "stratoscope.datamodules.set_names.named_sets"}


def test_every_module_has_a_test_file_of_its_name() -> None:
    """Under the same path in tests/, so that one knows where to look; with tests in it."""
    for file in [*MODULES, *INNER]:
        if file.name != "__init__.py":
            place = file.relative_to(ROOT)
            tests = ROOT / "tests" / place.with_name(f"test_{place.name}")
            assert tests.is_file(), f"{place} has no {tests.relative_to(ROOT)}"
            assert re.search(r"^\s*def test_", tests.read_text(), re.MULTILINE), (
                f"no tests in {tests.relative_to(ROOT)}"
            )


def test_probes_are_pure_pytorch() -> None:
    """No probe knows Lightning, a logger or a file format; pandas only to hand results on."""
    found = set().union(*(imports(file.read_text()) for file in (ROOT / "probes").rglob("*.py")))
    assert {
        name
        for name in found
        if inside(name, {"lightning", "torchmetrics", "torchvision", "logging", *HEAVY} - {"pandas"})
    } == set()


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """No module of ours imports matplotlib, pandas, scikit-learn or W&B when it is itself imported."""
    for file in [*MODULES, *INNER]:
        found = imports(file.read_text(), only_on_import=True)
        assert {name for name in found if inside(name, HEAVY)} == set(), file


@pytest.mark.slow
def test_the_command_line_imports_no_heavy_library() -> None:
    """Importing the command line leaves pandas, scikit-learn and W&B alone (torchmetrics imports matplotlib itself)."""
    heavy = sorted(HEAVY - {"matplotlib"})
    code = f"import sys, stratoscope.fit.command; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

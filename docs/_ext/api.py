"""The public API, from the source: what a package's `__init__` imports, by the module it is from."""

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from docs._ext.docstrings import first_line, markdown

Definition = ast.ClassDef | ast.FunctionDef
PACKAGES = ("probes", "models", "datamodules", "callbacks")
LOADING = ("DamagedRun", "RunRecord", "find_runs", "load_run")  # what load_runs reads, a run at a time


def api(package: str) -> str:
    """The reference of a package, as Markdown: a section for each of its modules.

    Args:
        package: probes, models, datamodules or callbacks.
    """
    parts = [f"```{{py:module}} stratoscope.{package}\n```"]
    for module, names in public(package).items():
        tree = _tree(module)
        said = ast.get_docstring(tree) or ""
        rest = said.partition("\n\n")[2]
        parts += [f"## {first_line(' '.join(said.partition(chr(10) * 2)[0].split()))}", f"`{module}`"]
        parts += [markdown(rest, linked_name)] if rest else []
        parts += [_described(found, f"stratoscope.{package}") for found in _definitions(tree, names)]
        parts += _constants(tree, names)
    return "\n\n".join(parts)


def loading() -> str:
    """The reference of what reads runs: `load_runs`, and beside it what reads one run."""
    parts = ["```{py:module} stratoscope\n```"]
    for module, names in _loading().items():
        home = "stratoscope" if "load_runs" in names else "stratoscope.results"
        parts += [f"```{{py:currentmodule}} {home}\n```"]
        parts += [_described(found, home) for found in _definitions(_tree(module), names)]
    return "\n\n".join(parts)


def public(package: str) -> dict[str, list[str]]:
    """Names that a package exports, by the module they are from.

    Args:
        package: probes, models, datamodules or callbacks.
    """
    found: dict[str, list[str]] = {}
    for node in _tree(f"stratoscope.{package}").body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.setdefault(node.module, []).extend(alias.asname or alias.name for alias in node.names)
    return found


def _loading() -> dict[str, list[str]]:
    return {"stratoscope.results.frame": ["load_runs"], "stratoscope.results.record": list(LOADING)}


def homes() -> dict[str, str]:
    """All public names, and the package that each is imported from."""
    found = {
        name: f"stratoscope.{package}" for package in PACKAGES for names in public(package).values() for name in names
    }
    return {**found, **dict.fromkeys(LOADING, "stratoscope.results"), "load_runs": "stratoscope"}


def linked_name(name: str) -> str | None:
    """A public name as a link."""
    home = homes().get(name.partition("(")[0])
    return f"{{py:obj}}`~{home}.{name}`" if home and name.isidentifier() else None


def _tree(module: str) -> ast.Module:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no module {module}")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _definitions(tree: ast.Module, names: list[str]) -> Iterator[Definition]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in names:
            yield node


def _constants(tree: ast.Module, names: list[str]) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name) and target.id in names:
            yield f"```{{py:data}} {target.id}\n:value: {ast.unparse(node.value)}\n```"


def _described(node: Definition, home: str, fence: int = 6) -> str:
    """A class with its public methods, or a function."""
    said = markdown(ast.get_docstring(node) or "", linked_name)
    ticks = "`" * fence
    if isinstance(node, ast.FunctionDef):
        kind = "property" if "property" in _decorators(node) else "method" if fence < 6 else "function"
        options = [
            f":{name}:" for name in ("classmethod", "staticmethod", "abstractmethod") if name in _decorators(node)
        ]
        signature = (
            "" if kind == "property" else _signature(node.args, node.returns, skip=fence < 6 and not _static(node))
        )
        head = [f"{ticks}{{py:{kind}}} {node.name}{signature}", *options]
        if kind == "property" and node.returns:
            head.append(f":type: {ast.unparse(node.returns)}")
        return "\n".join([*head, "", said, ticks])
    inside = [said, *(_described(method, home, fence - 1) for method in _methods(node))]
    return "\n".join([f"{ticks}{{py:class}} {node.name}{_made_by(node)}", "", "\n\n".join(inside), ticks])


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Those that have something to say and are not Lightning's hooks, which nobody calls."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and not child.name.startswith(("_", "on_")) and ast.get_docstring(child):
            if not any(name.endswith(".setter") for name in _decorators(child)):
                yield child


def _decorators(node: ast.FunctionDef) -> set[str]:
    return {ast.unparse(one) for one in node.decorator_list}


def _static(node: ast.FunctionDef) -> bool:
    return "staticmethod" in _decorators(node)


def _signature(arguments: ast.arguments, returns: ast.expr | None, skip: bool) -> str:
    """The arguments as in the source, without self, and what is returned."""
    if skip:
        rest = arguments.posonlyargs[1:] if arguments.posonlyargs else arguments.args[1:]
        arguments = ast.arguments(
            [], rest, arguments.vararg, arguments.kwonlyargs, arguments.kw_defaults, arguments.kwarg, arguments.defaults
        )
    shown = ast.unparse(arguments)
    return f"({shown})" + (f" -> {ast.unparse(returns)}" if returns else "")


def _made_by(node: ast.ClassDef) -> str:
    """The arguments of a class: of its own constructor, or the fields of a data class or named tuple."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return _signature(child.args, None, skip=True)
    decorated = any("dataclass" in ast.unparse(one) for one in node.decorator_list)
    if decorated or any(ast.unparse(base) == "NamedTuple" for base in node.bases):
        fields = [
            ast.unparse(child)
            for child in node.body
            if isinstance(child, ast.AnnAssign) and "ClassVar" not in ast.unparse(child.annotation)
        ]
        return f"({', '.join(fields)})"
    return ""

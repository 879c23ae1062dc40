"""Read the arguments of a class or function from its source, because importing PyTorch would take seconds."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path


def written_arguments(target: str) -> list[str] | None:
    """Return the names of the arguments of `target`, such as "torch.optim.SGD", without importing it.

    None if the source doesn't tell: `target` doesn't exist, takes any (`**kwargs`), inherits its `__init__`, is decorated, or is in
    a file that can't be parsed.
    """
    node = _definition(*target.rpartition(".")[::2])
    if isinstance(node, ast.ClassDef):
        written = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if not written:
            return _fields(node)
        function = written[0]
    elif isinstance(node, ast.FunctionDef) and not node.decorator_list:
        function = node
    else:
        return None
    if function.args.kwarg:
        return None
    arguments = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return arguments[isinstance(node, ast.ClassDef) :] + [argument.arg for argument in function.args.kwonlyargs]


def _fields(node: ast.ClassDef) -> list[str] | None:
    """Return the fields of a dataclass without bases; None for another class."""
    decorators = [ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list]
    if "dataclass" not in decorators or node.bases:
        return None
    return [
        part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    ]


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """Find where `name` is defined: in `module`, or in the module from which that imports it."""
    if (file := _file(module)) is None:
        return None
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for part in _statements(file):
        if isinstance(part, (ast.ClassDef, ast.FunctionDef)) and part.name == name:
            return part
        if isinstance(part, ast.ImportFrom):
            for alias in part.names:
                if name == (alias.asname or alias.name):
                    return _definition(resolve_name("." * part.level + (part.module or ""), package), alias.name)
    return None


@cache
def _statements(file: Path) -> list[ast.stmt]:
    """Parse a file; return nothing if that fails."""
    try:
        return ast.parse(file.read_bytes()).body
    # Beside SyntaxError: Python 3.11's parser was seen to raise SystemError, and deep nesting exhausts recursion or memory.
    except Exception:
        return []


def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    spec = find_spec(top) if top else None  # for a subpackage, `find_spec` would import its parent
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*rest)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file if file.is_file() else None

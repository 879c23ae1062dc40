"""List the commands: `python -m adnet`; print the version: `python -m adnet --version`."""

import ast
import sys
from difflib import get_close_matches
from pathlib import Path

from adnet import __version__
from adnet.shared.command import conf_dir


def commands() -> dict[str, str]:
    """Return the purpose of each entry point by its name: the start of its docstring, which is read without importing it."""
    here = Path(__file__).parent
    purposes = {}
    for name in sorted(config.stem for config in conf_dir().glob("*.yaml")):
        package = here / name / "__main__.py"
        file = package if package.is_file() else here / f"{name}.py"
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        purposes[name] = docstring.splitlines()[0].partition(": `python")[0].rstrip(".")
    return purposes


def main() -> None:
    """Answer the command line; exit with code 1 for an unknown option."""
    words = sys.argv[1:]
    if words == ["--version"]:
        print(f"adnet {__version__}")
        return
    purposes = commands()
    if words and words[0] not in ("-h", "--help"):
        near = get_close_matches(words[0].removeprefix("adnet."), purposes, n=1)
        hint = f"did you mean python -m adnet.{near[0]}?" if near else "python -m adnet lists the commands"
        print(f"adnet: no option {words[0]}; {hint}", file=sys.stderr)
        sys.exit(1)
    width = max(map(len, purposes))
    print(f"adnet {__version__}: unsupervised video object segmentation by anchor diffusion\n")
    for name, line in purposes.items():
        print(f"  python -m adnet.{name:{width}}  {line}")
    print("\nEach takes KEY=VALUE arguments; --help lists them, --version prints the version of adnet.")


if __name__ == "__main__":
    main()

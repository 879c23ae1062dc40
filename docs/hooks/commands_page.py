"""The pages `reference/commands.md`, `reference/groups.md` and `reference/default_config.md`: every option, read from the configs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from adnet.shared.check_config import TYPES, argument_types, value_type
from adnet.shared.value_types import described

PRIVATE = {"_target_", "_convert_", "_partial_", "defaults", "hydra"}
COMMANDS = """# Commands

`python -m adnet.NAME key=value ...`. This page is made from the configs in `conf`. `--cfg job` prints the resulting config,
`--help` the options. A misspelt key is refused with the nearest name, a value out of its range with the range. `python -m adnet.NAME -m
key=1,2` runs several jobs ([sweeps](../sweeps.md)).

*required* means that there is no default. The values of a group are its choices on the page [Groups](groups.md); an option of a choice
is written `GROUP.OPTION=value`.
"""
GROUPS = """# Groups

What may be chosen by name: `data=davis2016`, `model=full`. This page is made from the configs in `conf`. A choice that inherits another
one's options says so, and lists only what differs. [Commands](commands.md) says which command has which group.
"""
DEFAULT_CONFIG = """# The default config

The settings of `python -m adnet.train` without arguments, with reasons: a section for each group's default, then the
options outside groups; the group `scale` sets the *required* ones. `python -m adnet.train --cfg job` prints the
complete config. This page is made from the configs in `conf`.
"""


class Option(NamedTuple):
    """One key of a config: its path, its value as written, its type and limits, and its comment."""

    name: str
    default: Any
    expected: str
    comment: str


def head(text: str) -> str:
    """The comment that a file begins with, without Hydra's own."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").strip())
    return escaped(" ".join(lines))


def escaped(comment: str) -> str:
    """A comment escaped for Markdown, so that `<sequence>` is no tag, a bar no column, and `[scale=lite] [key=value]` no link."""
    return comment.replace("<", "&lt;").replace("|", "&#124;").replace("[", "&#91;")


def comments(text: str) -> dict[str, str]:
    """The comment at the end of a key's line, by the key's path."""
    found, path = {}, []
    for line in text.splitlines():
        match = re.match(r"( *)([\w./@]+):(.*)$", line)
        if not match:
            continue
        path = [*path[: len(match[1]) // 2], match[2]]
        if comment := re.search(r"(?:^|\s)#\s*(.+)$", match[3]):
            found[".".join(path)] = escaped(comment[1])
    return found


@cache
def known_types(conf: Path) -> dict[str, Any]:
    """The type of each argument of every `_target_`, by path: `scale=lite` overrides `pairs.batch_size` without a `_target_`."""
    found: dict[str, Any] = {}

    def walk(node: dict[str, Any], path: str) -> None:
        for argument, hint in argument_types(node["_target_"]).items() if "_target_" in node else ():
            found.setdefault(f"{path}{argument}", hint)
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{path}{key}.")

    for file in sorted(conf.rglob("*.yaml")):
        group = file.parent.relative_to(conf).as_posix().replace("/", ".")
        text = file.read_text(encoding="utf-8")
        walk(yaml.safe_load(text) or {}, "" if group == "." or "@package _global_" in text else f"{group}.")
    return found


def options(conf: Path, text: str, prefix: str) -> Iterator[Option]:
    """Every option that a config sets, in the config's order."""
    said = comments(text)

    def walk(node: dict[str, Any], path: str) -> Iterator[Option]:
        for key, value in node.items():
            name = f"{path}{key}"
            if key in PRIVATE:
                continue
            if isinstance(value, dict):
                yield from walk(value, f"{name}.")
            else:
                full = f"{prefix}{name}"
                target = node.get("_target_")
                hint = known_types(conf).get(full) if full not in TYPES and target is None else None
                hint = value_type(full, value, target) if hint is None else hint
                yield Option(full, value, "" if hint is Any else described(hint), said.get(name, ""))

    yield from walk(yaml.safe_load(text) or {}, "")


def shown(value: Any) -> str:
    """A default, as typed on a command line."""
    if value == "???":
        return "*required*"
    if isinstance(value, str):
        return f"`{value}`" if value else "`''`"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]
    return f"`{text.replace(', ', ',')}`"


def table(found: list[Option]) -> str:
    """Options as Markdown."""
    if not found:
        return ""
    rows = [f"| `{o.name}` | {shown(o.default)} | {o.expected} | {o.comment} |" for o in found]
    return "\n".join(["| option | default | type and limit | |", "| --- | --- | --- | --- |", *rows]) + "\n"


def defaults(text: str) -> list[tuple[str, str]]:
    """The groups of a config and the choice for each, without Hydra's own; for a bare name, the group is empty."""
    chosen = []
    for entry in (yaml.safe_load(text) or {}).get("defaults", []):
        if isinstance(entry, str):
            chosen += [] if entry == "_self_" else [("", entry)]
        else:
            ((group, choice),) = entry.items()
            group = group.removeprefix("override ").removeprefix("/")
            chosen.append((group, f"[{','.join(choice)}]" if isinstance(choice, list) else str(choice)))
    return [(group, choice) for group, choice in chosen if not group.startswith("hydra/")]


def commands_page(conf: Path, package: Path) -> str:
    """`reference/commands.md`."""
    parts = [COMMANDS]
    for file in sorted(conf.glob("*.yaml")):
        text, name = file.read_text(encoding="utf-8"), file.stem
        module = package / f"{name}.py" if (package / f"{name}.py").is_file() else package / name / "__main__.py"
        about = (
            (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split("\n\n")[0].partition("\n")[0]
        )
        usage = text.partition("\n")[0].removeprefix("# ")
        parts.append(f"\n## {name}\n\n{re.sub(r': `python.*', '.', about)}\n\n```text\n{usage}\n```\n\n")
        groups = [
            f"| [`{group}`](groups.md#{group}) | `{choice}` | {', '.join(f'`{one}`' for one in choices(conf / group))} |"
            for group, choice in defaults(text)
        ]
        if groups:
            parts.append("\n".join(["| group | default | choices |", "| --- | --- | --- |", *groups]) + "\n\n")
        parts.append(table(list(options(conf, text, ""))))
    return "".join(parts)


def choices(folder: Path) -> list[str]:
    """The choices of a group."""
    return [file.stem for file in sorted(folder.glob("*.yaml"))]


def groups_page(conf: Path) -> str:
    """`reference/groups.md`."""
    parts = [GROUPS]
    for folder in sorted({file.parent for file in conf.glob("*/**/*.yaml")}):
        group = folder.relative_to(conf).as_posix()
        parts.append(f"\n## {group}\n\n")
        for file in sorted(folder.glob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            prefix = "" if "@package _global_" in text else f"{group.replace('/', '.')}."
            parts.append(f"### {group}={file.stem}\n\n{head(text)}\n\n")
            begins = [f"`{where}={choice}`" if where else f"`{group}={choice}`" for where, choice in defaults(text)]
            if begins:
                parts.append(
                    f"Takes {', '.join(begins)}" + (", and:\n\n" if list(options(conf, text, prefix)) else ".\n\n")
                )
            parts.append(table(list(options(conf, text, prefix))) + "\n")
    return "".join(parts)


def default_config_page(conf: Path) -> str:
    """`reference/default_config.md`."""

    def parts(group: str, name: str) -> Iterator[str]:
        text = (conf / group / f"{name}.yaml").read_text(encoding="utf-8")
        for below, choice in defaults(text):
            # Without a group, a config names a base config of its own group; `mix` has no choice by default.
            if (conf / (below or group) / f"{choice}.yaml").is_file():
                yield from parts(below or group, choice)
        prefix = "" if "@package _global_" in text else f"{group.replace('/', '.')}."
        title = f"{group}={name}" if group else "Outside of groups"
        yield f"\n## {title}\n\n{head(text)}\n\n{table(list(options(conf, text, prefix if group else '')))}"

    return DEFAULT_CONFIG + "".join(parts("", "train"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    conf, package = root / "conf", root / "src" / "adnet"
    files.append(File.generated(config, "reference/commands.md", content=commands_page(conf, package)))
    files.append(File.generated(config, "reference/groups.md", content=groups_page(conf)))
    files.append(File.generated(config, "reference/default_config.md", content=default_config_page(conf)))
    return files

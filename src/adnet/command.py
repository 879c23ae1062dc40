"""What the entry points share: a Hydra main that answers a user's mistake with one line."""

from __future__ import annotations

import errno
import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeAlias

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adnet import __version__
from adnet.allocator import keep_freed_memory
from adnet.check_values import check_values
from adnet.completion import complete_module
from adnet.console import quiet
from adnet.errors import UserError
from adnet.written_arguments import written_arguments

_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_NO_PLACE |= {errno.EIO, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY}
_NO_PLACE |= {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}  # a file where a folder is wanted, or the other way round
_ArgumentsOf: TypeAlias = Callable[[str, str], "list[str] | None"]
"""Of a `_target_` at a path of the config."""
_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def conf_dir() -> Path:
    """The configs: beside the package in a wheel, at the top of a checkout."""
    shipped = Path(__file__).parent / "conf"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "conf"


def command(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make `main(cfg)` an entry point that composes `conf/NAME.yaml`.

    A user's mistake (UserError, an unknown config, group or key, a missing value) ends in one line on stderr and exit code
    1, with the nearest name where there is one; so do a full disk, a folder that may not be written, and a file in its place.
    Everything else keeps its traceback: it is our mistake. Unless `hydra.verbose=true`, libraries' remarks are silenced.

    What needs PyTorch is imported inside of `main`: help, `--cfg`, completion and a misspelt key are answered without it.
    """

    def decorate(main: Callable[[DictConfig], None]) -> Callable[[], None]:
        def checked(cfg: DictConfig) -> None:
            # Leaving from inside the job spares the reader Hydra's own line about it.
            with _in_one_line(name, run_dir()):
                if not HydraConfig.get().verbose:
                    quiet()
                check_config(cfg, name)
                main(cfg)

        def entry() -> None:
            # Hydra else prints errors in its own words and leaves before we can say ours.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            if "--version" in sys.argv[1:]:  # which Hydra would answer with its own
                print(f"adnet {__version__}")
                return
            keep_freed_memory()
            with _in_one_line(name):
                if complete_module():
                    return
                try:
                    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(checked)()
                finally:
                    sys.stdout.flush()  # here, where a closed pipe can be met

        return entry

    return decorate


@contextmanager
def _in_one_line(name: str, folder: Path | None = None) -> Iterator[None]:
    """Leave with one line for what is not our mistake, and without `folder` if nothing came to be in it."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("stopped by the user")
    except BrokenPipeError:
        # As a program does whose reader (`| head`) has gone; what is left to be written can't fail any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + getattr(signal, "SIGPIPE", 13))  # Windows has no such signal
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if folder:
            _remove_if_empty(folder)
        _leave(_explain(error, name))
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        reason = "a file is there, not a folder" if error.errno == errno.EEXIST else error.strerror
        _leave(f"cannot read or write {error.filename2 or error.filename or 'a file'}: {reason}")
    except ValueError as error:
        if "Config group override must be a string" not in str(error):
            raise
        _leave("a config group can't be null: choose one (model=NAME), or leave it out (~logger)")


def check_config(cfg: DictConfig, name: str) -> None:
    """Raise UserError for a key of `conf/NAME.yaml` that nothing reads, or a value that nothing could be built with."""
    check_keys(cfg, name)
    check_values(cfg, _composed(name))


def check_keys(cfg: DictConfig, name: str) -> None:
    """Raise UserError for a key that nothing reads, which `+` would let through.

    Those keys are known that are arguments of their `_target_` and, where there is none, those that `conf/NAME.yaml`
    composes to; below the top (`logger`, `callbacks`) more of what has a `_target_` of its own may be there.
    """
    given, usual = _plain(cfg), _plain(_composed(name))
    _check_node(
        given, usual, "", lambda target, _: written_arguments(target)
    )  # most mistakes, before anything is imported
    _check_node(given, usual, "", _arguments)


def _check_node(node: dict[str, Any], composed: Any, path: str, arguments_of: _ArgumentsOf) -> None:
    if "_target_" in node:
        if (arguments := arguments_of(node["_target_"], path)) is not None:
            _check_names(node, arguments, path)
        composed = None
    elif isinstance(composed, dict) and "_target_" not in composed:
        added = [key for key, child in node.items() if path and isinstance(child, dict) and "_target_" in child]
        _check_names(node, [*composed, *added], path)
    for key, child in node.items():
        if isinstance(child, dict):
            below = composed.get(key) if isinstance(composed, dict) else None
            _check_node(child, below, f"{path}{key}.", arguments_of)


def _arguments(name: str, path: str) -> list[str] | None:
    """Of the class or function `name`, which is imported; None where it takes any."""
    parameters = inspect.signature(_target(name, path)).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return None if takes_any else [parameter.name for parameter in parameters]


def _target(name: str, path: str) -> Callable[..., Any]:
    try:
        target: Callable[..., Any] = resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{path}_target_: there is no {name} ({error})") from error
    return target


def _plain(cfg: DictConfig) -> Any:
    # A node of value null is a DictConfig too, and can't be iterated.
    return OmegaConf.to_container(cfg)


def _check_names(node: dict[str, Any], known: Iterable[str], path: str) -> None:
    known = set(known)
    for key in node:
        if key not in known and key not in _HYDRA_KEYS:
            raise UserError(f"unknown key {path}{key}" + _nearest(str(key), known, path))


def _nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    known = sorted({*known} - _HYDRA_KEYS)
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else f"; known are: {', '.join(known) or 'none'}"


@cache
def _composed(name: str) -> DictConfig:
    """What `conf/NAME.yaml` is without overrides."""
    loader = GlobalHydra.instance().config_loader()
    cfg: DictConfig = loader.load_configuration(name, [], hydra.types.RunMode.RUN, validate_sweep_overrides=False)
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg


def _explain(error: BaseException, name: str) -> str:
    """One line for what Hydra says in several, with the nearest name that there is."""
    if (mistake := _mistake(error)) is not None:
        # PyTorch puts a loader worker's traceback around the message.
        return str(mistake).rpartition(f"{UserError.__module__}.{UserError.__name__}: ")[2]
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and (extra := option.partition("_")[0]) in ("joblib", "submitit"):
            return f"launcher={option} needs the extra: pip install 'adnet[{extra}]'"
        return f"no {group or 'config'} is called {option!r}" + _nearest(option, error.options or ())
    match = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and match:
        return f"unknown key {match[1]}{_nearest_key(match[1], name)}"
    if match := re.search(r"Missing mandatory value: (\S+)|Interpolation to missing value.*?'(\S+)'", text):
        key = match[1] or match[2]
        return f"{key} has no value: give {key}=..."
    if isinstance(error, HydraException) and error.__cause__ is not None:
        text += f" {error.__cause__}"
    return text


def _mistake(error: BaseException | None) -> UserError | None:
    """The UserError in a chain: Hydra wraps what is raised while it builds an object."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def _nearest_key(key: str, name: str) -> str:
    """The key of that name elsewhere; else the nearest of those beside it."""
    keys = _known_keys(name)
    parent, _, leaf = key.rpartition(".")
    if elsewhere := [known for known in keys if known != key and known.endswith(f".{leaf}")]:
        return f"; did you mean {elsewhere[0]}?"
    while parent and parent not in keys:
        parent = parent.rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    below = [known.removeprefix(prefix) for known in keys if known.startswith(prefix)]
    return _nearest(key.removeprefix(prefix), [known for known in below if "." not in known], prefix)


def _known_keys(name: str) -> list[str]:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = _plain(hydra.compose(name, return_hydra_config=True))
        groups = [group for group in GlobalHydra.instance().config_loader().list_groups("") if group != "hydra"]
    return groups + _paths(cfg, "")


def _paths(node: dict[str, Any], prefix: str) -> list[str]:
    return [
        path
        for key, child in node.items()
        for path in (f"{prefix}{key}", *(_paths(child, f"{prefix}{key}.") if isinstance(child, dict) else ()))
    ]


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder of a run that never began, and those above it down from the working directory."""
    here = Path.cwd()
    with suppress(OSError):  # not empty: something is worth keeping
        for path in (folder, *folder.parents):
            if path == here or (path != folder and here not in path.parents):
                break
            path.rmdir()


def _leave(message: str) -> None:
    print("adnet:", " ".join(message.split()), file=sys.stderr)
    sys.exit(1)


def run_dir() -> Path:
    """The folder of this run, which `hydra.run.dir` moves."""
    return Path(HydraConfig.get().runtime.output_dir)


def resolved(cfg: DictConfig) -> DictConfig:
    """`cfg` without interpolations, so that it can be read outside Hydra."""
    copy = cfg.copy()
    OmegaConf.resolve(copy)
    return copy

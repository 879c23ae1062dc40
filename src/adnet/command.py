"""What the entry points share: a Hydra main that answers a user's mistake with one line."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adnet.errors import UserError

_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def conf_dir() -> Path:
    """The configs: beside the package in a wheel, at the top of a checkout."""
    shipped = Path(__file__).parent / "conf"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "conf"


def command(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make `main(cfg)` an entry point that composes `conf/NAME.yaml`.

    A user's mistake (UserError, an unknown config, group or key, a missing value) ends in one line on stderr and exit code
    1, with the nearest name where there is one. Everything else keeps its traceback: it is our mistake.
    """

    def decorate(main: Callable[[DictConfig], None]) -> Callable[[], None]:
        def checked(cfg: DictConfig) -> None:
            # Leaving from inside the job spares the reader Hydra's own line about it.
            try:
                check_keys(cfg, name)
                main(cfg)
            except UserError as error:
                _leave(str(error))

        def entry() -> None:
            # Hydra else prints errors in its own words and leaves before we can say ours.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            try:
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(checked)()
            except KeyboardInterrupt:
                _leave("stopped by the user")
            except (HydraException, OmegaConfBaseException) as error:
                _leave(_explain(error, name))

        return entry

    return decorate


def check_keys(cfg: DictConfig, name: str) -> None:
    """Raise UserError for a key that nothing reads, which `+` would let through.

    At the top those keys are known that `conf/NAME.yaml` composes to; below, the arguments of each `_target_`.
    """
    _check_names(cfg, _composed(name), "")
    stack: list[tuple[str, DictConfig]] = [("", cfg)]
    while stack:
        path, node = stack.pop()
        if "_target_" in node:
            parameters = inspect.signature(get_object(node["_target_"])).parameters.values()
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                _check_names(node, [parameter.name for parameter in parameters], path)
        stack += [(f"{path}{key}.", child) for key, child in node.items_ex(resolve=False) if isinstance(child, DictConfig)]


def _check_names(node: DictConfig, known: Iterable[str], path: str) -> None:
    known = set(known)
    for key in node:
        if key not in known and key not in _HYDRA_KEYS:
            raise UserError(f"unknown key {path}{key}" + _nearest(str(key), known, path))


def _nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    known = sorted(known)
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {prefix}{near[0]}?" if near else f"; known are: {', '.join(known)}"


def _composed(name: str) -> DictConfig:
    loader = GlobalHydra.instance().config_loader()
    return loader.load_configuration(name, [], hydra.types.RunMode.RUN, validate_sweep_overrides=False).copy()


def _explain(error: Exception, name: str) -> str:
    """One line for what Hydra says in several, with the nearest name that there is."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"no {group or 'config'} is called {option!r}" + _nearest(option, error.options or ())
    if isinstance(error, ConfigCompositionException) and (match := re.search(r"Could not (?:override|delete) '?([\w./@]+)", text)):
        return f"unknown key {match[1]}" + _nearest(match[1], _known_keys(name))
    if match := re.search(r"Missing mandatory value: (\S+)|Interpolation to missing value.*?'(\S+)'", text):
        key = match[1] or match[2]
        return f"{key} has no value: give {key}=..."
    if isinstance(error, HydraException) and error.__cause__ is not None:
        text += " " + " ".join(str(error.__cause__).split())
    return text


def _known_keys(name: str) -> list[str]:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose(name, return_hydra_config=True)
        groups = [group for group in GlobalHydra.instance().config_loader().list_groups("") if group != "hydra"]
    keys: list[str] = []
    stack = [("", cfg)]
    while stack:
        path, node = stack.pop()
        for key, child in node.items_ex(resolve=False):
            keys.append(f"{path}{key}")
            if isinstance(child, DictConfig):
                stack.append((f"{path}{key}.", child))
    return groups + keys


def _leave(message: str) -> None:
    print(f"adnet: {message}", file=sys.stderr)
    sys.exit(1)


def run_dir() -> Path:
    """The folder of this run, which `hydra.run.dir` moves."""
    return Path(HydraConfig.get().runtime.output_dir)


def resolved(cfg: DictConfig) -> DictConfig:
    """`cfg` without interpolations, so that it can be read outside Hydra."""
    copy = cfg.copy()
    OmegaConf.resolve(copy)
    return copy

"""The Hydra main that all entry points share: it reports a user's mistake in one line."""

import errno
import io
import logging
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adnet import __version__
from adnet.errors import UserError, nearest
from adnet.shared.check_config import check_config, walk
from adnet.shared.files import from_home
from adnet.shared.machine import handling, keep_freed_memory

_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_NO_PLACE |= {errno.EIO, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY}
_NO_PLACE |= {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}  # a file where a folder is wanted, or the other way round
_REMARKING = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
)
"""The loggers of Lightning's tips and of its lines about devices and ranks; Lightning sets none of their levels."""
_REMARKS_OF_HYDRA = ("The version_base parameter", r"hydra\.utils\.instantiate\(\) resolved")
"""Remarks of Hydra 1.4: on a `version_base`, which 1.3 remarks upon when it is missing, and on targets that are given no list of
allowed ones, which 1.3 can't take; who gives a command its config may run code anyway."""
_SEVERAL_CHOICES = ("mix", "callbacks", "logger", "+experiment")
"""Groups that are meant to be given as a list; experiments are added one after another."""


def conf_dir() -> Path:
    """Return the folder of the configs: inside the package when installed from a wheel, else at the top of the checkout.

    Examples:
        >>> (conf_dir() / "train.yaml").is_file()
        True
    """
    shipped = Path(__file__).parents[1] / "conf"
    return shipped if shipped.is_dir() else Path(__file__).parents[3] / "conf"


def command(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make `main(cfg)` an entry point that composes `conf/NAME.yaml`.

    A user's mistake, a full disk or a folder without permission prints one line to stderr, with the nearest name if
    there is one, and exits with 1; a bug keeps its traceback. Ctrl-C and SIGTERM end it alike, with 128 + signal;
    a training saves first, see `Checkpoints`. Remarks of libraries are silenced unless `hydra.verbose=true`.

    `main` imports what needs PyTorch in its body, so that help, `--cfg` and most misspelt keys are answered without it.
    """

    def decorate(main: Callable[[DictConfig], None]) -> Callable[[], None]:
        def checked(cfg: DictConfig) -> None:
            # Exit from inside the job, so that Hydra does not add a line of its own.
            with in_one_line(name, run_dir()):
                if not HydraConfig.get().verbose:
                    _silence_remarks()
                check_groups(HydraConfig.get().overrides.task)
                expand_home(cfg)
                for key in map(str, cfg):  # before PyTorch is imported, which the checks of others' arguments do
                    if OmegaConf.is_missing(cfg, key):
                        raise UserError(f"{key} has no value: give {key}=...")
                check_config(cfg, name)
                main(cfg)

        def entry() -> None:
            # Otherwise Hydra prints its own error and exits before we can print ours.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            if "--version" in sys.argv[1:]:  # otherwise Hydra prints its own version
                print(f"adnet {__version__}")
                return
            if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the locale can't show is no reason to fail
                sys.stdout.reconfigure(errors="backslashreplace")
            keep_freed_memory()
            like_ctrl_c = nullcontext() if name == "train" else handling(signal.SIGTERM, _interrupt)
            with like_ctrl_c, in_one_line(name):
                check_options(sys.argv[1:])
                for remark in _REMARKS_OF_HYDRA:
                    warnings.filterwarnings("ignore", message=remark)
                try:
                    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(checked)()
                finally:
                    sys.stdout.flush()  # a closed pipe raises here, where it is handled

        return entry

    return decorate


def _silence_remarks() -> None:
    """Silence libraries' tips and, unless warnings were configured (`-W`), deprecations and advice on the number of workers."""
    for name in _REMARKING:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.warnoptions:
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.* is deprecated")


def _interrupt(number: int, _: Any) -> NoReturn:
    raise KeyboardInterrupt(number)


@contextmanager
def in_one_line(name: str = "", folder: Path | None = None) -> Iterator[None]:
    """Exit with one line for a user's mistake, and in any case remove `folder` if it is still empty."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if signal.SIGTERM in stop.args:
            _leave("stopped by SIGTERM", 128 + signal.SIGTERM)
        _leave("stopped by the user", 128 + signal.SIGINT)
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python would fail again when it flushes stdout on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + getattr(signal, "SIGPIPE", 13))  # Windows has no such signal
    except (UserError, HydraException, OmegaConfBaseException) as error:
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
    finally:
        if folder:
            _remove_if_empty(folder)


def check_options(arguments: Sequence[str]) -> None:
    """Raise UserError for options that there are not, such as `--input x`: Hydra's own answer is its usage, nine lines."""

    def refuse(message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: ") and message[24] != "-":
            raise UserError(f"{message}; write -m and other options before or after all of KEY=VALUE, not between")
        raise UserError(f"{message}; keys have no dashes, but an equals sign: KEY=VALUE (--help lists them)")

    parser = get_args_parser()
    parser.error = refuse
    given = parser.parse_args(arguments)
    if given.multirun and given.cfg:
        raise UserError(f"--cfg {given.cfg} shows the config of one job: leave -m out, and give one value of each key")


def expand_home(cfg: DictConfig) -> None:
    """Replace a `~/` at the beginning of a value, where many shells leave it. Raises UserError as `from_home` does."""
    for key, value in walk(OmegaConf.to_container(cfg)):
        if isinstance(value, str) and (value == "~" or value.startswith("~/")):
            OmegaConf.update(cfg, key, str(from_home(value)))


def check_groups(overrides: Iterable[str]) -> None:
    """Raise UserError for several choices of a group that takes one: Hydra would merge them, and the last would win."""
    for override in overrides:
        group, _, choice = override.partition("=")
        if choice.startswith("[") and group not in _SEVERAL_CHOICES and (conf_dir() / group).is_dir():
            more = "; more datasets to train on: mix=[NAME,...]" if group == "data" else ""
            raise UserError(f"{override}: choose one {group}{more}")


def _explain(error: BaseException, name: str) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__  # Hydra wraps what is raised while it builds an object
    if cause is not None:
        # PyTorch wraps the message of a loader worker into its traceback.
        return str(cause).rpartition(f"{UserError.__module__}.{UserError.__name__}: ")[2]
    if isinstance(error, OverrideParseException):
        return _how_to_write(error.override)
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and (extra := option.partition("_")[0]) in ("joblib", "submitit"):
            return f"launcher={option} needs the extra: pip install 'adnet[{extra}]'"
        return f"no {group or 'config'} is called {option!r}" + nearest(option, error.options or ())
    match = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and match:
        if name == "train" and f"+{match[1]}" in _SEVERAL_CHOICES:
            return f"{match[1]} is given with a plus: +{match[1]}=NAME"
        return f"unknown key {match[1]}{_nearest_key(match[1], name)}"
    if match := re.search(r"Missing mandatory value: (\S+)|Interpolation to missing value.*?'(\S+)'", text):
        key = match[1] or match[2]
        return f"{key} has no value: give {key}=..."
    if match := re.match(r"Ambiguous value for argument '((.*?)=(.*))'\n", text):
        as_list, as_text = (shlex.quote(f"{match[2]}={value}") for value in (f"[{match[3]}]", quoted(match[3], '"')))
        return f"{match[1]}: as a list: {as_list}; as text: {as_text}; as a job for each: add -m"
    if isinstance(error, HydraException) and error.__cause__ is not None:
        text += f" {error.__cause__}"
    return text


def _how_to_write(override: str) -> str:
    """Say how to write an argument that Hydra's grammar does not accept."""
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"~?[+]{0,2}[\w./@:-]+", key, re.ASCII):
        return f"{override!r} is not KEY=VALUE: no spaces around the =, text with spaces in quotes, several values as KEY=[A,B]"
    if value.startswith("[") and "]" not in value:
        return f"{override}: the list has no end: write it without spaces, or put the whole argument into quotes"
    is_list = value.startswith("[") and value.endswith("]")
    # In double quotes, for the shell's own are single.
    texts = [quoted(text.strip(), '"') for text in (value[1:-1].split(",") if is_list else [value])]
    written = shlex.quote(f"{key}=[{','.join(texts)}]" if is_list else f"{key}={texts[0]}")
    return f"{override}: put text with others than letters, digits and ./-_%+ into quotes of its own: {written}"


def quoted(value: str, quote: str = "'") -> str:
    """Quote any text as a value in Hydra's override grammar, in single or double quotes."""
    # A backslash is literal, except before a quote, where it must be doubled.
    inside = re.sub(rf"(\\*)({quote}|$)", lambda found: found[1] * 2 + f"\\{quote}" * bool(found[2]), value)
    return f"{quote}{inside}{quote}"


def _nearest_key(key: str, name: str) -> str:
    """Suggest a group or a key of `conf/NAME.yaml` of the same name elsewhere, else the nearest of its siblings."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg: Any = OmegaConf.to_container(hydra.compose(name, return_hydra_config=True))
    groups = [group for group in cfg["hydra"]["runtime"]["choices"] if not group.startswith("hydra/")]
    keys = [*groups, *(key for key, _ in walk(cfg))]
    parent, _, leaf = key.rpartition(".")
    elsewhere = [known for known in keys if known != key and known.endswith(f".{leaf}")]
    if elsewhere := [known for known in elsewhere if not known.startswith("hydra.")] or elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    while parent and parent not in keys:
        parent = parent.rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    below = [known.removeprefix(prefix) for known in keys if known.startswith(prefix)]
    return nearest(key.removeprefix(prefix), [known for known in below if "." not in known and known[0] != "_"], prefix)


def _remove_if_empty(folder: Path) -> None:
    """Remove the empty folder of a run that never began, and its empty parents below the working directory."""
    here = Path.cwd()
    with suppress(OSError):  # not empty
        for path in (folder, *folder.parents):
            if path == here or (path != folder and here not in path.parents):
                break
            path.rmdir()


def _leave(message: str, code: int = 1) -> NoReturn:
    print("adnet:", " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


def run_dir() -> Path:
    """Return the folder of this run (`hydra.run.dir`)."""
    return Path(HydraConfig.get().runtime.output_dir)


def resolved(cfg: DictConfig) -> DictConfig:
    """Return a copy of `cfg` with all interpolations resolved, so that it can be read without Hydra."""
    copy = cfg.copy()
    OmegaConf.resolve(copy)
    return copy

"""Datasets and networks small enough for tests."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_store import ConfigStore
from hypothesis import HealthCheck, settings
from omegaconf import DictConfig

from adnet.data.synthetic import synthesize
from adnet.shared.locks import one_at_a_time

# A busy machine is not a failure.
settings.register_profile("adnet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("adnet")

sys.path.append(str(Path(__file__).parent))  # for modules that tests share

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as commands do, if a test imports OpenVINO first

SIZE = (64, 112)
"""Height and width in pixels of the frames of `tiny_davis`."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Spare the garbage collector a million objects of imported modules, none of which ever goes."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _spare_what_a_file_left() -> Iterator[None]:
    """Spare the garbage collector what a file's tests imported and cached, too."""
    yield
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `make nightly` is for."""
    if not os.environ.get("ADNET_NIGHTLY"):
        left = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def davis_root() -> Path:
    """The real DAVIS-2016."""
    data = os.environ.get("ADNET_DATA")
    if not data or not (root := Path(data) / "DAVIS").is_dir():
        pytest.skip("needs DAVIS in $ADNET_DATA/DAVIS")
    return root


@pytest.fixture(scope="session")
def _tiny_davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("tiny") / "davis", train=2, val=2, frames=4, size=SIZE)


@pytest.fixture
def tiny_davis(tmp_path: Path, _tiny_davis: Path) -> Path:
    """A dataset in DAVIS layout, one for each test to damage: 2 training and 2 validation sequences of 4 frames."""
    return Path(shutil.copytree(_tiny_davis, tmp_path / "tiny_davis"))


def _tiny_model_config() -> dict[str, Any]:
    return {
        "_target_": "adnet.models.ADNet",
        "_convert_": "all",
        "variant": "full",
        "encoder": {
            "_target_": "adnet.models.DeepLabV3",
            "backbone": "test_resnet",
            "pretrained": False,
            "aspp_rates": [1, 2, 3],
            "aspp_channels": 8,
            "embedding_channels": 8,
        },
        "head_channels": 8,
    }


def _tiny_model(config: dict[str, Any]) -> Any:
    import torch
    from hydra.utils import instantiate
    from networks import settle

    torch.manual_seed(0)
    return settle(instantiate(config), (65, 97))


@pytest.fixture
def tiny_model_config() -> dict[str, Any]:
    """What `tiny_model` is built from, as it lies in a checkpoint."""
    return _tiny_model_config()


@pytest.fixture
def tiny_model(tiny_model_config: dict[str, Any]) -> Any:
    """An ADNet of the `full` variant with random weights, whose logits depend on the anchor as a trained one's do."""
    return _tiny_model(tiny_model_config)


@pytest.fixture(scope="session")
def shared_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_model` in a file that all tests in all processes share, whose test size is 65 x 97."""
    from adnet.models.checkpoint import write_checkpoint

    folder = tmp_path_factory.getbasetemp()
    path = (folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder) / "exports" / "last.ckpt"
    with one_at_a_time(path.with_suffix(".lock")):
        if not path.is_file():
            write_checkpoint(path, _tiny_model(_tiny_model_config()), (65, 97))
    return path


@pytest.fixture(scope="session")
def exported(shared_checkpoint: Path) -> Callable[[str], Path]:
    """The folder, not to be changed, of the export of `shared_checkpoint` for a backend, which whoever comes first makes."""

    def folder(backend: str) -> Path:
        from adnet.backends.load import load_backend

        load_backend(shared_checkpoint, backend)
        [made] = shared_checkpoint.parent.glob(f"last-{backend}-*")
        return made

    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Hydra reads and merges two dozen YAML files for each command: those of this process that choose the same share the outcome.

    What a command's other arguments change is applied to a copy; copies, of which Hydra makes several more, are pickled ones.
    """
    made = dict[str, bytes]()
    load, create = ConfigRepository.load_config, defaults_list._create_defaults_list
    compose, copy_deeply = ConfigLoaderImpl._compose_config_from_defaults_list, DictConfig.__deepcopy__

    def pickled(self: DictConfig, memo: dict[int, Any]) -> DictConfig:
        parent, self.__dict__["_parent"] = self.__dict__["_parent"], None
        try:
            copied: DictConfig = pickle.loads(pickle.dumps(self))
        except (AttributeError, TypeError, pickle.PicklingError):  # there is an object in it
            copied = copy_deeply(self, memo)
        finally:
            self.__dict__["_parent"] = parent
        copied.__dict__["_parent"] = parent
        return copied

    def once(sources: Any, key: list[Any], make: Callable[[], Any]) -> Any:
        launchers = [*ConfigStore.instance().repo["hydra"]["launcher"]]  # a test is as if one weren't installed
        if (text := repr([sources.get_sources(), launchers, *key])) not in made:
            made[text] = pickle.dumps(make())
        return pickle.loads(made[text])

    def load_once(self: ConfigRepository, config_path: str) -> Any:
        return once(self, [config_path], lambda: load(self, config_path))

    def create_once(repo: Any, config_name: str, overrides: Any, **options: bool) -> Any:
        def make() -> Any:
            return create(repo, config_name, overrides, **options), vars(overrides) | {"config_overrides": []}

        chosen = [overrides.override_choices, overrides.append_group_defaults, overrides.deletions]
        others = overrides.config_overrides
        found, choices = once(repo, [config_name, *chosen, options], make)
        vars(overrides).update(choices, config_overrides=others)
        return found

    def compose_once(self: ConfigLoaderImpl, defaults: Any, repo: Any) -> Any:
        return once(repo, [defaults], lambda: compose(self, defaults, repo))

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setattr(ConfigRepository, "load_config", load_once)
    patch.setattr(defaults_list, "_create_defaults_list", create_once)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose_once)
    patch.setattr(DictConfig, "__deepcopy__", pickled)


@pytest.fixture(autouse=True)
def _as_a_fresh_process() -> Iterator[None]:
    """Put back what commands that run in this process change in it: the handlers of signals, the rank that Lightning keeps, and
    PyTorch's number of threads, which a segmenter sets to what a test says there are.
    """
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    }
    threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if threads:
        sys.modules["torch"].set_num_threads(threads)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if "lightning" in sys.modules:
        from lightning.pytorch.utilities import rank_zero_only

        rank_zero_only.rank = 0


COUNTED: dict[str, Any] = {}


def _count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training says of its network first takes as long as its few steps: what looks the same is counted once in a process."""
    if (training := sys.modules.get("adnet.training.run")) is None:
        return

    def once(count: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(what: Any, setting: Any) -> Any:
            model = getattr(what, "_model", what)
            text = repr([count, model, model.variant, vars(what) if model is not what else None, setting])
            if text not in COUNTED:
                COUNTED[text] = count(what, setting)
            return COUNTED[text]

        return counted

    monkeypatch.setattr(training, "model_cost", once(training.model_cost))
    monkeypatch.setattr(training.TrainingMemory, "of", once(training.TrainingMemory.of))


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Run an entry point in this process, which spares its imports; the working directory is `tmp_path / "cwd"`, empty."""
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    _count_once(monkeypatch)
    # A command keeps the memory that it frees for its next step; this process would keep that of all commands.
    monkeypatch.setattr("adnet.shared.command.keep_freed_memory", lambda: None)
    # Hydra composes all of a config once more, only to see that nothing in it sets hydra.mode, as nothing of ours does.
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for name in ("HYDRA_FULL_ERROR", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "1")  # so that what the command sets is undone
    with suppress(ImportError):  # TensorBoard brings it
        from absl import logging as absl_logging

        # When Hydra clears the handlers, this one closes what was stderr when it was imported: pytest's own file.
        absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def call(main: Callable[[], None], *arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["adnet", *arguments])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        for handler in logging.getLogger("lightning").handlers:
            if isinstance(handler, logging.StreamHandler):  # bound to the stderr of the test that imported Lightning
                handler.stream = sys.stderr  # setStream would flush the old one, which is closed
        code: Any = 0
        try:
            main()
        except SystemExit as leave:
            code = leave.code
        return Ended(code, *capfd.readouterr())

    yield call
    GlobalHydra.instance().clear()
    root.handlers[:] = handlers
    root.setLevel(level)

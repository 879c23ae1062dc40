from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Import a script by its path below `experiments/`."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"experiments.{Path(name).stem}", EXPERIMENTS / name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where a dataclass looks up its annotations
        spec.loader.exec_module(module)
        return module

    return load

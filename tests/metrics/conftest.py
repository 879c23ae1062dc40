import os
from pathlib import Path

import pytest


def _folder(path: Path | None, reason: str) -> Path:
    if path is None or not path.is_dir():
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def davis() -> Path:
    """DAVIS-2016 on disk."""
    data = os.environ.get("ADNET_DATA")
    return _folder(Path(data) / "DAVIS" if data else None, "needs DAVIS in $ADNET_DATA/DAVIS")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Masks of a published method, and what the public tools say of them."""
    given, data = os.environ.get("ADNET_REFERENCE"), os.environ.get("ADNET_DATA")
    path = Path(given) if given else Path(data).resolve().parent / "reference" if data else None
    return _folder(path, "needs the reference numbers in $ADNET_REFERENCE or $ADNET_DATA/../reference")

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Numbers that the published networks produced, in $ADNET_REFERENCE or beside the data."""
    given, data = os.environ.get("ADNET_REFERENCE"), os.environ.get("ADNET_DATA")
    path = Path(given) if given else Path(data).resolve().parent / "reference" if data else None
    if path is None or not path.is_dir():
        pytest.skip("needs the reference numbers in $ADNET_REFERENCE or $ADNET_DATA/../reference")
    return path

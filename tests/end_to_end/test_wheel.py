"""What is in the wheel, and that it runs without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from adnet.inference import load_checkpoint

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_brings_its_configs_and_composes_them_anywhere(tmp_path: Path) -> None:
    wheel = next(WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"]))
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    shipped = {path.relative_to(site / "adnet" / "conf") for path in (site / "adnet" / "conf").rglob("*.yaml")}
    assert shipped == {path.relative_to(REPOSITORY / "conf") for path in (REPOSITORY / "conf").rglob("*.yaml")}

    assert load_checkpoint(site / "adnet" / "released")[1] == load_checkpoint()[1]

    # PYTHONPATH comes before the editable install.
    done = subprocess.run(
        [sys.executable, "-m", "adnet.train", "+experiment=ablation_anchor", "scale=lite", "--cfg", "job"],
        cwd=empty,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "variant: anchor" in done.stdout
    assert "backbone: tf_efficientnet_lite0" in done.stdout

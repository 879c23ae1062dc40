import sys

import pytest
import torch
from PIL import Image
from published_weights import nothing_drawn, weights

from adnet import convert
from adnet.data import folder
from adnet.errors import UserError
from adnet.inference import load_checkpoint
from adnet.models import load_published


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert", *arguments])
    convert.main()


def test_a_converted_checkpoint_opens_like_one_of_training(tmp_path, monkeypatch, capsys):
    given, output = weights("ResNet50", "inter"), tmp_path / "deep" / "inter.ckpt"
    torch.save({f"module.{key}": value for key, value in given.items()}, tmp_path / "inter.pth")
    arguments = [f"checkpoint={tmp_path}/inter.pth", "variant=inter", f"output={output}"]
    with nothing_drawn():
        run(monkeypatch, *arguments)
        assert "anchor_diffusion on resnet50s" in capsys.readouterr().out
        model, size = load_checkpoint(output)
        expected = load_published(given, "anchor_diffusion")
    assert size == (481, 857)
    assert model.variant == "anchor_diffusion"
    assert [path.name for path in output.parent.iterdir()] == ["inter.ckpt"]
    anchor, frame = torch.rand(2, 1, 3, 33, 49)
    with torch.inference_mode():
        assert torch.equal(model(anchor, frame), expected(anchor, frame))

    # A second time, nothing is overwritten.
    before = output.read_bytes()
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert "inter.ckpt exists; give another output, or overwrite=true" in capsys.readouterr().err
    assert output.read_bytes() == before


def test_single_images_are_called_images(tmp_path, monkeypatch, capsys):
    for name in ("Image", "Mask"):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.new("L", (16, 16), 255).save(tmp_path / "own" / name / "a.png")
    run(monkeypatch, "data=images", f"data.root={tmp_path}/own", f"output={tmp_path}/mine")
    assert capsys.readouterr().out == f"images all: 1 image -> {tmp_path}/mine\n"


def test_a_dataset_becomes_a_folder_of_ones_own(tiny_davis, tmp_path, monkeypatch, capsys):
    arguments = ["data=davis2016", f"data.root={tiny_davis}", f"output={tmp_path}/mine"]
    run(monkeypatch, *arguments)
    assert capsys.readouterr().out == f"davis2016 val: 2 sequences -> {tmp_path}/mine\n"
    assert [sequence.name for sequence in folder(tmp_path / "mine", "val").sequences] == ["val-000", "val-001"]
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert "mine already exists and is not an empty folder; give another output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["output=full.ckpt"], "give checkpoint=FILE and variant=NAME, or data=NAME"),
        (
            ["checkpoint=none.pth", "data=davis2016", "output=full.ckpt"],
            "give checkpoint=FILE and variant=NAME, or data",
        ),
        (["checkpoint=none.pth", "output=full.ckpt"], "variant has no value"),
        (["data=davis206", "output=full.ckpt"], "davis2016"),
        (["checkpoint=none.pth", "variant=full", "output=full.ckpt"], "no file none.pth"),
        (["checkpoint=none.pth", "variant=full"], "output has no value"),
        (["checkpoint=none.pth", "varaint=full", "output=full.ckpt"], "variant"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, *arguments)
    assert left.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "full.ckpt").exists()


def test_a_checkpoint_that_names_no_model_is_refused(tmp_path):
    config = {"encoder": {"_target_": "adnet.models.DeepLabV3"}}
    torch.save({"state_dict": {}, "hyper_parameters": {"model": config, "test_size": [65, 97]}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="names a model other"):
        load_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("place", ["top", "encoder", "list"])
def test_a_checkpoint_that_names_foreign_code_is_refused(tmp_path, tiny_model_config, place):
    harm = {"_target_": "os.mkdir", "path": str(tmp_path / "harm")}
    config = {
        "top": harm | {"encoder": {}},
        "encoder": tiny_model_config | {"encoder": harm},
        "list": tiny_model_config | {"encoder": tiny_model_config["encoder"] | {"aspp_rates": [harm]}},
    }[place]
    torch.save({"state_dict": {}, "hyper_parameters": {"model": config, "test_size": [65, 97]}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt names a model other than adnet's: .*os\.mkdir"):
        load_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "harm").exists()


def test_published_weights_given_to_evaluate_are_pointed_to_convert(tmp_path):
    torch.save({"cls.3.bias": torch.zeros(1)}, tmp_path / "ad.pth")
    with pytest.raises(UserError, match=r"ad\.pth is not a readable adnet checkpoint.*adnet\.convert"):
        load_checkpoint(tmp_path / "ad.pth")

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from adnet.errors import UserError
from adnet.inference import load_checkpoint
from adnet.models import ADNet, DeepLabV3, hub_mixin
from adnet.models.backbone import fold_batch_norms
from adnet.weights import pretrained

REPOSITORY = Path(__file__).parents[2]
SCORES = REPOSITORY / "experiments" / "beyond" / "released.json"


def same(one: ADNet, other: ADNet) -> bool:
    """Whether the weights agree in half precision."""
    other_weights = other.state_dict()
    return one.state_dict().keys() == other_weights.keys() and all(
        torch.equal(value.half(), other_weights[name].half()) for name, value in one.state_dict().items()
    )


def test_the_released_weights_have_a_name() -> None:
    network = ADNet.from_pretrained("adnet/lite")
    assert (network.test_size, network.training) == ((257, 449), False)
    assert same(network, load_checkpoint()[0])


def test_a_saved_network_comes_back(tiny_model: ADNet, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path / "saved", (33, 57))
    network = ADNet.from_pretrained(tmp_path / "saved")
    assert (network.test_size, network.training) == ((33, 57), False)
    assert same(network, tiny_model)
    assert load_checkpoint(tmp_path / "saved")[1] == (33, 57)  # where a checkpoint goes, it goes
    network.save_pretrained(str(tmp_path / "again"))
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_a_saved_network_gives_its_logits_whatever_its_statistics(tiny_model: ADNet, tmp_path: Path) -> None:
    norm = next(module for module in tiny_model.encoder.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d))
    norm.running_var.fill_(237_743.0)
    norm.weight.data.fill_(500.0)
    frames = torch.rand(2, 1, 3, 33, 57)
    tiny_model.eval().save_pretrained(tmp_path / "saved", (33, 57))
    with torch.inference_mode():
        expected, got = tiny_model(*frames), ADNet.from_pretrained(tmp_path / "saved")(*frames)
    assert (got - expected).abs().max() < 1e-2 * expected.abs().max()


def test_a_network_knows_what_it_was_built_of() -> None:
    encoder = {"backbone": "test_resnet", "aspp_rates": (1, 2), "aspp_channels": 8, "embedding_channels": 8}
    motion = DeepLabV3(pretrained=False, freeze_batch_norm=True, **encoder)
    network = ADNet(
        DeepLabV3(pretrained=False, shallow=True, mean=(0.1, 0.2, 0.3), **encoder),
        "full_motion",
        4,
        0.2,
        0.4,
        True,
        motion,
    )
    built = ADNet.from_config(json.loads(json.dumps(network.config)))
    assert repr(built) == repr(network)
    assert built.config == network.config
    assert torch.equal(built.encoder.mean, network.encoder.mean)
    built.load_state_dict(network.state_dict())


def test_a_folder_comes_before_the_hub_which_is_asked_for_the_rest(
    tiny_model: ADNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def download(name: str, revision: str | None, _: list[str]) -> Path:
        asked.append((name, revision))
        return tmp_path / "someone" / "model"

    monkeypatch.setattr(pretrained, "download", download)
    monkeypatch.chdir(tmp_path)
    tiny_model.save_pretrained("someone/model", (33, 57))
    assert same(ADNet.from_pretrained("someone/model"), tiny_model)
    assert asked == []
    assert same(ADNet.from_pretrained("another/model", revision="v1"), tiny_model)
    ADNet.from_pretrained("hub:another/model")
    assert asked == [("another/model", "v1"), ("another/model", None)]


@pytest.mark.parametrize("name", ["nothing", "./no/thing", "a/b/c", Path("a/b"), "../a", "hub:nothing"])
def test_what_is_neither_is_one_line(name: str | Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        ADNet.from_pretrained(name)


def test_what_is_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(UserError, match=r"open training checkpoints with adnet\.inference\.load_checkpoint"):
        ADNet.from_pretrained(tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"holds no config\.json"):
        ADNet.from_pretrained(tmp_path)
    for here in ("adnet/lite", tmp_path):
        with pytest.raises(UserError, match="has no revision 'v1'"):
            ADNet.from_pretrained(here, revision="v1")


def test_what_could_not_be_read_again_is_not_written(tiny_model: ADNet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="test size is unknown"):
        tiny_model.save_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        tiny_model.save_pretrained(tmp_path / "saved", (33, 57), scores=__file__)
    frames = torch.rand(1, 3, 33, 57)
    assert fold_batch_norms(tiny_model.eval(), lambda: tiny_model(frames, frames))
    with pytest.raises(UserError, match="changed after it was built"):
        tiny_model.save_pretrained(tmp_path / "saved", (33, 57))
    assert not (tmp_path / "saved").exists()


def test_the_card_has_the_scores_of_the_evaluation(tiny_model: ADNet, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path / "saved", (33, 57), scores=SCORES)
    card = ModelCard.load(tmp_path / "saved" / "README.md")
    results = card.data.eval_results
    assert results is not None
    measured = json.loads(SCORES.read_text())["mean"]
    assert {one.metric_type: one.metric_value for one in results} == {
        f"{metric}-{line}": round(100 * value, 1) for metric, lines in measured.items() for line, value in lines.items()
    }
    assert {(one.dataset_type, one.dataset_split, one.task_name) for one in results} == {
        ("davis2016", "val", "protocol single_scale")
    }
    assert "| J mean | 72.1 |" in card.text
    assert "checkpoint=saved" in card.text


def test_a_score_that_is_not_there_is_left_out_of_the_card(tiny_model: ADNet, tmp_path: Path) -> None:
    scores = json.loads(SCORES.read_text())
    scores["mean"]["J"]["decay"] = None  # of single images
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    tiny_model.save_pretrained(tmp_path / "saved", (33, 57), scores=tmp_path / "scores.json")
    results = ModelCard.load(tmp_path / "saved" / "README.md").data.eval_results or []
    assert [one.metric_type for one in results] == ["J-mean", "J-recall", "F-mean", "F-recall", "F-decay"]


def test_what_is_pushed_is_what_is_saved(tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def upload(folder: Path, *rest: Any) -> str:
        assert same(ADNet.from_pretrained(folder), tiny_model)
        card = (folder / "README.md").read_text()
        assert 'ADNet.from_pretrained("someone/model")' in card
        assert "checkpoint=hub:someone/model" in card
        assert "None were given" in card
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
        return " ".join(map(str, rest))

    monkeypatch.setattr(hub_mixin, "upload", upload)
    pushed = tiny_model.push_to_hub("someone/model", (33, 57), revision="v1", private=True, message="first")
    assert pushed == "someone/model v1 True first"


def test_torch_hub_finds_the_released_weights() -> None:
    network = torch.hub.load(str(REPOSITORY), "adnet_lite", source="local", trust_repo=True)
    assert same(network, load_checkpoint()[0])
    assert network.test_size == (257, 449)

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from adnet.errors import UserError
from adnet.inference import load_checkpoint
from adnet.weights.pretrained import write_pretrained
from adnet.weights.read import read_weights


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)


def test_a_wrong_bit_in_a_weight_is_no_other_weight(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({"weight": torch.arange(1000.0)}, file)
    with ZipFile(file) as parts:
        weights = parts.getinfo("a/data/0")
    flip(file, weights.header_offset + 200 + 2000)
    with pytest.raises(UserError, match=r"a\.pth can't be read \(the checksum of a/data/0 in it is wrong\)"):
        read_weights(file)


def test_one_in_weights_alone_neither(
    tmp_path: Path, tiny_model_config: dict[str, object], tiny_model: torch.nn.Module
) -> None:
    write_pretrained(tmp_path / "w", tiny_model_config, (33, 57), tiny_model.state_dict(), {})
    load_checkpoint(tmp_path / "w")
    flip(tmp_path / "w" / "model.safetensors", -100)
    with pytest.raises(UserError, match=r"model\.safetensors is not the file that config\.json names"):
        load_checkpoint(tmp_path / "w")


@pytest.mark.parametrize("content", [b"", b"\x80\x02.", b"PK\x03\x04", b"no such file", b"\x80\x02cos\nsystem\n."])
def test_any_bytes_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth (can't be read|is refused)"):
        read_weights(tmp_path / "a.pth")

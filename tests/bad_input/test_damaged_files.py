"""Files that are cut off, have wrong bits, are something else or say something else: one line, or a right result.

`ADNET_FUZZ=N` damages each file in N places, or says N other things; otherwise it is one.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from .conftest import Kitchen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60, func_only=True)]

SEED = 14
FUZZ = int(os.environ.get("ADNET_FUZZ", "1"))
JPEG, PNG, MASK = "davis/JPEGImages/480p/val-000/00001.jpg", "clip/0.png", "davis/Annotations/480p/val-000/00001.png"
MOTION = ("checkpoint=motion.ckpt", "flow=folder", "flow.method.root=flow")
RUN = "runs/full"
EVALUATION = f"{RUN}/evaluation/davis2016-val-single_scale"
DOWNLOAD = ("data=davis2016", "verify=false", "data.root=out/davis")  # and a url
PRUNE = ("postprocess=instance_pruning", "postprocess/detector=precomputed", "postprocess.detector.file=found.json")


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_in_front(content: bytes, rng: random.Random) -> bytes:
    """Where headers are."""
    changed = bytearray(content)
    changed[rng.randrange(min(len(changed), 64))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def other(_: bytes, rng: random.Random) -> bytes:
    """What isn't of the kind at all."""
    return rng.choice(
        [b"", b"\0" * 100, b"no such file\n", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\x80\x02."]
    )


def say_otherwise(content: bytes, rng: random.Random) -> bytes:
    """JSON (and YAML that is JSON) with an entry of another type, or without one."""
    document = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(document)
    value = rng.choice([None, -1, 1.5, "text", [], {}, [[]], True, 10**30, [None]])
    if not places or rng.random() < 0.1:
        return json.dumps(value).encode()
    node, key = rng.choice(places)
    if isinstance(node, dict) and rng.random() < 0.2:
        del node[key]
    else:
        node[key] = value
    return json.dumps(document).encode()


def outside(content: bytes, rng: random.Random) -> bytes:
    """An archive with one more file, which would come to lie outside of the folder."""
    name = rng.choice(
        ["../evil", "/tmp/adnet-evil", "davis/../../evil", "C:\\evil", "..\\evil", "davis/./../../../evil"]
    )
    return _with_member(content, zipfile.ZipInfo(name), b"evil")


def link(content: bytes, rng: random.Random) -> bytes:
    """An archive with a link, which later files could be written through."""
    member = zipfile.ZipInfo(rng.choice(["davis/link", "davis/Annotations", "link"]))
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return _with_member(content, member, rng.choice([b"/etc", b"../..", b"."]))


def _with_member(content: bytes, member: zipfile.ZipInfo, inside: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(member, inside)
    return buffer.getvalue()


CHECKED = (".ckpt", ".safetensors", ".onnx")
"""Files in which no bit can be wrong without being noticed, but where nothing is read."""

DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": cut,
    "flip": flip,
    "front": flip_in_front,
    "other": other,
    "says": say_otherwise,
    "outside": outside,
    "link": link,
}

CASES: list[tuple[str, tuple[str, ...], str, str]] = [
    # command, arguments, file, damages
    ("score", (), MASK, "cut flip front other"),
    ("score", (), JPEG, "cut front other"),
    ("score", (), "masks/val-000/00001.png", "cut flip front other"),
    ("score", ("predictions=maps",), "maps/val-000/00001.npy", "cut flip front other"),
    ("score", (), "davis/ImageSets/480p/val.txt", "cut flip other"),
    ("score", (), "davis/db_info.yml", "cut flip other"),
    ("predict", (), "last.ckpt", "cut flip front other"),
    ("predict", ("checkpoint=weights",), "weights/model.safetensors", "cut flip front other"),
    ("predict", ("checkpoint=weights",), "weights/config.json", "cut flip other says"),
    ("predict", ("checkpoint=onnx", "backend=onnx"), "onnx/embed.onnx", "cut flip other"),
    ("predict", ("checkpoint=onnx", "backend=onnx"), "onnx/export.json", "cut other says"),
    ("predict", (), "clip/0.png", "cut flip front other"),
    ("predict", (), "clip/1.jpg", "cut flip front other"),
    ("predict", (), "clip/2.bmp", "cut front other"),
    ("predict", ("anchor=clip/1.jpg", "input=clip/0.png"), "clip/1.jpg", "cut flip front other"),
    ("predict", ("input=clip.mp4",), "clip.mp4", "cut flip front other"),
    ("predict", PRUNE, "found.json", "cut flip other says"),
    ("predict", MOTION, "flow/clip/1.flo", "cut front other"),
    ("evaluate", (), JPEG, "cut flip front other"),
    ("evaluate", (), MASK, "cut flip front other"),
    ("evaluate", (), "last.ckpt", "cut flip front other"),
    ("export", (), "last.ckpt", "cut flip front other"),
    ("report", (), f"{RUN}/summary.json", "cut flip other says"),
    ("report", (), f"{RUN}/config.yaml", "cut flip other says"),
    ("report", (), f"{RUN}/metrics.csv", "cut flip other"),
    ("report", (), f"{EVALUATION}/scores.json", "cut flip other says"),
    ("report", (), f"{EVALUATION}/evaluation.json", "cut other says"),
    ("report", (), f"{EVALUATION}/masks/val-000/00001.png", "cut flip other"),
    ("convert", (), "published.pth", "cut flip front other"),
    ("download", DOWNLOAD, "davis.zip", "cut flip front other outside link"),
    ("train", (), "davis/JPEGImages/480p/train-000/00001.jpg", "cut front other"),
    ("train", (), "davis/Annotations/480p/train-000/00001.png", "cut front other"),
    (
        "train",
        (
            "model.weights=last.ckpt",
            "model.encoder.backbone=test_resnet",
            "model.encoder.multi_grid=null",
            "model.encoder.freeze_batch_norm=false",
        ),
        "last.ckpt",
        "cut front other",
    ),
]  # fmt: skip


def each(cases: list[tuple[str, tuple[str, ...], str, str]]) -> list[Any]:
    return [
        pytest.param(command, arguments, file, damage, number, id=f"{command}-{file}-{damage}-{number}")
        for command, arguments, file, damages in cases
        for damage in damages.split()
        for number in range(FUZZ)
    ]


@pytest.fixture(scope="session")
def server(template: Path) -> Iterator[str]:
    """The address of what serves the commands' folder."""
    handler = partial(SilentHandler, directory=str(template.parent / "work"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.mark.parametrize(("command", "arguments", "file", "damage", "number"), each(CASES))
def test_a_damaged_file_is_one_line_or_a_right_result(
    kitchen: Kitchen,
    request: pytest.FixtureRequest,
    command: str,
    arguments: tuple[str, ...],
    file: str,
    damage: str,
    number: int,
) -> None:
    if file.startswith("onnx"):
        shutil.copytree(request.getfixturevalue("exported")("onnx"), kitchen.folder / "onnx")
    if command == "download":
        arguments += (f"url={request.getfixturevalue('server')}/davis.zip",)
    expected = kitchen.expected(command, *arguments)
    path, rng = kitchen.folder / file, random.Random(f"{SEED} {command} {file} {damage} {number}")
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole, rng))
    answer = kitchen.call(command, *arguments)
    if answer.code == 0:
        found = kitchen.out()
        # A report on fewer rows of a table, or without an attribute, has fewer figures.
        assert found.keys() == expected.keys() or (command == "report" and found.keys() < expected.keys())
        if path.suffix in CHECKED:
            assert masks(found) == masks(expected)
    elif answer.left:  # else the mended command stands where it stood before
        path.write_bytes(whole)
        # Masks of the images that could be read are kept, and are another input's.
        again = kitchen.call(command, *arguments, *["overwrite=true"] * (command == "predict"))
        assert again.code == 0, again.line
        assert kitchen.out().keys() == expected.keys()


BEGUN: list[tuple[str, tuple[str, ...], str, str]] = [
    # command, arguments, file of what it has left, damages
    ("train", (), "out/config.yaml", "cut flip other"),
    ("train", (), "out/provenance.json", "cut flip other says"),
    ("train", (), "out/metrics.csv", "cut flip other"),
    ("train", (), "out/checkpoints/last.ckpt", "cut flip front other"),
    ("predict", (), "out/predict.json", "cut flip other says"),
    ("predict", ("overlay=true",), "out/masks/1.png", "cut other"),
    ("evaluate", (), "out/evaluation.json", "cut flip other says"),
    ("evaluate", (), "out/masks/val-000/00001.png", "cut front other"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "arguments", "file", "damage", "number"), each(BEGUN))
def test_what_is_gone_on_with_is_damaged(
    kitchen: Kitchen, command: str, arguments: tuple[str, ...], file: str, damage: str, number: int
) -> None:
    """One line, or the result of a run that nothing befell; with the file as it was, the latter."""
    kitchen.begun(command, *arguments)
    expected = kitchen.expected(command, *arguments)
    path, rng = kitchen.folder / file, random.Random(f"{SEED} begun {command} {file} {damage} {number}")
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole, rng))
    answer = kitchen.call(command, *arguments)
    if answer.code:
        path.write_bytes(whole)
        answer = kitchen.call(command, *arguments)
    assert answer.code == 0, answer.line
    found = kitchen.out()
    assert found.keys() == expected.keys()
    assert masks(found) == masks(expected)
    if command == "train":
        weights = [load(content)["state_dict"] for content in (found[LAST], expected[LAST])]
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


LAST = "out/checkpoints/last.ckpt"


def load(content: bytes) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return checkpoint


def masks(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.endswith(".png")}

"""The page `reference/files.md`: the files on disk, and the JSON schemas, from `adnet.shared.file_formats`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from adnet.shared.file_formats import FORMATS, json_schema

INTRODUCTION = """# File formats

Files connect the commands: masks go from `predict` or `evaluate` into `score`, and scores into `report`; another method's masks or scores
can take their place. Each file is written under a temporary name and renamed, so that a reader sees all of it or none. The tables are made
from the JSON schemas that are linked above them; tests validate files against the schemas.

## Masks and probabilities

| file | |
| --- | --- |
| `masks/<sequence>/<frame>.png` | 8-bit grey, 0 or 255, of the frame's size; of a single video `masks/<frame>.png` |
| `probabilities/<sequence>/<frame>.png` | 8-bit grey, round(255 p) |
| `cutouts/<frame>.png` | RGBA; alpha is the mask |
| `overlay.mp4` | H.264, the video's own timestamps |
| `rle.json`, `polygons.json` | COCO annotations of the category 1, `foreground`: what pycocotools' `COCO(file)` reads |

[Score another method](../how_to/score_another_method.md) says what else `adnet.score` reads (0/1, palettes, 16 bits, `.npy`).

## Checkpoints

| file | |
| --- | --- |
| `checkpoints/*.ckpt` | `last`, `previous` and `best`: weights, optimiser, step, and how to build the network; none can run code |
| `model.safetensors` | weights alone, in half precision, by `adnet.export format=safetensors` |
| `config.json` | beside `model.safetensors`: the network's config (`model`), its `test_size`, and the weights' origin (`about`) |
| `embed.*`, `segment.*`, `export.json` | an [export](#exportjson): encoder and fusion |

## metrics.csv

A row for each logged step: `epoch`, `step` and, if measured at that step, `train/loss`, `train/lr`, `val/J`, `val/F` and
others. Each term of a loss with several terms has a column, weighted as in the sum: `train/bce`, `train/boundary`.

## job.json and nan_batch.json

`job.json` says how the last process of a sweep's job ended: `overrides`, `command`, `log`, `status` (`finished`, `failed` or `stopped`),
exit `code`, `reason` and `seconds`. `nan_batch.json` describes the batch whose loss was not finite: `step`, `batch`, `loss`, and its
`pairs` (`sequence`, `anchor`, `frame`).
"""


def rows(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """A row for each key below `node`, nested keys after a point."""
    for key, value in node.get("properties", {}).items():
        name = f"{prefix}{key}"
        optional = "" if key in node.get("required", ()) else " (may be missing)"
        yield f"| `{name}` | {kind(value)} | {value.get('description', '')}{optional} |"
        yield from rows(value, f"{name}.")
        if isinstance(value.get("additionalProperties"), dict):
            yield from rows(value["additionalProperties"], f"{name}.NAME.")
        if "items" in value:
            yield from rows(value["items"], f"{name}[].")


def kind(node: dict[str, Any]) -> str:
    """A value's type and limits, in words."""
    if isinstance(types := node.get("type"), list):
        return " or ".join(kind(node | {"type": one}) if one != "null" else one for one in types)
    if "enum" in node:
        return " or ".join(f"`{json.dumps(one)}`" for one in node["enum"])
    text = str(types)
    if "items" in node and "properties" not in node["items"]:
        text += f" of {kind(node['items'])}"
    if "minimum" in node and "maximum" in node:
        text += f", {node['minimum']} to {node['maximum']}"
    elif "exclusiveMinimum" in node:
        text += f", above {node['exclusiveMinimum']}"
    return text


def page() -> str:
    """The page's Markdown."""
    parts = [INTRODUCTION]
    for name in FORMATS:
        schema = json_schema(name)
        top = (schema["items"], "[].") if schema["type"] == "array" else (schema,)
        table = "\n".join(["| key | value | |", "| --- | --- | --- |", *rows(*top)])
        link = f"[{name}.schema.json]({name}.schema.json)"
        parts.append(f"\n## {schema['title']}\n\n{schema['description']} Schema: {link}.\n\n{table}\n")
    return "".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "reference/files.md", content=page()))
    for name in FORMATS:
        content = json.dumps(json_schema(name), indent=1)
        files.append(File.generated(config, f"reference/{name}.schema.json", content=content))
    return files

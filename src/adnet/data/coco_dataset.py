"""COCO files of any tool as a dataset, and as predictions. Their masks are written as PNG into the cache, called by their content."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from adnet.data.coco_file import Labelled, located, read_coco, read_results, words
from adnet.data.known_dataset import Keep, KnownDataset
from adnet.data.masks import write_mask
from adnet.data.pictures import image_size
from adnet.data.videos import PICTURES, Video, VideoDataset, images_in, natural_order, select
from adnet.errors import UserError
from adnet.shared.files import cache_folder, read_json, read_lines
from adnet.shared.machine import need_extra

SURE = 0.5  # results with a lower score are left out

VALIDATION = {"val", "valid", "validation"}


@KnownDataset
def coco(
    root: Path,
    split: str = "all",
    sequences: Keep = None,
    category: str | list[str] | None = None,
    empty: Literal["background", "unannotated"] | None = None,
    stills: bool = False,
) -> Iterator[Video]:
    """Find the images in `root` that COCO files in it annotate; a folder of images, or a `video_id`, is a sequence.

    The split `all` is every JSON file in `root`, at any depth; any other the files with this word in their name or their folder's
    (`instances_val.json`, `valid/_annotations.coco.json`), or a text `root/<split>.txt` with a sequence's name per line.

    `category` is the foreground; None: all categories. Images that a file lists without an annotation are background, or not
    annotated, as `empty` says; None: background, and a warning says so. With `stills`, each image is a sequence.

    Raises UserError as `read_coco` does, for an image that is missing or of another size, and for sequences whose frames differ.
    """
    need_extra("coco", "pycocotools", "data=coco")
    files, listed = _files(root, split)
    pictures = (path for path in root.rglob("*") if path.suffix.lower() in PICTURES and path.name[0] != ".")
    found = located(read_coco(files, category), pictures, str(root))
    blank = {path for path, group in found.items() if not any(one.annotated for one in group)}
    if blank and not empty:
        so = "have an entry, but no annotation, and count as background; data.empty=unannotated leaves them out"
        logging.getLogger(__name__).warning("%s: %d of %d images %s", root, len(blank), len(found), so)
    if empty == "unannotated":
        found = {path: group for path, group in found.items() if path not in blank}
    videos = _named(root, {path: [path] for path in found} if stills else _videos(found))
    chosen = {name: videos[name] for name in select(select(videos, listed), sequences)}
    annotated = [path for frames in chosen.values() for path in frames if path in found]
    masks = {path: _cached(path, found[path]) for path in tqdm(annotated, "masks", leave=False, disable=None)}
    for name, frames in chosen.items():
        yield Video(name, tuple(frames), {path.stem: masks[path] for path in frames if path in masks})


def write_predictions(file: Path, dataset: VideoDataset, folder: Path, category: str | list[str] | None = None) -> None:
    """Write predictions in a COCO file, or in COCO results, as `folder/<sequence>/<frame>.png`.

    `category` is as in `coco`; a COCO file of one category needs none. Results with a score below `SURE` are left out, and frames
    without any are background. Raises UserError as `read_coco` and `read_results` do, and for images of other datasets.
    """
    need_extra("coco", "pycocotools", f"{file}, in COCO's format,")
    frames = {frame: sequence for sequence in dataset.sequences for frame in sequence.frames}
    document = read_json(file, object)
    if isinstance(document, list):
        truth = _files(dataset.root, dataset.split)[0] if dataset.name == "coco" else []
        labelled = [one for one in read_results(file, truth, category, SURE) if one.parts]
        rest = {*frames}
    else:
        lone = isinstance(document, dict) and len(document.get("categories") or ()) == 1
        labelled, rest = read_coco([file], None if lone else category), set()
    found = located(labelled, frames, f"{dataset.name} {dataset.split}")
    for frame in {*found} | rest:
        masks = [one.mask(frame) for one in found.get(frame, ())] or [np.zeros(image_size(frame), bool)]
        write_mask(folder / frames[frame].name / f"{frame.stem}.png", np.logical_or.reduce(masks))


def _files(root: Path, split: str) -> tuple[list[Path], list[str] | None]:
    """Find the COCO files of a split, and the sequences that it lists, if it is a text. Raises UserError for none."""
    every = sorted(p for p in root.rglob("*.json") if not any(part[0] == "." for part in p.relative_to(root).parts))
    # COCO's own folder also has captions and key points of the same images.
    every = [file for file in every if file.stem.startswith("instances_")] or every
    text = root / f"{split}.txt"
    if split == "all" or text.is_file():
        chosen, listed = every, None if split == "all" else read_lines(text)
    else:
        same = VALIDATION if split in VALIDATION else {split}
        chosen, listed = [file for file in every if same & words(file.relative_to(root).with_suffix("").parts)], None
    if not chosen:
        here = f"the JSON files are {', '.join(str(file.relative_to(root)) for file in every[:5]) or 'none'}"
        raise UserError(f"no COCO file of the split {split} in {root}: {here}; set data.split, or write {text.name}")
    return chosen, listed


def _videos(found: Mapping[Path, list[Labelled]]) -> dict[Path, list[Path]]:
    """Group pictures into videos, in natural order: by the folder or, where one holds several videos, by folder and video."""
    folders: dict[Path, dict[str | None, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path, group in found.items():
        folders[path.parent][group[0].video].append(path)
    videos = {}
    for folder, parts in folders.items():
        for video, paths in parts.items():
            sizes = {image_size(path): path for path in paths}
            if len(sizes) > 1:
                one, other, *_ = sizes.values()
                raise UserError(f"{one} and {other.name} differ in size: are they no video? Set data.stills=true")
            whole = list(images_in(folder).values()) if len(parts) == 1 else sorted(paths, key=natural_order)
            videos[folder if video is None else folder / video] = whole
    return videos


def _named(root: Path, videos: Mapping[Path, list[Path]]) -> dict[str, list[Path]]:
    """Name folders, videos in them and images by the last part of their path, or by their whole path in `root` if some share it."""
    paths = {video.with_suffix("") if video.is_file() else video: frames for video, frames in videos.items()}
    if len(paths) < len(videos):
        raise UserError(f"{root} has images that differ only in their suffix: keep one of them")
    ordered = sorted(paths, key=natural_order)
    short = len({path.name for path in ordered}) == len(ordered)
    return {path.name if short or path == root else path.relative_to(root).as_posix(): paths[path] for path in ordered}


def _cached(picture: Path, group: list[Labelled]) -> Path:
    """Return the file of a mask in the cache, and write it there if it isn't yet."""
    content = [image_size(picture), [[one.size, [part for _, part in one.parts]] for one in group]]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    file = cache_folder() / "coco" / digest[:2] / f"{picture.stem}-{digest[:24]}.png"
    if not file.exists():
        write_mask(file, np.logical_or.reduce([one.mask(picture) for one in group]))
    return file

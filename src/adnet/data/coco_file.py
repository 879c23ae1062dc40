"""Read COCO files of any tool, and find the pictures that they speak of."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic reads this one before Python 3.12

from adnet.data.coco_masks import segmentation_mask
from adnet.data.masks import Mask
from adnet.data.pictures import check_same_size, image_size
from adnet.data.videos import composed
from adnet.errors import UserError, nearest
from adnet.shared.files import read_json

Id = int | str
Segmentation = list[Any] | dict[str, Any] | None


class _Image(TypedDict):
    id: Id
    file_name: str
    height: NotRequired[int | None]
    width: NotRequired[int | None]
    video_id: NotRequired[Id | None]


class _Video(TypedDict):
    id: Id
    name: NotRequired[str]
    file_names: NotRequired[list[str]]
    """of YouTube-VIS, which has no images"""


class _Category(TypedDict):
    id: int
    name: str


class _Annotation(TypedDict):
    category_id: int
    id: NotRequired[Id]
    image_id: NotRequired[Id]
    segmentation: NotRequired[Segmentation]
    bbox: NotRequired[Annotated[list[float], Field(min_length=4, max_length=4)] | None]
    video_id: NotRequired[Id]
    segmentations: NotRequired[list[Segmentation]]
    """of YouTube-VIS: one for each of the video's file names, null where the object isn't seen"""


class _File(TypedDict):
    categories: list[_Category]
    annotations: list[_Annotation]
    images: NotRequired[list[_Image]]
    videos: NotRequired[list[_Video]]


class _Result(TypedDict):
    image_id: Id
    segmentation: Segmentation
    category_id: NotRequired[int]
    score: NotRequired[float]


@dataclass(frozen=True)
class Labelled:
    """What a COCO file says about one image.

    `size` is height and width, None if the file has none. `parts` are the foreground's segmentations and what to call each in an
    error. `annotated` says whether there is an annotation of any category.
    """

    file: Path
    name: str
    parts: list[tuple[str, Segmentation]]
    annotated: bool = True
    size: tuple[int, int] | None = None
    video: str | None = None

    def mask(self, picture: Path) -> Mask:
        """Read the foreground in `picture`: bool `[H, W]`. Raises UserError for another size, and for what is no mask."""
        size = image_size(picture)
        check_same_size(f"{self.file}: {self.name}", self.size or size, picture, size)
        mask = np.zeros(size, bool)
        for part in self.masks(partial(segmentation_mask, size=size)):
            mask |= part
        return mask

    def masks(self, read: Callable[[Segmentation], Mask]) -> Iterator[Mask]:
        """Yield what `read` makes of each of the parts. Raises UserError where that raises ValueError."""
        for name, segmentation in self.parts:
            try:
                yield read(segmentation)
            except ValueError as error:
                raise UserError(f"{self.file}: {name} of {self.name} has no usable mask: {error}") from error


def read_coco(files: Iterable[Path], category: str | list[str] | None = None) -> list[Labelled]:
    """Read what COCO files say about their images; the foreground is of these categories (None: of all), crowds included.

    Raises UserError for what isn't COCO, ids that repeat or aren't there, boxes without a mask, and an unknown category.
    """
    contents, wanted = _contents(files, category)
    return [labelled for file, content in contents.items() for labelled in _labelled(file, content, wanted)]


def read_results(
    file: Path, truth: Iterable[Path] = (), category: str | list[str] | None = None, least: float = 0.0
) -> list[Labelled]:
    """Read COCO results, a list of masks with `image_id` and perhaps `score`; those with a lower score than `least` are left out.

    An image whose results are all left out has no `parts`. A number as `image_id` is an id in the COCO files `truth`, which also
    know the categories; a text is a name such as `bear/00012`. Raises UserError for anything else.
    """
    results: list[_Result] = _read(file, _RESULTS)
    contents, wanted = _contents(truth, category)
    ids = {one["id"] for content in contents.values() for one in content["categories"] if one["name"] in wanted}
    images = [(image["id"], image["file_name"]) for content in contents.values() for image in content.get("images", ())]
    names = dict(images)
    if len(names) < len(images):
        raise UserError(f"{', '.join(map(str, contents))} share ids of images: choose one by data.split to read {file}")
    parts: dict[Id, list[tuple[str, Segmentation]]] = defaultdict(list)
    for number, result in enumerate(results):
        image = result["image_id"]
        if isinstance(image, int) and image not in names:
            advice = "numbers are ids of data=coco, for other datasets write 'SEQUENCE/FRAME'"
            raise UserError(f"{file}: no image has the id {image}; {advice}")
        found = parts[image]
        if result.get("score", 1) >= least and (category is None or result.get("category_id") in ids):
            found.append((f"result {number}", result["segmentation"]))
    return [Labelled(file, names.get(image, str(image)), found) for image, found in parts.items()]


_FILE, _RESULTS = TypeAdapter(_File), TypeAdapter(list[_Result])


def _contents(files: Iterable[Path], category: str | list[str] | None) -> tuple[dict[Path, _File], set[str]]:
    """Read COCO files, and name the categories that are foreground. Raises UserError for one that no file has."""
    contents: dict[Path, _File] = {file: _read(file, _FILE) for file in files}
    known = {category["name"] for content in contents.values() for category in content["categories"]}
    wanted = known if category is None else {category} if isinstance(category, str) else {*category}
    if unknown := sorted(wanted - known):
        raise UserError(f"no category {unknown[0]!r} in {', '.join(map(str, contents))}{nearest(unknown[0], known)}")
    return contents, wanted


def _read(file: Path, adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.validate_python(read_json(file, object))
    except ValidationError as found:
        error = found.errors(include_url=False)[0]
        where = "".join(f"{part}." for part in error["loc"])[:-1] or "the whole"
        raise UserError(f"{file} isn't COCO: {where}: {error['msg'][0].lower()}{error['msg'][1:]}") from found


def _labelled(file: Path, content: _File, wanted: set[str]) -> Iterator[Labelled]:
    images, annotations, videos = content.get("images", []), content["annotations"], content.get("videos", [])
    for kind in ("images", "videos", "categories", "annotations"):
        items: Any = content.get(kind, ())
        ids = Counter(item["id"] for item in items if "id" in item)
        if repeated := [one for one, times in ids.items() if times > 1]:
            raise UserError(f"{file}: {ids[repeated[0]]} {kind} have the id {repeated[0]}: number them anew")
    for video in videos:
        names = enumerate(video.get("file_names", ()))
        images = images + [_Image(id=f"{video['id']}/{i}", file_name=name) for i, name in names]
    categories = {category["id"]: category["name"] for category in content["categories"]}
    parts: dict[Id | None, list[tuple[str, Segmentation]]] = {image["id"]: [] for image in images}
    annotated = set()
    for number, annotation in enumerate(annotations):
        called = f"annotation {annotation.get('id', f'number {number}')}"
        category = categories.get(annotation["category_id"])
        if category is None:
            number = annotation["category_id"]
            raise UserError(f"{file}: {called} has the category {number}, which isn't in its categories")
        each: dict[Id | None, Segmentation] = {annotation.get("image_id"): annotation.get("segmentation")}
        if "segmentations" in annotation:
            each = {f"{annotation.get('video_id')}/{i}": one for i, one in enumerate(annotation["segmentations"])}
        for image, segmentation in each.items():
            if image not in parts:
                raise UserError(f"{file}: {called} belongs to the image {image}, which isn't in its images")
            annotated.add(image)
            if category in wanted and segmentation and segmentation != [[]]:
                parts[image].append((called, segmentation))
            elif category in wanted and (box := annotation.get("bbox")) and box[2] * box[3]:
                raise UserError(f"{file}: {called} is a box without a mask: draw one, or choose data.category")
    called_by = {video["id"]: video.get("name", str(video["id"])) for video in videos}
    for entry in images:
        key, of_video = entry["id"], entry.get("video_id")
        size = entry.get("height") or 0, entry.get("width") or 0
        clip = None if of_video is None else re.sub(r"[/\\:]|^\.+", "-", called_by.get(of_video, str(of_video)))
        yield Labelled(file, entry["file_name"], parts[key], key in annotated, size if all(size) else None, clip)


def located(labelled: Iterable[Labelled], pictures: Iterable[Path], where: str) -> dict[Path, list[Labelled]]:
    """Find the picture of each, whatever folder its tool has put in front of the name; that of several files is perhaps the same.

    A picture has the stem of the name, of any format, or both are called by their number, as CVAT's `frame_000012` and `00012.jpg`;
    of several, that whose folders fit best. Raises UserError for a missing one, `where` being where it was looked for, where several
    fit equally, and for a picture that a file names twice.
    """
    called: dict[str | int, list[Path]] = defaultdict(list)
    for path in pictures:
        for key in _keys(path):
            called[key].append(path)
    found: dict[Path, list[Labelled]] = defaultdict(list)
    missing = []
    for one in labelled:
        name = PurePosixPath(one.name.replace("\\", "/"))
        candidates: list[Path] = next((called[key] for key in _keys(name) if key in called), [])
        ranks = sorted((_fit(path, name, one.file), path) for path in candidates)
        if not ranks:
            missing.append(one)
            continue
        path = ranks[-1][1]
        if len(ranks) > 1 and ranks[-1][0] == ranks[-2][0]:
            raise UserError(f"{one.file}: {one.name} may be {ranks[-2][1]} or {path}: put the file beside its images")
        if found[path] and found[path][-1].file == one.file:
            raise UserError(f"{one.file}: {found[path][-1].name} and {one.name} are both {path}: keep one of them")
        found[path].append(one)
    if missing:
        raise UserError(f"{missing[0].file}: {missing[0].name} isn't in {where} ({len(missing)} such): add it")
    return found


def _keys(name: PurePath) -> list[str | int]:
    """Return what a picture may be found by: its stem, and its number."""
    stem = composed(name.stem)
    number = re.fullmatch(r"(?:frame_?)?(\d+)", stem, re.IGNORECASE)
    return [stem, int(number[1])] if number else [stem]


def words(names: Iterable[str]) -> set[str]:
    """Return the words in names, with and without digits, and the names whole: of `instances_val2017` also `val`."""
    patterns = (r"[a-zA-Z0-9]+", r"[a-zA-Z]+")
    return {word for name in names for pattern in patterns for word in (name, *re.findall(pattern, name))}


def _fit(path: Path, name: PurePosixPath, file: Path) -> tuple[int, bool, int, bool]:
    """Return how well a path fits: folders shared with the name, is its folder named by the file, folders shared with the file."""
    named = zip(reversed(path.parent.parts), reversed(name.parent.parts), strict=False)
    beside = zip(path.parent.parts, file.parent.parts, strict=False)
    shared, common = (sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) for pairs in (named, beside))
    return shared, path.parent.name in words((file.stem, file.parent.name)), common, path.name == name.name

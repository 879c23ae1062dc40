"""Types of the JSON files that commands write and read: pydantic checks what is read, and the documentation's schemas are made of them."""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict  # pydantic reads this one before Python 3.12

from adnet.errors import UserError
from adnet.shared.files import read_json
from adnet.shared.value_types import Proportion

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Difference = Annotated[float, Field(ge=-1, le=1)]
Size = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]
Curve = Annotated[
    list[Proportion], Field(min_length=256, max_length=256, description="at the thresholds 255/255, 254/255, ... 0")
]

json_file = with_config(ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True))
"""Decorate the type of a whole file; the types within it follow.

Texts below its keys describe them in the schema. Subclasses lack those of their bases, which therefore use `Field(description=...)`.
"""


class Statistics(TypedDict):
    mean: Proportion
    recall: Annotated[Proportion, Field(description="share of frames above 0.5")]
    decay: Annotated[Difference | None, Field(description="mean of the first quarter less that of the last")]


class FrameStatistics(Statistics):
    frames: Annotated[list[Proportion], Field(min_length=1)]
    """of each of the sequence's `frames`"""


class MeanScores(TypedDict):
    J: Statistics
    F: Statistics


class SequenceScores(TypedDict):
    frames: NotRequired[Annotated[list[str], Field(min_length=1)]]
    """names of the frames that count, without suffix, in time order; missing in files of older versions"""
    J: FrameStatistics
    F: FrameStatistics


class PixelScores(TypedDict):
    precision: Proportion
    recall: Proportion
    F_measure: Proportion
    """2PR / (P + R)"""


class PooledSaliency(TypedDict):
    MAE: Proportion
    F_max: Proportion
    precision: Curve
    recall: Curve


class PerFrameSaliency(PooledSaliency):
    F_adaptive: Proportion
    S: NotRequired[Proportion]
    """structure measure; missing in files of older versions"""


class Saliency(TypedDict):
    pooled: PooledSaliency
    per_frame: PerFrameSaliency


class AttributeScores(TypedDict):
    J: Proportion
    F: Proportion
    sequences: list[str]


@json_file
class Scores(TypedDict):
    """J and F of masks, by `adnet.score`, `adnet.evaluate` and a training's end. All scores are in [0, 1]."""

    dataset: str
    """davis2016, fbms, ..."""
    split: str
    protocol: str
    """how the masks were made: paper, published, single_scale, ...; davis for another method's"""
    kind: Literal["masks", "probabilities"]
    """what the files held"""
    kind_reason: str
    """the rule by which `kind` was determined"""
    mean: MeanScores
    """plain mean over sequences"""
    pixel: PixelScores
    """over the pixels of all masks together"""
    saliency: NotRequired[Saliency]
    """of probability maps, in both conventions; missing for masks"""
    attributes: NotRequired[dict[str, AttributeScores]]
    """means over the sequences with each attribute; missing if the dataset has none"""
    sequences: dict[str, SequenceScores]
    """each sequence by name, in the dataset's order"""


class UntrainedScores(TypedDict):
    J: Proportion
    F: Proportion


class SplitFingerprint(TypedDict):
    sequences: list[str]
    frames: NonNegativeInt
    sha256: Sha256
    """over names and annotations"""
    frames_sha256: Sha256
    """over the frames"""
    flow_sha256: NotRequired[dict[str, Sha256]]
    """of each video's flow files, with flow=folder"""


class Fingerprints(TypedDict):
    train: SplitFingerprint
    val: SplitFingerprint


@json_file
class Provenance(TypedDict):
    """What a training was made from. A run resumes only on the same data."""

    git_commit: Annotated[str | None, Field(description="with -dirty if files were changed; null without a checkout")]
    versions: Annotated[dict[str, str], Field(description="of Python, adnet, torch and others")]
    threads: NotRequired[Annotated[PositiveInt, Field(description="of each process; not in files of 0.2")]]
    data: Annotated[Fingerprints, Field(description="the same for the same data, wherever it is")]


@json_file
class Summary(Provenance):
    """Written last into a run folder: the training has all of its steps."""

    variant: str
    """baseline, intra, anchor, anchor_diffusion, full, ..."""
    seed: NonNegativeInt
    J: Proportion | None
    """mean over the validation sequences, in [0, 1]; null with test_at_end=false"""
    F: Proportion | None
    """the same"""
    initial: UntrainedScores | None
    """before training; null without test_at_start=true"""
    dataset: str
    steps: NonNegativeInt
    """of the optimiser"""
    seconds: NonNegativeFloat
    """of training, over all resumptions"""
    parameters: NonNegativeInt
    """of the network"""


class Settings(TypedDict):
    protocol: Annotated[dict[str, Any], Field(description="the settings of adnet.inference.Protocol")]
    precision: NotRequired[Annotated[str, Field(description="in which the network computed: fp32, bf16 or fp16")]]
    backend: Annotated[str, Field(description="torch, compile, openvino, openvino_int8, onnx")]
    flow: Annotated[dict[str, Any] | None, Field(description="method, and files_sha256 of each video; or null")]
    postprocess: Annotated[dict[str, Any] | None, Field(description="its config")]
    files_sha256: Annotated[dict[str, Sha256], Field(description="of each file that the settings name, by its path")]


@json_file
class Evaluation(Settings):
    """What `adnet.evaluate` evaluated, how, and how long it took.

    It marks the folder as that evaluation's: the same command resumes it, and another is refused.
    """

    checkpoint: str | None
    """path; null at a training's end"""
    checkpoint_sha256: Sha256 | None
    """of the file, or of all files of an export"""
    dataset: str
    root: str
    """path of the dataset"""
    split: str
    options: NotRequired[dict[str, Any]]
    """of `data`, as far as they say what is annotated"""
    sequences: list[str]
    annotations_sha256: Sha256
    """of names and annotations"""
    frames_sha256: Sha256
    """of the frames"""
    size: Size
    """height and width in pixels of the first scale"""
    frames: NotRequired[NonNegativeInt]
    """number segmented; present once the evaluation has finished"""
    seconds: NotRequired[NonNegativeFloat]
    """time that took; present once the evaluation has finished"""


class SequenceDrift(TypedDict):
    frames: list[str]
    """the annotated ones"""
    distance: list[Annotated[float, Field(ge=-1e-6, le=2.000001)] | None]
    """cosine distance in [0, 2] of each, mean over all pairs of foreground pixels; null if either frame has none on the grid"""


@json_file
class Embeddings(TypedDict):
    """Beside an evaluation's scores, with `embeddings`: how far each frame's foreground is from the first frame's.

    The embeddings themselves are embeddings/SEQUENCE.npz.
    """

    variant: str
    """baseline, intra, anchor, anchor_diffusion, full, ..."""
    size: list[Annotated[int, Field(ge=17)]]
    """height and width in pixels"""
    sequences: dict[str, SequenceDrift]


@json_file
class Export(TypedDict):
    """What an exported folder holds. A folder with a missing or an altered file is refused."""

    format: str
    """onnx, openvino"""
    variant: str
    needs_anchor: bool
    needs_flow: bool
    takes_several_anchors: bool
    size: Size
    """height and width in pixels that it was made for; others of 8k + 1 work, too"""
    int8: bool
    """whether convolutions are in 8-bit integers"""
    checkpoint: NotRequired[str]
    """name of the file that it was made from"""
    checkpoint_sha256: NotRequired[Sha256]
    sha256: dict[str, Sha256]
    """of each file: embed.*, the encoder, and segment.*, the fusion (a baseline has none)"""
    versions: dict[str, str]
    """of the libraries that wrote it"""
    largest_difference: NonNegativeFloat
    """of logits from the network's, as a share of the largest logit"""


@dataclass(frozen=True)
class Predicted:
    """What became of a video that was segmented."""

    frames: NonNegativeInt
    """total"""
    segmented: NonNegativeInt
    """processed by the last command"""
    seconds: NonNegativeFloat
    """time that took"""
    problem: str | None
    """what couldn't be read"""


@json_file
class Prediction(Settings):
    """What `adnet.predict` was given, and what became of each video. It marks the folder as that command's."""

    input: dict[str, Any]
    """what identifies each video's content, by its name"""
    checkpoint_sha256: Sha256 | None
    """of the file, or of all files of an export; null if Python gave a network, not a file"""
    size: Size
    """height and width whose area frames are resized to"""
    anchor: str | int | None
    """null: the first frame"""
    videos: NotRequired[dict[str, Predicted]]
    """by name; each is added when it is done"""


class JobScores(TypedDict):
    J: Proportion | None
    """null if the job has no summary.json"""
    F: Proportion | None


@json_file
@dataclass(frozen=True)
class SweepJob:
    """Written last into a sweep's folder: what became of each job."""

    folder: str
    """the job's"""
    status: Literal["finished", "pruned", "skipped", "busy", "stopped", "failed"]
    scores: JobScores
    seconds: NonNegativeFloat | None
    """wall clock; null if the job didn't run"""
    reason: str | None
    """why it failed or stopped, in one line; null if it did neither"""
    log: str | None
    """what its process printed; null if none ran"""


FORMATS: dict[str, Any] = {
    "scores": Scores,
    "summary": Summary,
    "sweep": list[SweepJob],
    "embeddings": Embeddings,
    "evaluation": Evaluation,
    "export": Export,
    "predict": Prediction,
    "provenance": Provenance,
}
"""The type of each file by its name without `.json`."""


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(FORMATS[name])


def json_schema(name: str) -> dict[str, Any]:
    """Make the JSON schema of a format, which files as adnet writes them now satisfy."""
    kind = next(iter(get_args(FORMATS[name])), FORMATS[name])  # of a list that of its items
    about = {"title": f"{name}.json", "description": " ".join((kind.__doc__ or "").split())}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _adapter(name).json_schema() | about


def read_document(
    file: Path, name: str, needs: Collection[str] = (), advice: str = "write the file again"
) -> dict[str, Any]:
    """Read a JSON file of the format `name`; additional entries are kept.

    Entries that match one of the patterns `needs` (`sequences.*.mean`) must be there; a file by another version of adnet may lack
    others. Raises UserError, which says what is wrong with which entry, and `advice`, for one that is missing or of another type or
    range.
    """
    document = read_json(file)
    try:
        _adapter(name).validate_python(document)
    except ValidationError as found:
        for error in found.errors(include_url=False):
            where = ".".join(map(str, error["loc"]))
            if error["type"] == "missing":
                if any(fnmatchcase(where, pattern) for pattern in needs):
                    raise UserError(f"{file}: the entry `{where}` is missing; {advice}") from found
            elif error["type"] != "extra_forbidden":
                reason = f"{error['msg'][0].lower()}{error['msg'][1:]}"
                raise UserError(f"{file}: `{where}`: {reason}, got {error['input']!r:.60}; {advice}") from found
    return document

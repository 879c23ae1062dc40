"""From a trained network and a video to probabilities and masks."""

from adnet.inference.checkpoint import load_checkpoint
from adnet.inference.evaluation import evaluate
from adnet.inference.segmenter import Protocol, VideoSegmenter

__all__ = ["Protocol", "VideoSegmenter", "evaluate", "load_checkpoint"]

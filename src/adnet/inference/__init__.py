"""Segment videos and datasets with a trained network."""

from adnet.inference.evaluate_dataset import evaluate
from adnet.inference.protocol import Protocol
from adnet.inference.segmenter import VideoSegmenter
from adnet.models.checkpoint import load_checkpoint

__all__ = ["Protocol", "VideoSegmenter", "evaluate", "load_checkpoint"]

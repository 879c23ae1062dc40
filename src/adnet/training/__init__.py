"""The LightningModule, the poly schedule, and what a run leaves behind."""

from adnet.training.module import SegmentationModule
from adnet.training.schedule import poly

__all__ = ["SegmentationModule", "poly"]

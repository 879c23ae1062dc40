"""Training: the LightningModule, its learning-rate schedule, callbacks and loggers, and the run folder."""

from adnet.training.module import SegmentationModule
from adnet.training.schedule import poly

__all__ = ["SegmentationModule", "poly"]

"""Training: the LightningModule, its learning-rate schedule, callbacks and loggers, and the run folder."""

from adnet.training.module import SegmentationModule, poly

__all__ = ["SegmentationModule", "poly"]

"""Quality of masks: region similarity J, contour accuracy F, saliency, and the rules of the benchmarks.

Temporal stability T is left out on purpose: the paper reports only J and F. Nothing here imports torch, so that every worker
starts scoring quickly.
"""

from adnet.metrics.contour import contour_accuracy
from adnet.metrics.frame_scores import region_similarity
from adnet.metrics.saliency import Saliency
from adnet.metrics.scoring import score_dataset, sequence_statistics

__all__ = [
    "Saliency",
    "contour_accuracy",
    "region_similarity",
    "score_dataset",
    "sequence_statistics",
]

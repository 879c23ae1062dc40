"""Datasets on disk, pair sampling, augmentation, synthetic videos.

This package doesn't import the modules that need torch, so that scoring masks starts quickly.
"""

from adnet.data.coco_dataset import coco
from adnet.data.datasets import davis2016, davis2017, duts, fbms, folder, images, msra10k, synthetic, visal, youtube_vos
from adnet.data.masks import read_mask, write_mask
from adnet.data.pictures import read_frame
from adnet.data.videos import Video, VideoDataset

__all__ = [
    "Video",
    "VideoDataset",
    "coco",
    "davis2016",
    "davis2017",
    "duts",
    "fbms",
    "folder",
    "images",
    "msra10k",
    "read_frame",
    "read_mask",
    "synthetic",
    "visal",
    "write_mask",
    "youtube_vos",
]

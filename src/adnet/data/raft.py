"""Optical flow by torchvision's RAFT (Teed and Deng, ECCV 2020, arXiv:2003.12039)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import PositiveInt
from torch.nn.functional import pad
from torch.utils.data import get_worker_info
from torchvision.models import get_model, get_model_weights

from adnet.data.flow import FrameFlow, reduced
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame
from adnet.errors import UserError
from adnet.shared.fetch import fetch_torchvision
from adnet.shared.machine import usable_device
from adnet.weights.fit import load_into
from adnet.weights.safe_load import read_weights

_LEAST = 128
"""Smallest side in pixels that RAFT's four-level correlation pyramid accepts."""


class RAFT(FrameFlow):
    """Optical flow by one of torchvision's networks.

    Args:
        model: `raft_small` (1.0 M parameters) or `raft_large` (5.3 M).
        weights: a file with its state dict; None: torchvision's default weights, downloaded to the cache of `torch.hub` on
            first use.
        height: in pixels; larger frames are reduced to it, keeping their aspect ratio.
        updates: iterations of the recurrent part; more are slower and more accurate.
        camera: subtract the camera's motion, as `OpticalFlow` does.
        device: None: CUDA if available.

    Raises UserError for weights that can't be loaded or don't fit, and for a device that can't be used.
    """

    def __init__(
        self,
        model: Literal["raft_small", "raft_large"] = "raft_small",
        weights: str | None = None,
        height: PositiveInt = 240,
        updates: PositiveInt = 12,
        camera: bool = True,
        device: str | None = None,
    ) -> None:
        self.model, self.height, self.updates, self.camera = model, height, updates, camera
        self.device = usable_device(device)
        published = get_model_weights(model).DEFAULT.url
        file = Path(weights or fetch_torchvision(published, "give flow.method.weights=FILE, or take flow=dis"))
        state = read_weights(file)
        self._digest = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
        network: torch.nn.Module = get_model(model, weights=None)
        load_into(network, state, str(file), f"torchvision's {model}")
        self._network = network.eval().to(self.device)

    def __repr__(self) -> str:
        """Name everything that the flow depends on; the weights by their content, wherever they lie."""
        return f"RAFT({self.model}, {self._digest}, height={self.height}, updates={self.updates}, camera={self.camera})"

    @torch.inference_mode()
    def vectors(self, frame: Frame, neighbour: Frame) -> npt.NDArray[np.float32]:
        """Compute the flow in pixels of the reduced frames. Raises UserError if it needs CUDA in a loader process."""
        if self.device.type == "cuda" and get_worker_info() is not None:
            raise UserError("RAFT can't use CUDA in a loader process: give flow.cache=FOLDER, or pairs.workers=0")
        pair = torch.stack([to_tensor(reduced(image, self.height)) for image in (frame, neighbour)])
        height, width = pair.shape[-2:]
        bottom, right = (max(_LEAST, side + -side % 8) - side for side in (height, width))
        images = pad(pair.to(self.device).float() / 127.5 - 1, (0, right, 0, bottom), mode="replicate")
        flow = self._network(images[:1], images[1:], num_flow_updates=self.updates)[-1][0, :, :height, :width]
        return np.ascontiguousarray(flow.permute(1, 2, 0).cpu().numpy(), np.float32)

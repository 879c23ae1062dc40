"""The anchor diffusion network (Section 3, Figure 2)."""

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from adnet.errors import UserError, nearest
from adnet.models.branches import BRANCHES, VARIANTS, Encoded
from adnet.models.decoder import Decoder
from adnet.models.encoder import DeepLabV3, conv_norm_act
from adnet.models.hub_mixin import HubMixin
from adnet.models.warm_start import warm_start
from adnet.shared.value_types import Proportion


class ADNet(HubMixin):
    """Encoder, branches and fusion head. Frames are RGB in [0, 1], `[B, 3, H, W]`; the encoder normalises them.

    Args:
        encoder: frames -> embeddings `[B, C, h, w]` at stride 8.
        variant: a row of Table 1 (`baseline`, `intra`, `anchor`, `anchor_diffusion`, `full`) or an extension (`cross`,
            `motion`, `full_motion`). The baseline has no head: its encoder's only output channel is the logit.
        head_channels: width of the fusion head (128 in the paper).
        dropout: dropout rate of the fusion head and the auxiliary head (0.1 in the paper).
        aux_weight: loss weight of an auxiliary head on the backbone's second-last stage; 0, as in the paper: no such head.
        decoder: end in a `Decoder` instead of the head's last layer (not in the paper); needs an encoder with `shallow`.
        motion: encoder of the optical flow, `[B, 3, H, W]` from `adnet.data.flow` -> `[B, C, h, w]`, for variants with a
            motion branch; a second stream as in Simonyan and Zisserman (arXiv:1406.2199).
        appearance_dropout: probability, in training, of hiding a moving frame's appearance and its anchor's, so that its mask
            must be found by motion alone (the modality dropout of Neverova et al., arXiv:1501.00102).
        weights: a file to initialise the network from, as far as its weights fit; see `adnet.models.warm_start`.

    Raises UserError for an unknown variant, a baseline whose encoder has more than one output channel, a decoder without
    shallow features, a motion encoder that is missing or that the variant can't use, and appearance dropout without one.

    Examples:
        >>> network = ADNet(DeepLabV3("resnet18", pretrained=False, aspp_channels=32), "full").eval()
        >>> anchor, frame = torch.rand(2, 1, 3, 33, 57)
        >>> network(anchor, frame).shape
        torch.Size([1, 1, 5, 8])
    """

    fixed_batch = False
    """Whether `encode` is compiled, so that each new batch size costs a compilation."""

    def __init__(
        self,
        encoder: DeepLabV3,
        variant: str = "full",
        head_channels: PositiveInt = 128,
        dropout: Proportion = 0.1,
        aux_weight: NonNegativeFloat = 0.0,
        decoder: bool = False,
        motion: DeepLabV3 | None = None,
        appearance_dropout: Proportion = 0.0,
        weights: str | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__", "weights")}
        super().__init__()
        if variant not in VARIANTS:
            raise UserError(f"unknown variant {variant!r}{nearest(variant, VARIANTS)}")
        encoders = {"encoder": encoder.config, "motion": None if motion is None else motion.config}
        self.config = {"_target_": "adnet.models.ADNet", **given, **encoders}
        """Plain values from which `from_config` rebuilds this network, with random weights."""
        self.encoder = encoder
        self.variant = variant
        self.branches = VARIANTS[variant]
        self.motion = motion
        self.appearance_dropout = appearance_dropout
        if self.needs_flow is not (motion is not None):
            raise UserError(f"the variant {variant!r} {'needs a' if self.needs_flow else 'has no'} motion encoder")
        if appearance_dropout and motion is None:
            raise UserError(f"appearance_dropout hides all but motion, which {variant!r} does not see: set it to 0")
        channels = encoder.embedding_channels
        if channels != 1 and not (self.branches or decoder):
            raise UserError(f"the baseline's encoder outputs the logit: set embedding_channels to 1, not {channels}")
        if decoder and len(encoder.shallow_channels) != 2:
            raise UserError("a decoder needs the backbone's features at stride 4 and 2: set model.encoder.shallow=true")
        self.head: nn.Module = nn.Identity()
        if self.branches:
            self.head = nn.Sequential(
                *conv_norm_act(len(self.branches) * channels, head_channels, 1),
                nn.Dropout2d(dropout),
                nn.Identity() if decoder else nn.Conv2d(head_channels, 1, 1),
            )
            channels = head_channels
        self.decoder = Decoder(channels, encoder.shallow_channels) if decoder else None
        self.aux_weight = aux_weight
        self.aux: nn.Module | None = None
        if aux_weight:  # shaped as in the published code
            features = conv_norm_act(encoder.stage_channels[-2], 512, 3)
            self.aux = nn.Sequential(*features, nn.Dropout2d(dropout), nn.Conv2d(512, 1, 1))
        self.warm_start_report = warm_start(self, self.branches, weights) if weights else None
        """One line that says which tensors came from `weights` and which did not."""

    @property
    def needs_anchor(self) -> bool:
        """Whether the logits depend on the anchor at all."""
        return any(BRANCHES[branch].uses_anchor for branch in self.branches)

    @property
    def needs_flow(self) -> bool:
        """Whether the logits depend on the frame's optical flow."""
        return any(BRANCHES[branch].uses_motion for branch in self.branches)

    @property
    def takes_several_anchors(self) -> bool:
        """Whether X_0 may be of any size, such as the stacked embeddings of several anchors."""
        using = [BRANCHES[name] for name in self.branches if BRANCHES[name].uses_anchor]
        return bool(using) and all(branch.any_grid for branch in using)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, and of the frames that the network expects."""
        return next(self.parameters()).dtype

    def embed(self, frames: Tensor) -> Tensor:
        """Embed frames `[B, 3, H, W]` in [0, 1]: X `[B, C, h, w]`, all that is kept of an anchor."""
        return self.encoder(frames)

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        """Encode frames for `segment`: frames and their optical flow `[B, 3, H, W]` in [0, 1]; without flow, no motion."""
        *shallow, _, last = self.encoder.features(frames)
        return self.with_motion(self.encoder.embed(last), shallow, frames, flow)

    def with_motion(self, embedding: Tensor, shallow: list[Tensor], frames: Tensor, flow: Tensor | None) -> Encoded:
        """Return X_t and the shallow features with the embedding of the flow."""
        motion = None
        if self.motion is not None:
            motion = self.motion(no_motion(frames) if flow is None else flow)
        return Encoded(embedding, tuple(shallow[::-1]) if self.decoder is not None else (), motion)

    def segment(self, anchor_embedding: Tensor, frame: Encoded | Tensor) -> Tensor:
        """Compute logits `[B, 1, h, w]`, with a decoder `[B, 1, 4h - 3, 4w - 3]`, from X_0 and the encoded frame.

        X_0 is `[B, C, h, w]`, or `[1, C, h, w]` for all frames. A network with neither a decoder nor a motion branch
        also takes X_t alone as its `frame`.
        """
        encoded = frame if isinstance(frame, Encoded) else Encoded(frame)
        logits: Tensor = encoded.embedding
        if self.branches:
            anchor_embedding = anchor_embedding.expand(logits.shape[0], -1, -1, -1)  # not len(), of which tracing warns
            outputs = [BRANCHES[branch].output(anchor_embedding, encoded) for branch in self.branches]
            logits = self.head(torch.cat(outputs, dim=1))
        return logits if self.decoder is None else self.decoder(logits, encoded.shallow)

    def logits(self, anchor_embedding: Tensor | None, frames: Tensor, flow: Tensor | None = None) -> Tensor:
        """Compute the logits of `segment` from X_0, which is None if no branch uses it, and frames as `encode` takes them."""
        encoded = self.encode(frames, flow)
        return self.segment(encoded.embedding if anchor_embedding is None else anchor_embedding, encoded)

    def forward(self, anchor: Tensor, frame: Tensor, flow: Tensor | None = None) -> Tensor:
        """Compute the logits of `segment` from anchor and frame `[B, 3, H, W]`, in one encoder pass over both."""
        return self.forward_with_aux(anchor, frame, flow)[0]

    def forward_with_aux(
        self, anchor: Tensor, frame: Tensor, flow: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute `forward` and the auxiliary head's logits for the frame, `[B, 1, h, w]`; None without such a head."""
        frames, number = torch.cat([anchor, frame]) if self.needs_anchor else frame, len(frame)
        shown = None
        if self.training and self.appearance_dropout and flow is not None:
            # Without X_t, attention has nothing to weigh: anchor diffusion, intra-frame attention and skip are all 0.
            moving = (flow != no_motion(frame)).flatten(1).any(dim=1)
            hidden = moving & (torch.rand(number, device=flow.device) < self.appearance_dropout)
            shown = (~hidden).repeat(len(frames) // number)
        # To encode what is hidden takes time, and changes gradients only through batch norm, which needs more than one pair.
        fixed = self.aux is not None or frames.is_meta or torch.compiler.is_compiling()
        fewer = shown is not None and not fixed and 1 < int(shown[:number].sum()) < number
        *shallow, middle, last = self.encoder.features(frames[shown] if fewer else frames)
        seen = [self.encoder.embed(last), *shallow]
        if shown is not None:
            seen = [hide(features, shown) for features in seen]
        embeddings, *shallow = seen
        encoded = self.with_motion(embeddings[-number:], [features[-number:] for features in shallow], frame, flow)
        logits = self.segment(embeddings[:number], encoded)
        return logits, None if self.aux is None else self.aux(middle[-number:])


def hide(features: Tensor, shown: Tensor) -> Tensor:
    """Set features `[B, C, h, w]` to 0 where not `shown`, bool `[B]`; they may be those of the shown frames alone."""
    if len(features) < len(shown):
        features = features.index_select(0, (shown.cumsum(0) - 1).clamp(min=0))
    return features * shown[:, None, None, None]


def no_motion(frames: Tensor) -> Tensor:
    """Return the flow input `[B, 3, H, W]` of frames `[B, 3, H, W]` without any motion, as `adnet.data.flow` has it."""
    return frames.new_tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1).expand(frames.shape)

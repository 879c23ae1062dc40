"""adnet: anchor diffusion for unsupervised video object segmentation (Yang et al., ICCV 2019)."""

__version__ = "0.2.0"

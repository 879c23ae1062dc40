"""Peak memory of anchor diffusion at 481 x 857 (61 x 108 embeddings of 128 channels): `python tests/models/peak_memory.py`."""

import argparse
import multiprocessing
import resource

HEIGHT, WIDTH, CHANNELS = 61, 108, 128


def measure(form: str, backward: bool) -> float:
    """MiB that the process grows by at its peak. The two branches of `full`, one frame, float32."""
    import torch

    from adnet.models import BRANCHES, Encoded, pixel_attention

    def explicit(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        X_0, X_t = (x.flatten(2).transpose(1, 2) for x in (query, key))
        P = (X_0 @ X_t.transpose(1, 2) / query.shape[1] ** 0.5).softmax(dim=-1)
        return (P @ X_t).transpose(1, 2).reshape(query.shape)

    torch.set_num_threads(1)
    small = torch.randn(1, CHANNELS, 8, 8, requires_grad=backward)
    anchor, current = (torch.randn(1, CHANNELS, HEIGHT, WIDTH, requires_grad=backward) for _ in range(2))

    def fuse(anchor: torch.Tensor, current: torch.Tensor) -> None:
        if form == "explicit":
            outputs = [explicit(anchor, current), explicit(current, current)]
        else:
            outputs = [
                BRANCHES[branch].output(anchor, Encoded(current)) for branch in ("anchor_diffusion", "intra_frame")
            ]
        if backward:
            sum(out.square().mean() for out in outputs).backward()

    fuse(small, small)
    assert pixel_attention(small, small).shape == small.shape
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuse(anchor, current)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    context = multiprocessing.get_context("spawn")
    for backward in (False, True):
        for form in ("fused", "explicit"):
            with context.Pool(1) as pool:
                grown = pool.apply(measure, (form, backward))
            print(f"{form:>8} {'forward + backward' if backward else 'forward':<18} {grown:8.1f} MiB")


if __name__ == "__main__":
    main()

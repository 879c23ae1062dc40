#!/usr/bin/env bash
# torch 2.14.1: on a CPU with one thread, a 1x1 convolution of fewer than 16 images is not computed by oneDNN, unless it has a dilation.
# Guess: oneDNN computes every float32 convolution of an x86 processor, whatever the threads; the dilation of a single pixel changes nothing.
# Seen: with one thread and 1 to 15 images, 1x1 goes to aten::_slow_conv2d_forward; with 16 images, two threads, a 3x3 kernel, or
# dilation=2 on the 1x1 kernel, to aten::mkldnn_convolution. Results agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 numpy
venv/bin/python - <<'PY' 2> /dev/null
import torch
from torch.nn.functional import conv2d
from torch.profiler import ProfilerActivity, profile

KNOWN = {"aten::mkldnn_convolution", "aten::_slow_conv2d_forward"}


def way(threads: int, images: int, size: int = 1, dilation: int = 1) -> str:
    torch.set_num_threads(threads)
    x, kernel = torch.rand(images, 192, 16, 28), torch.rand(1152, 192, size, size)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        conv2d(x, kernel, dilation=dilation)
    (used,) = KNOWN & {event.key for event in profiled.key_averages()}
    return used


given = {"1 thread": (1, 15), "16 images": (1, 16), "2 threads": (2, 15), "3x3": (1, 15, 3), "dilation 2": (1, 15, 1, 2)}
seen = {name: way(*values) for name, values in given.items()}
for name, used in seen.items():
    print(f"{name}: {used}")
torch.set_num_threads(1)
x, kernel = torch.rand(2, 192, 16, 28), torch.rand(64, 192, 1, 1)
torch.testing.assert_close(conv2d(x, kernel), conv2d(x, kernel, dilation=2), atol=1e-3, rtol=1e-4)
assert seen.pop("1 thread") == "aten::_slow_conv2d_forward"
assert set(seen.values()) == {"aten::mkldnn_convolution"}
PY

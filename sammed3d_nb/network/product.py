"""Matrix products of tokens and weights."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear


def product(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``tokens @ weight.T + bias``, by the library that is fastest at it.

    In float32 on a CPU PyTorch multiplies with MKL, which leaves AVX-512 unused on processors that are not Intel's, but
    convolves with oneDNN, which uses it wherever it is: as a 1×1 convolution (channels last, so nothing is copied) the
    same product runs at 350 instead of 175 GFLOP/s on two cores of an AMD EPYC.

    Args:
        tokens: (N, in).
        weight: (out, in).
        bias: (out,) or (N, out).
    """
    count = len(tokens)
    convolve = tokens.device.type == "cpu" and tokens.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    if convolve and count >= 64 and count % 8 == 0:
        image = tokens.reshape(1, 8, count // 8, -1).permute(0, 3, 1, 2)
        own = bias if bias is not None and bias.ndim == 1 else None
        out = conv2d(image, weight[:, :, None, None], own).permute(0, 2, 3, 1).reshape(count, -1)
        return out if bias is own else out.add_(bias)  # type: ignore[arg-type]
    if bias is not None and bias.ndim == 2:
        return torch.addmm(bias, tokens, weight.t())
    return linear(tokens, weight, bias)

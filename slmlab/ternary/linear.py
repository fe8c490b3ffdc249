"""BitLinear to train, PackedLinear and PackedEmbedding to run: one matrix each."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import cython_kernels as kernels
from cython_kernels import layouts
from cython_kernels.reference import FORMAT, FORMATS, PANEL_ROWS
from slmlab import quant

ACTIVATION_FLOOR = 1e-5  # least max|x| of a token, and least mean|weight|: BitNet's
K_EXACT = 2**24 // 127  # beyond it a sum of int8 codes may not fit float32's 24 bits
NAMES = tuple(FORMATS)  # a format's number in a state dict is its place here


class BitLinear(nn.Linear):
    """y = x W^T + bias in w1.58a8, forward and backward: float32 inside, result in x's dtype.

    `weight`, (N, K), is the master weight that training moves. Each forward makes it ternary and the tokens int8. The
    gradient passes the rounding as if it were not there (straight-through): that of x is taken with the ternary
    weights, that of the weight with the rounded tokens.

    The forward is the same in training and in eval mode, and equals PackedLinear's bit for bit: sums of codes are exact
    in float32 up to 2**24, which is why K may be 132104 at most (ValueError).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device=None, dtype=None):
        if in_features > K_EXACT:
            raise ValueError(f"in_features is {in_features}, wanted at most {K_EXACT}: sums beyond are not exact")
        super().__init__(in_features, out_features, bias, device, dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would not hold the sums
            y = _StraightThrough.apply(x.float(), self.weight.float())
        if self.bias is not None:
            y = y + self.bias.float()
        return y.to(x.dtype)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        x_codes, x_scale = quantize_tokens(x)
        w_codes, w_scale = ternarize(weight)
        ctx.save_for_backward(x_codes, x_scale, w_codes, w_scale)
        return functional.linear(x_codes, w_codes) * (w_scale / x_scale)

    @staticmethod
    def backward(ctx, gradient):
        x_codes, x_scale, w_codes, w_scale = ctx.saved_tensors
        tokens = (x_codes / x_scale).flatten(0, -2)  # (M, K)
        return gradient @ (w_codes * w_scale), gradient.flatten(0, -2).T @ tokens


def ternarize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes -1, 0, +1 of weight's shape and their scale mean|weight|, (), float32: weight is about codes * scale."""
    scale = weight.abs().mean(dtype=torch.float64).clamp(min=ACTIVATION_FLOOR).float()
    return (weight * (1 / scale)).round().clamp(-1, 1), scale


def quantize_tokens(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes -127 ... 127 of x, (..., K), and the scale of each token, (..., 1), float32: x is about codes / scale."""
    largest = x.abs().amax(dim=-1, keepdim=True).clamp(min=ACTIVATION_FLOOR)
    scale = x.new_tensor(127.0) / largest  # 127 / largest would be 127 times a rounded reciprocal
    return (x * scale).round(), scale


# ------------------------------------------------------------------------------------------------------------------
# Packed


class _Packed(nn.Module):
    """A module whose tensors stay as they are: on the CPU, in the types the kernels read."""

    def _apply(self, fn, recurse=True):
        where = fn(torch.empty(0)).device
        if where.type != "cpu":
            raise ValueError(
                f"packed weights came to be moved to {where}, wanted the CPU: their kernels run there alone"
            )
        return self  # .half(), .to(torch.bfloat16) and the like change the rest of a model


class PackedLinear(_Packed):
    """y = x W^T + bias in w1.58a8 on packed weights: no gradients, the CPU alone, torch.get_num_threads() threads.

    format: "base3" or "2bit" for ternary weights; "int8" for others, a head's. That one takes x as the sum of two int8
        terms, 15 bits: one large value would leave the others few of eight
    packed: uint8 tensor to hold the weights, `cython_kernels.packed_bytes(N, K, format)` long; a new one if left out

    A new layer has weights 0 and scale 1; from_codes() and from_linear() make one with weights. All it holds are
    buffers, so that state_dict() and safetensors keep it:

    packed        uint8 (bytes,)             see cython_kernels/README.md
    weight_scale  float32 (N,)               weights = codes * scale, one a row; a ternary matrix has the same in all
    bias          float32 (N,), or None
    layout        int64 (4,)                 version of the formats, format, N, K: what load_state_dict() compares
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        format: str = "base3",
        packed: torch.Tensor | None = None,
    ):
        super().__init__()
        size = kernels.packed_bytes(out_features, in_features, format)
        self.in_features, self.out_features, self.format = in_features, out_features, format
        if packed is None:
            packed = torch.from_numpy(kernels.empty(size))
        packed.fill_(int(kernels.pack(np.zeros((1, 1), np.int8), format)[0]))  # a byte of zeros
        self.register_buffer("packed", packed)
        self.register_buffer("weight_scale", torch.ones(out_features))
        self.register_buffer("bias", torch.zeros(out_features) if bias else None)
        layout = [FORMAT, NAMES.index(format), out_features, in_features]
        self.register_buffer("layout", torch.tensor(layout))
        self._matrix = None

    @classmethod
    def from_codes(cls, codes, weight_scale, bias=None, format: str = "base3", packed: torch.Tensor | None = None):
        """From codes (N, K), array or tensor, their scale, a number or (N,), and a bias (N,) or None."""
        codes = torch.as_tensor(codes).to(torch.int8).numpy()
        layer = cls(codes.shape[1], codes.shape[0], bias is not None, format, packed).eval()
        layer.packed.copy_(torch.from_numpy(kernels.pack(np.ascontiguousarray(codes), format)))
        layer.weight_scale.copy_(torch.as_tensor(weight_scale))
        if bias is not None:
            layer.bias.copy_(bias.detach())
        return layer

    @classmethod
    def from_linear(cls, linear: nn.Module, format: str = "base3", packed: torch.Tensor | None = None):
        """From a BitLinear, one of transformers' (`bitlinear`, or `autobitlinear` offline or online), or an nn.Linear,
        whose master weights are made ternary. ValueError: weights that ought to be ternary are not."""
        codes, scale = codes_and_scale(linear)
        return cls.from_codes(codes, scale, linear.bias, format, packed)

    @classmethod
    def from_rows(cls, weight: torch.Tensor, packed: torch.Tensor | None = None):
        """From a matrix (N, K) of any values, as "int8": each row has the scale largest |weight| / 127."""
        layer = cls(weight.shape[1], weight.shape[0], False, "int8", packed).eval()
        rows_bytes = kernels.packed_bytes(PANEL_ROWS, weight.shape[1], "int8") // PANEL_ROWS
        for start in range(0, len(weight), 64 * PANEL_ROWS):  # whole panels: their bytes are neighbours
            rows = weight[start : start + 64 * PANEL_ROWS].detach().float().numpy()
            part = torch.from_numpy(kernels.pack(quant.quantize(rows, 8, "symmetric", "row").codes, "int8"))
            layer.packed[start * rows_bytes : start * rows_bytes + len(part)] = part
            layer.weight_scale[start : start + len(rows)] = torch.from_numpy(np.abs(rows).max(axis=1) / 127)
        return layer

    @property
    def matrix(self):
        """The buffers as the kernels take them: checked once, then kept."""
        if self._matrix is None:
            shape = self.out_features, self.in_features
            scale = self.weight_scale.numpy()
            self._matrix = kernels.matrix(self.packed.numpy(), *shape, format=self.format, scale=scale)
        return self._matrix

    def codes(self) -> np.ndarray:
        """The weights without their scale, (N, K) int8."""
        return kernels.unpack(self.packed.numpy(), self.out_features, self.in_features, self.format)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., K) float32, bfloat16 or float16 -> (..., N) in the same dtype; float32 inside."""
        if self.training or (x.requires_grad and torch.is_grad_enabled()):
            raise RuntimeError(
                "packed weights cannot be trained, and this layer is in training mode or its input wants a gradient: "
                "call model.eval() and use torch.no_grad(), or train BitLinear and pack afterwards"
            )
        *lead, K = x.shape
        tokens = x.detach().reshape(-1, K).float().contiguous().numpy()
        run = self.runner()
        if self.format != "int8":
            y = run(tokens, kernel_threads())
        else:
            codes, scale = kernels.quantize(tokens)
            rest = tokens - codes / scale[:, None]
            y = run(np.concatenate([tokens, rest]), kernel_threads())
            y, of_rest = y[: len(tokens)], y[len(tokens) :]
            y += of_rest
        return torch.from_numpy(y).view(*lead, self.out_features).to(x.dtype)

    def runner(self, norm: torch.Tensor | None = None, eps: float = 0.0) -> Callable[[np.ndarray, int], np.ndarray]:
        """run(tokens, threads): one kernel call, tokens (M, K) float32 -> (M, N) float32.

        norm, (K,) float32: the weight of an RMSNorm that the tokens pass before they are rounded to int8.
        """
        matrices = (self.matrix,)
        weight = None if norm is None else norm.numpy()
        bias = None if self.bias is None else self.bias.numpy()

        def run(tokens, threads):
            (y,) = kernels.linear(matrices, tokens, weight, eps, threads)
            if bias is not None:
                y += bias
            return y

        return run

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, format={self.format}"

    def _load_from_state_dict(self, state, prefix, metadata, strict, missing, unexpected, errors):
        layout = state.get(prefix + "layout", self.layout)
        if not torch.equal(layout, self.layout):
            errors.append(
                f"{prefix[:-1]}: layout {layout.tolist()} (version, format, N, K) came, this layer has "
                f"{self.layout.tolist()} (formats {', '.join(NAMES)}): make it with that shape and format first"
            )
            return
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, unexpected, errors)
        self._matrix = None
        try:
            self.codes()
        except ValueError as error:  # the kernels do not look at the codes again
            errors.append(f"{prefix[:-1]}: {error}")

    def __getstate__(self):
        return {**super().__getstate__(), "_matrix": None}  # made again from the buffers of the copy


_here = threading.local()


def kernel_threads() -> int:
    """How many threads a kernel call takes: torch's number, or what that was outside torch_on_one_thread()."""
    return getattr(_here, "threads", None) or torch.get_num_threads()


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """Inside, torch runs on the calling thread alone, and the kernels on as many as torch had before.

    After each of torch's parallel operations OpenMP's threads keep their cores busy for milliseconds, waiting for the
    next one. Between two kernel calls that costs more than such an operation gains.
    """
    if hasattr(_here, "threads"):
        yield
        return
    _here.threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(_here.threads)
        del _here.threads


class PackedEmbedding(_Packed):
    """Rows of an int8 PackedLinear, read from its packed bytes: a tied embedding needs no copy of the head."""

    def __init__(self, table: PackedLinear):
        super().__init__()
        if table.format != "int8":
            raise ValueError(f"the table has format {table.format}, wanted int8: make it with PackedLinear.from_rows()")
        self.table = table
        self.num_embeddings, self.embedding_dim = table.out_features, table.in_features

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids: (...) int64 -> (..., K) float32. IndexError: an id that is not there."""
        rows = ids.flatten().numpy()
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.num_embeddings:
            raise IndexError(f"an id is {rows.min()} or {rows.max()}, wanted 0 to {self.num_embeddings - 1}")
        panels = self.table.packed.numpy().reshape(-1, -(-self.embedding_dim // 4), PANEL_ROWS, 4)  # step, row, byte
        fields = panels[rows // PANEL_ROWS, :, rows % PANEL_ROWS].reshape(len(rows), -1)[:, : self.embedding_dim]
        x = fields.astype(np.float32)
        x -= FORMATS["int8"].zero
        x *= self.table.weight_scale.numpy()[rows, None]
        return torch.from_numpy(x).view(*ids.shape, -1)


def codes_and_scale(linear: nn.Module) -> tuple[torch.Tensor, torch.Tensor | float]:
    """The ternary codes (N, K) of a linear layer of this module, of transformers or of torch, and their scale."""
    weight = linear.weight.detach()
    if getattr(linear, "rms_norm", None) is not None:
        raise ValueError("a layer has an RMSNorm of its own (use_rms_norm): there is no packed form of it")
    if weight.dtype == torch.uint8:  # transformers' BitLinear divides by its scale
        codes = layouts.hf_unpack(weight.numpy(), linear.out_features)
        return torch.from_numpy(codes), layouts.hf_unpack_scale(linear.weight_scale.item(), "bitlinear")
    if hasattr(linear, "weight_scale"):  # transformers' AutoBitLinear, offline, multiplies
        if not torch.equal(weight, weight.sign()):
            raise ValueError("a layer with a weight_scale holds other values than -1, 0, +1: it is not ternary")
        return weight, linear.weight_scale.item()
    return ternarize(weight.float())

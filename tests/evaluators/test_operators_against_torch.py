"""Operators that networks meet now and then, on small inputs against torch: none crashes, none is wrong."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from evaluators.compile.compiler import compile_network
from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent
from understudy import CompileError

IMAGE, ROWS, TOKENS, LINE, VOLUME = (2, 8, 6, 10), (5, 12), (2, 7, 12), (2, 6, 19), (1, 4, 5, 6, 7)
STEPS = (2, 3, 12)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class Recurrent(nn.Module):
    """A recurrent layer's outputs, without its last state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)[0]
        return outputs


class Cell(nn.Module):
    """A recurrent cell stepped over the tokens."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for at in range(x.shape[1]):
            state = self.cell(x[:, at], state)
        return state[0] if isinstance(state, tuple) else state


def whole(x: Tensor, most: int) -> Tensor:
    """Whole numbers from 0 to ``most``, of floats."""
    return (x.abs() * 7).long() % (most + 1)


FUNCTIONS = (
    "acos asin asinh atan atanh cos cosh sin sinh tan tanh exp exp2 expm1 erf erfc log1p sigmoid ceil "
    "floor round trunc frac sign neg abs square isnan isinf logit positive deg2rad sinc"
)
ACTIVATIONS = (
    "relu6 elu selu celu gelu silu mish hardswish hardsigmoid hardtanh softplus softsign tanhshrink "
    "hardshrink softshrink logsigmoid leaky_relu"
)

OPERATORS: Mapping[str, tuple[Callable[[Tensor], Any], tuple[int, ...]]] = {
    # order and places
    "sort": (lambda x: x.sort(-1)[0], ROWS),
    "sort_descending_axis_1": (lambda x: x.sort(1, descending=True)[0], IMAGE),
    "sort_both": (lambda x: x.sort(-1), ROWS),
    "sort_of_whole_numbers": (lambda x: torch.sort(whole(x, 3), stable=True), ROWS),
    "sort_of_one": (lambda x: x[:, :1].sort(-1), ROWS),
    "argsort": (lambda x: x.argsort(-1), ROWS),
    "argsort_descending": (lambda x: x.argsort(0, descending=True), ROWS),
    "topk": (lambda x: x.topk(3, -1), ROWS),
    "topk_smallest_axis_1": (lambda x: x.topk(2, 1, largest=False)[0], IMAGE),
    "max_and_place": (lambda x: x.max(-1), ROWS),
    "min_and_place": (lambda x: x.min(1), IMAGE),
    "median": (lambda x: x.median(-1)[0], ROWS),
    "argmin": (lambda x: x.argmin(-1), ROWS),
    "argmax_of_all": (lambda x: x.argmax(), ROWS),
    "kthvalue": (lambda x: x.kthvalue(3, -1)[0], ROWS),
    "unique_places": (lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])), ROWS),
    "searchsorted": (lambda x: torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0]), x), ROWS),
    # running values
    "cumsum": (lambda x: x.cumsum(1), IMAGE),
    "cumprod": (lambda x: x.cumprod(-1), ROWS),
    "diff": (lambda x: x.diff(dim=-1), ROWS),
    # picking and placing
    "gather": (lambda x: x.gather(1, whole(x, 11)[:, :5]), ROWS),
    "take_along_dim": (lambda x: x.take_along_dim(whole(x, 4), 0), ROWS),
    "index_select": (lambda x: x.index_select(1, torch.tensor([3, 0, 3])), IMAGE),
    "last, by select": (lambda x: torch.cat([x[:, -1], x[:, 0], x[:, -2]], 1), IMAGE),
    "index": (lambda x: x[:, torch.tensor([3, 0, 3])], IMAGE),
    "index_two": (lambda x: x[torch.tensor([0, 1]), torch.tensor([3, 5])], ROWS),
    "index_dynamic": (lambda x: x[:, whole(x, 6)[0, 0, :4]], TOKENS),
    "index_apart": (lambda x: x[:, torch.tensor([0, 1]), :, torch.tensor([3, 5])], IMAGE),
    "index_from_the_end": (lambda x: x[:, torch.tensor([-1, -3])], ROWS),
    "index_put_adds": (lambda x: x.index_put((torch.tensor([1, 1]),), torch.ones(2, 12), accumulate=True), ROWS),
    "take": (lambda x: torch.take(x, torch.tensor([3, 0, 17])), ROWS),
    "scatter": (lambda x: torch.zeros(5, 12).scatter(1, whole(x, 11), 1.0), ROWS),
    "scatter_source": (lambda x: torch.zeros(5, 12).scatter(1, torch.arange(12).flip(0).expand(5, 12), x), ROWS),
    "scatter_add": (lambda x: torch.zeros(5, 12).scatter_add(1, whole(x, 11), x), ROWS),
    "scatter_reduce": (lambda x: torch.zeros(5, 12).scatter_reduce(1, whole(x, 11), x, "amax"), ROWS),
    "index_add": (lambda x: torch.zeros(5, 4).index_add(1, torch.tensor([0, 1, 3] * 4), x), ROWS),
    "index_put": (lambda x: x.index_put((torch.tensor([1, 3]),), torch.ones(2, 12)), ROWS),
    "set_slice": (lambda x: _with_slice_set(x), IMAGE),
    "set_columns": (lambda x: _with_columns_set(x), IMAGE),
    "set_item": (lambda x: _with_item_set(x), IMAGE),
    "masked_fill": (lambda x: x.masked_fill(x > 0, -1.0), IMAGE),
    "where": (lambda x: torch.where(x > 0, x, x.exp()), IMAGE),
    "where_number": (lambda x: torch.where(x > 0, 1.0, x), IMAGE),
    "one_hot": (lambda x: functional.one_hot(whole(x, 6), 7), ROWS),
    "embedding": (lambda x: functional.embedding(whole(x, 6), torch.linspace(0, 1, 21).reshape(7, 3)), ROWS),
    # shapes
    "unfold_image": (lambda x: functional.unfold(x, 3, padding=1, stride=2), IMAGE),
    "fold": (lambda x: functional.fold(x, (4, 5), 2, stride=1), (2, 8, 12)),
    "unfold_axis": (lambda x: x.unfold(2, 5, 3), LINE),
    "roll": (lambda x: x.roll((1, -2), (1, 3)), IMAGE),
    "roll_flat": (lambda x: x.roll(3), ROWS),
    "flip": (lambda x: x.flip((1, 3)), IMAGE),
    "rot90": (lambda x: x.rot90(1, (2, 3)), IMAGE),
    "tile": (lambda x: x.tile(2, 1, 3), TOKENS),
    "repeat_interleave": (lambda x: x.repeat_interleave(3, 1), TOKENS),
    "expand": (lambda x: x[:, None].expand(5, 3, 12), ROWS),
    "stack": (lambda x: torch.stack([x, x.relu()], 1), IMAGE),
    "chunk": (lambda x: x.chunk(3, 1), IMAGE),
    "unbind": (lambda x: x.unbind(1), TOKENS),
    "slice_steps": (lambda x: x[:, 1::3, :, ::2], IMAGE),
    "narrow": (lambda x: x.narrow(1, 2, 3), IMAGE),
    "movedim": (lambda x: x.movedim(1, -1), IMAGE),
    "tril": (lambda x: x.tril(1), ROWS),
    "triu": (lambda x: x.triu(-1), ROWS),
    "diagonal": (lambda x: x.diagonal(0, 1, 2), TOKENS),
    "diag_embed": (lambda x: x.diag_embed(), ROWS),
    "meshgrid": (lambda x: torch.meshgrid(x[0], x[1], indexing="ij"), ROWS),
    "pixel_shuffle": (nn.PixelShuffle(2), IMAGE),
    "pixel_unshuffle": (nn.PixelUnshuffle(2), IMAGE),
    "channel_shuffle": (nn.ChannelShuffle(4), IMAGE),
    "pad_reflect": (lambda x: functional.pad(x, (1, 2, 2, 1), "reflect"), IMAGE),
    "pad_replicate": (lambda x: functional.pad(x, (1, 2, 2, 1), "replicate"), IMAGE),
    "pad_circular": (lambda x: functional.pad(x, (1, 2, 2, 1), "circular"), IMAGE),
    "pad_line_reflect": (lambda x: functional.pad(x, (3, 1), "reflect"), LINE),
    "pad_value": (lambda x: functional.pad(x, (1, 2, 0, 1), value=3.0), IMAGE),
    "pad_negative": (lambda x: functional.pad(x, (-1, 2)), IMAGE),
    "convolution_reflect": (nn.Conv2d(8, 9, 3, padding=1, padding_mode="reflect"), IMAGE),
    "convolution_circular": (nn.Conv2d(8, 9, 3, padding=1, padding_mode="circular"), IMAGE),
    # sizes of images
    "upsample_nearest_1d": (lambda x: functional.interpolate(x, scale_factor=2), LINE),
    "upsample_linear_1d": (lambda x: functional.interpolate(x, 31, mode="linear"), LINE),
    "upsample_nearest_exact": (lambda x: functional.interpolate(x, (9, 13), mode="nearest-exact"), IMAGE),
    "upsample_by_factor": (lambda x: functional.interpolate(x, scale_factor=1.5, mode="bilinear"), IMAGE),
    "upsample_bicubic_corners": (
        lambda x: functional.interpolate(x, (9, 13), mode="bicubic", align_corners=True),
        IMAGE,
    ),
    "upsample_area": (lambda x: functional.interpolate(x, (3, 5), mode="area"), IMAGE),
    "upsample_antialias": (lambda x: functional.interpolate(x, (3, 5), mode="bilinear", antialias=True), IMAGE),
    "upsample_nearest_3d": (lambda x: functional.interpolate(x, scale_factor=2), VOLUME),
    "upsample_trilinear": (lambda x: functional.interpolate(x, scale_factor=2, mode="trilinear"), VOLUME),
    "grid_sample": (
        lambda x: functional.grid_sample(x, x[:, :2].tanh().permute(0, 2, 3, 1), align_corners=False),
        IMAGE,
    ),
    "affine_grid": (lambda x: functional.affine_grid(x.reshape(-1, 2, 3)[:2], [2, 3, 4, 5], False), IMAGE),
    # pooling
    "adaptive_max_pool": (nn.AdaptiveMaxPool2d((3, 5)), IMAGE),
    "adaptive_average_pool_uneven": (nn.AdaptiveAvgPool2d((4, 3)), IMAGE),
    "max_pool_1d": (nn.MaxPool1d(3, 2, 1), LINE),
    "average_pool_1d": (nn.AvgPool1d(3, 2, 1), LINE),
    "max_pool_3d": (nn.MaxPool3d(2), VOLUME),
    "average_pool_3d": (nn.AvgPool3d(2), VOLUME),
    "power_pool": (nn.LPPool2d(2, 2), IMAGE),
    # layers
    "convolution_3d": (nn.Conv3d(4, 6, 3, padding=1), VOLUME),
    "transposed_1d": (nn.ConvTranspose1d(6, 5, 3, 2), LINE),
    "group_norm": (nn.GroupNorm(4, 8), IMAGE),
    "group_norm_tokens": (nn.GroupNorm(3, 6), LINE),
    "instance_norm": (nn.InstanceNorm2d(8, affine=True), IMAGE),
    "instance_norm_1d": (nn.InstanceNorm1d(6), LINE),
    "batch_norm_1d": (nn.BatchNorm1d(12), ROWS),
    "batch_norm_3d": (nn.BatchNorm3d(4), VOLUME),
    "layer_norm_two_axes": (nn.LayerNorm((7, 12)), TOKENS),
    "local_response_norm": (nn.LocalResponseNorm(3), IMAGE),
    "rms_norm": (nn.RMSNorm(12), TOKENS),
    "normalise": (lambda x: functional.normalize(x, dim=1), IMAGE),
    "multihead": (lambda x: _MULTIHEAD(x, x, x, need_weights=False)[0], TOKENS),
    "transformer": (nn.TransformerEncoderLayer(12, 3, 20, batch_first=True), TOKENS),
    "lstm": (Recurrent(nn.LSTM(12, 9, batch_first=True)), STEPS),
    "lstm_both_ways": (Recurrent(nn.LSTM(12, 9, 2, bidirectional=True)), STEPS),
    "gru": (Recurrent(nn.GRU(12, 9, batch_first=True)), STEPS),
    "gru_both_ways": (Recurrent(nn.GRU(12, 9, 2, bidirectional=True, batch_first=True)), STEPS),
    "rnn": (Recurrent(nn.RNN(12, 9, batch_first=True)), STEPS),
    "rnn_relu": (Recurrent(nn.RNN(12, 9, nonlinearity="relu")), STEPS),
    "lstm_cell": (Cell(nn.LSTMCell(12, 9)), STEPS),
    "gru_cell": (Cell(nn.GRUCell(12, 9)), STEPS),
    "rnn_cell": (Cell(nn.RNNCell(12, 9)), STEPS),
    "weight_norm": (torch.nn.utils.parametrizations.weight_norm(nn.Linear(12, 5)), ROWS),
    # products
    "einsum": (lambda x: torch.einsum("bij,bkj->bik", x, x), TOKENS),
    "einsum_trace": (lambda x: torch.einsum("bij->j", x), TOKENS),
    "einsum_outer": (lambda x: torch.einsum("bi,bj->bij", x, x), ROWS),
    "outer": (lambda x: torch.outer(x[0], x[1]), ROWS),
    "dot": (lambda x: torch.dot(x[0], x[1]), ROWS),
    "vector_product": (lambda x: x @ x[0], ROWS),
    "cross": (lambda x: torch.linalg.cross(x[:, :3], x[:, 3:6]), ROWS),
    "norm": (lambda x: torch.linalg.vector_norm(x, 3, -1), ROWS),
    "cosine": (lambda x: functional.cosine_similarity(x, x.roll(1, 0), -1), ROWS),
    # reductions
    "logsumexp": (lambda x: x.logsumexp(-1), ROWS),
    "std_all": (lambda x: x.std(), ROWS),
    "any": (lambda x: (x > 1).any(-1), ROWS),
    "all": (lambda x: (x > -2).all(1), ROWS),
    "count_nonzero": (lambda x: (x > 0).count_nonzero(1), ROWS),
    "aminmax": (lambda x: torch.aminmax(x, dim=1), ROWS),
    "norm_all": (lambda x: x.norm(), ROWS),
    # element-wise
    **{name: (getattr(torch, name), ROWS) for name in FUNCTIONS.split()},
    **{name: (getattr(functional, name), IMAGE) for name in ACTIVATIONS.split()},
    "gelu_tanh": (nn.GELU("tanh"), IMAGE),
    "glu": (nn.GLU(1), IMAGE),
    "prelu": (nn.PReLU(8), IMAGE),
    "threshold": (nn.Threshold(0.1, 2.0), IMAGE),
    "softmin": (nn.Softmin(1), IMAGE),
    "log_softmax": (nn.LogSoftmax(1), IMAGE),
    "softmax_2d": (nn.Softmax2d(), IMAGE),
    "pow": (lambda x: x.abs() ** 1.7, ROWS),
    "pow_of_number": (lambda x: 2.0**x, ROWS),
    "pow_negative": (lambda x: (x.abs() + 1) ** -2, ROWS),
    "remainder": (lambda x: x.remainder(0.7), ROWS),
    "fmod": (lambda x: x.fmod(0.7), ROWS),
    "floor_divide": (lambda x: x // 0.7, ROWS),
    "div_trunc": (lambda x: torch.div(x, 0.7, rounding_mode="trunc"), ROWS),
    "atan2": (lambda x: torch.atan2(x, x.roll(1, 0)), ROWS),
    "hypot": (lambda x: torch.hypot(x, x.roll(1, 0)), ROWS),
    "lerp": (lambda x: torch.lerp(x, x.roll(1, 0), 0.3), ROWS),
    "clamp_tensor": (lambda x: x.clamp(-x.abs() / 2, x.abs() / 2), ROWS),
    "logical": (lambda x: (x > 0) & ~(x > 1) | (x < -1) ^ (x > 2), ROWS),
    "bits": (lambda x: (whole(x, 9) << 2) | (whole(x, 3) >> 1) & 5, ROWS),
    "truncated_division": (lambda x: torch.div((x * 9).long(), 4, rounding_mode="trunc"), ROWS),
    "quotients": (lambda x: whole(x, 9) / 4 + whole(x, 9) / (whole(x, 5).abs() + 1), ROWS),
    "whole_division": (lambda x: whole(x, 9) // 2 + whole(x, 9) % 4, ROWS),
    "to_whole": (lambda x: (x * 3).to(torch.int32), ROWS),
    "to_bool": (lambda x: (x > 0).float(), ROWS),
    "addcmul": (lambda x: torch.addcmul(x, x, x, value=0.5), ROWS),
    "nan_to_num": (lambda x: torch.nan_to_num(x / x.relu(), 0.5, 2.0, -2.0), ROWS),
}

_MULTIHEAD = nn.MultiheadAttention(12, 3, batch_first=True).eval()


def _with_slice_set(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:3, ::2] = 5.0
    return y


def _with_columns_set(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, torch.tensor([4, 0])] = 5.0
    return y


def _with_item_set(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 2] = x[:, 1].relu()
    return y


def agree(name: str, expected: Any, given: list[Any]) -> None:
    """Both the same numbers of the same types, within 1e-5 of the largest."""
    for wanted, found in zip((leaf.numpy() for leaf in tree_leaves(expected)), given, strict=True):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), name
        largest = float(np.abs(wanted[np.isfinite(wanted)].astype(np.float64)).max(initial=0)) or 1.0
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * largest, err_msg=name)


class Together(nn.Module):
    """Several operators, each on an input of its own."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, *inputs: Tensor) -> list[Any]:
        return [part(x) for part, x in zip(self.parts, inputs, strict=True)]


AT_ONCE = 24
NAMES = list(OPERATORS)
BATCHES = [NAMES[first : first + AT_ONCE] for first in range(0, len(NAMES), AT_ONCE)]


def module(function: Callable[[Tensor], Any]) -> nn.Module:
    return (function if isinstance(function, nn.Module) else Function(function)).eval()


@pytest.mark.parametrize("names", BATCHES, ids=lambda names: f"{names[0]}-{names[-1]}")
def test_operators(names: list[str]) -> None:
    network = Together([module(OPERATORS[name][0]) for name in names])
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(OPERATORS[name][1], generator=generator) for name in names)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        profile = load_profile("x86-host").with_threads(1)
        library = compile_network(network, inputs, profile, Path(folder) / "operators.so").library
        given = iter(CompiledStudent(library, 1)(*(x.numpy() for x in inputs)))
        for name, expected in zip(names, network(*inputs), strict=True):
            agree(name, expected, [next(given) for _ in tree_leaves(expected)])


REFUSED: Mapping[str, tuple[Callable[[Tensor], Any], tuple[int, ...]]] = {
    "cummax": (lambda x: x.cummax(-1)[0], ROWS),
    "logcumsumexp": (lambda x: x.logcumsumexp(-1), ROWS),
    "embedding_bag": (nn.Sequential(Function(lambda x: whole(x, 6)), nn.EmbeddingBag(7, 3, mode="sum")), ROWS),
    "as_strided": (lambda x: x.as_strided((3, 4), (5, 1), 2), ROWS),
    "max_pool_places": (lambda x: functional.max_pool2d(x, 2, return_indices=True), IMAGE),
    "transposed_3d": (nn.ConvTranspose3d(4, 6, 2, 2), VOLUME),
    "bilinear": (lambda x: functional.bilinear(x, x, torch.linspace(-1, 1, 432).reshape(3, 12, 12)), ROWS),
    "cdist": (lambda x: torch.cdist(x, x + 1), TOKENS),
    "var_mean": (lambda x: torch.var_mean(x, -1), ROWS),
    "complex": (lambda x: torch.view_as_real(torch.view_as_complex(x.reshape(5, 6, 2)) * 2j), ROWS),
    "fft": (lambda x: torch.fft.rfft(x).abs(), ROWS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    function, shape = REFUSED[name]
    profile = load_profile("x86-host").with_threads(1)
    with pytest.raises(CompileError, match=r"cannot be compiled .*: use another operator there"):
        compile_network(module(function), torch.ones(shape), profile, tmp_path / "operator.so")

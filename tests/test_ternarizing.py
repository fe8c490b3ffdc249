"""Exercises of lab 41 against every choice there is, a textbook, and the layer that trains the minis."""

import itertools
import math

import numpy as np
import pytest
import torch

from slmlab import quant
from slmlab.exercises import ternarizing
from slmlab.ternary import BitLinear
from slmlab.ternary.linear import ternarize


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_absmean_is_the_rounding_of_bitnet_everywhere_in_the_project(rng):
    w = rng.standard_t(4, (40, 60)).astype(np.float32)
    codes, scale = ternarizing.absmean_codes(w)

    theirs, their_scale = ternarize(torch.from_numpy(w))
    assert np.array_equal(codes, theirs.numpy()) and scale == pytest.approx(their_scale.item())
    assert np.array_equal(codes, quant.quantize_ternary(w).codes)


@pytest.mark.parametrize("size", range(1, 8))
def test_no_codes_and_no_scale_have_a_smaller_error_than_the_best(size, rng):
    w = rng.standard_t(3, (1, size)).astype(np.float32)
    codes, scale = ternarizing.best_ternary(w)

    errors = {}
    for tried in itertools.product((-1, 0, 1), repeat=size):
        c = np.array(tried, np.float64)
        of_it = max(float(c @ w[0]) / float(c @ c), 0) if c.any() else 0.0  # least squares; a scale has no sign
        errors[tried] = float(((w[0] - of_it * c) ** 2).sum())
    mine = float(((w - scale * codes) ** 2).sum())
    assert mine == pytest.approx(min(errors.values()), abs=1e-9)


def test_a_normal_distribution_is_best_cut_at_0_612_and_put_at_1_224_of_its_deviation(rng):
    w = rng.standard_normal((500, 500)).astype(np.float32)
    codes, scale = ternarizing.best_ternary(w)

    smallest_kept = np.abs(w[codes != 0]).min()
    assert (smallest_kept, scale) == pytest.approx((0.612, 1.224), abs=0.01)  # J. Max, IRE Trans. IT-6 (1960), N = 3


def test_bit_linear_is_the_forward_that_trains_the_minis(rng):
    x, layer = rng.standard_normal((7, 48)).astype(np.float32), BitLinear(48, 20, bias=False)
    codes, scale = ternarizing.absmean_codes(layer.weight.detach().numpy())

    y = ternarizing.bit_linear(x, codes, scale)

    assert np.allclose(y, layer(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_straight_through_is_the_backward_that_trains_the_minis(rng):
    x = torch.from_numpy(rng.standard_normal((7, 48)).astype(np.float32)).requires_grad_()
    layer = BitLinear(48, 20, bias=False)
    gradient = rng.standard_normal((7, 20)).astype(np.float32)
    layer(x).backward(torch.from_numpy(gradient))
    codes, scale = ternarizing.absmean_codes(layer.weight.detach().numpy())

    of_x, of_w = ternarizing.straight_through(gradient, x.detach().numpy(), codes, scale)

    assert np.allclose(of_x, x.grad.numpy(), rtol=1e-4, atol=1e-5)
    assert np.allclose(of_w, layer.weight.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_straight_through_of_weights_and_tokens_on_the_grid_is_the_derivative_of_the_product(rng):
    codes, scale = np.array([[1, 0, -1], [0, -1, 1]], np.int8), 0.5
    x = np.array([[127.0, 3.0, -20.0], [0.0, -254.0, 8.0]], np.float32)  # multiples of max|x| / 127
    gradient = rng.standard_normal((2, 2)).astype(np.float32)

    of_x, of_w = ternarizing.straight_through(gradient, x, codes, scale)

    w, h = scale * codes.astype(np.float64), 1e-3
    for place in np.ndindex(x.shape):
        moved = x.astype(np.float64)
        moved[place] += h
        assert math.isclose((gradient * ((moved - x) @ w.T)).sum() / h, of_x[place], rel_tol=1e-3, abs_tol=1e-4)
    for place in np.ndindex(w.shape):
        moved = w.copy()
        moved[place] += h
        assert math.isclose((gradient * (x @ (moved - w).T)).sum() / h, of_w[place], rel_tol=1e-3, abs_tol=1e-3)

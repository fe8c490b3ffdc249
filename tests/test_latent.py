"""The diary of latent weights, against weights that are moved by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from slmlab import figures
from slmlab.ternary import BitLinear
from slmlab.ternary.latent import EDGES, LatentDiary, unrounded


@pytest.fixture
def model():
    model = nn.Sequential(BitLinear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
    model[0].weight.data = torch.tensor([[1.0, -1.0, 0.1, -0.1], [1.0, 1.0, -0.3, 0.4]])  # mean 0.6125
    return model


def test_a_diary_counts_codes_that_change_against_the_step_before_and_the_first(model):
    diary = LatentDiary(model)
    assert diary.changed == 0

    model[0].weight.data[0, 2] = 0.9  # mean 0.7125: one code from 0 to +1
    diary.note(3.0)
    model[0].weight.data[0, 2] = 0.1
    model[0].weight.data[1, 3] = 0.0  # mean 0.5625: that code goes back, this one to 0, and that of -0.3 to -1
    diary.note(2.0)

    assert diary.losses == [3.0, 2.0]
    assert diary.flipped == [1 / 8, 3 / 8] and diary.changed == 2 / 8


def test_the_histogram_is_in_scales_of_the_matrix(model):
    diary = LatentDiary(model)

    scales = [weight / 0.6125 for weight in (1, -1, 0.1, -0.1, 1, 1, -0.3, 0.4)]
    bins = [sum(low <= value < high for value in scales) / 8 for low, high in pairwise(EDGES)]
    assert diary.in_scales().tolist() == pytest.approx(scales)
    assert np.allclose(diary.first, bins) and np.allclose(diary.now, bins)


def test_a_figure_of_a_diary_tells_steps_loss_and_change(model):
    diary = LatentDiary(model)
    assert figures.latent_weights(diary).layout.title.text == "0 steps"

    model[0].weight.data[0, 2] = 0.9
    diary.note(3.0)

    figure = figures.latent_weights(diary)
    assert figure.layout.title.text == "1 steps, loss 3.00"
    assert figure.layout.title.subtitle.text == "12 % of the codes are not the first ones"
    assert np.asarray(figure.data[3].y).tolist() == [12.5]


def test_a_model_without_bitlinear_keeps_no_diary():
    with pytest.raises(ValueError, match="no BitLinear layer"):
        LatentDiary(nn.Linear(2, 2))


def test_unrounded_is_the_plain_product_of_the_latent_weights(model):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

    y = unrounded(model)(x)

    assert torch.equal(y, model[2](torch.relu(x @ model[0].weight.T)))
    assert isinstance(model[0], BitLinear)

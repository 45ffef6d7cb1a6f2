"""AUC and true accept rates over all pairs, against all scores at once and scikit-free definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.metrics import AllPairs
from fsr_plugins.metrics.all_pairs import pair_rates
from fsr_plugins.metrics.false_accepts import verification_rate

SIZE = 4
FARS = (0.01, 0.001, 0.0, 1.0)


class Pixels(Recogniser):
    """The pixels themselves, in [-1, 1], are the embedding."""

    face_size = (SIZE, SIZE)
    embedding_size = 3 * SIZE * SIZE

    def embed(self, faces: Tensor) -> Tensor:
        return faces.flatten(1)


def people(number: int, seed: int, noise: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Faces (number, 3, 4, 4) in [0, 1], others of the same people's, and who they are, in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, number // 4, number)
    centres = rng.normal(size=(number // 4, 3, SIZE, SIZE))[labels]
    one, other = (0.5 + 0.1 * (centres + noise * rng.normal(size=centres.shape)) for _ in range(2))
    return torch.from_numpy(one).float(), torch.from_numpy(other).float(), torch.from_numpy(labels)


def embedded(images: Tensor) -> Tensor:
    return torch.nn.functional.normalize(2 * images.flatten(1) - 1)


def scores_of(one: Tensor, other: Tensor, labels: Tensor, once: bool) -> tuple[Tensor, Tensor]:
    """All genuine and all impostor scores."""
    pairs = torch.ones(len(labels), len(labels), dtype=torch.bool)
    pairs = pairs.triu(1) if once else pairs.fill_diagonal_(False)
    scores, same = one @ other.T, labels[:, None] == labels
    return scores[pairs & same], scores[pairs & ~same]


def auc_of(genuine: Tensor, impostors: Tensor) -> float:
    above = (genuine[:, None] > impostors).double() + 0.5 * (genuine[:, None] == impostors)
    return float(above.mean())


@pytest.mark.parametrize('block', [1, 7, 60, 512])
@pytest.mark.parametrize('against', ['themselves', 'gallery'])
def test_rates_are_those_of_all_scores(block: int, against: str) -> None:
    images, gallery, labels = people(60, seed=1, noise=2.0)
    one = embedded(images)
    other = one if against == 'themselves' else embedded(gallery)
    found = pair_rates(one, labels, FARS, None if against == 'themselves' else other, block)
    genuine, impostors = scores_of(one, other, labels, against == 'themselves')
    assert (found.genuine, found.impostors) == (len(genuine), len(impostors))
    assert found.auc == pytest.approx(auc_of(genuine, impostors), abs=1e-6)
    assert 0.6 < found.auc < 0.99
    for far, rate in zip((0.01, 0.001), found.tar, strict=False):
        accepts = int(far * len(impostors) + 0.5)
        threshold = float(impostors.sort(descending=True).values[accepts - 1])
        assert rate == pytest.approx(float((genuine >= threshold).double().mean()), abs=1.5 / len(genuine))
    assert found.tar[2] == pytest.approx(float((genuine > impostors.max()).double().mean()))
    assert found.tar[3] == 1


def test_ties_count_half_and_the_rate_is_blufrs() -> None:
    """Of four equal numbers' signs all scores are multiples of a half: most are ties."""
    rng = np.random.default_rng(3)
    one = torch.from_numpy(rng.choice([-0.5, 0.5], (80, 4))).float()
    labels = torch.from_numpy(rng.integers(0, 20, 80))
    found = pair_rates(one, labels, (0.01, 0.2), block=32)
    assert found.auc == pytest.approx(auc_of(*scores_of(one, one, labels, True)))
    for far, rate in zip((0.01, 0.2), found.tar, strict=True):
        assert rate == pytest.approx(verification_rate(one, labels, far).rate)


def test_the_metric_gathers_batches_and_leaves_out_what_has_no_embedding() -> None:
    images, hr, labels = people(48, seed=2)
    metric = AllPairs(Pixels().eval())
    for start in (0, 20):
        part = slice(start, start + 20 if start == 0 else 48)
        keys = [f'{place:03d}' for place in range(48)[part]]
        metric.update(images[part], hr[part], {'keys': keys, 'identity': labels[part]})
    found = metric.compute()
    own = pair_rates(embedded(images), labels, (0.01, 0.001))
    gallery = pair_rates(embedded(images), labels, (0.01, 0.001), embedded(hr))
    assert list(found) == [
        'auc',
        'tar_1',
        'tar_0.1',
        'hr_auc',
        'hr_tar_1',
        'hr_tar_0.1',
        'genuine',
        'impostors',
        'missing',
    ]
    expected = [own.auc, *own.tar, gallery.auc, *gallery.tar, own.genuine, own.impostors, 0]
    assert list(found.values()) == pytest.approx(expected, abs=2e-6)

    aligned = AllPairs(Pixels().eval(), align='landmarks')
    points = torch.tensor([[1.0, 1], [2, 1], [1.5, 1.8], [1, 2.5], [2, 2.5]]).repeat(48, 1, 1)
    points[5] = torch.nan
    meta = {'keys': [str(place) for place in range(48)], 'identity': labels, 'landmarks': points}
    aligned.update(images, None, meta)
    found = aligned.compute()
    assert found['missing'] == 1
    assert found['genuine'] + found['impostors'] == 47 * 46 // 2
    assert 'hr_auc' not in found


@pytest.mark.parametrize('first', ['auc', 'tar_1', 'hr_auc', 'hr_tar_0.1'])
def test_the_first_value_is_the_mean_over_its_pairs(first: str) -> None:
    images, hr, labels = people(48, seed=2, noise=2.0)
    keys = [f'k{place}' for place in range(48)]
    metric = AllPairs(Pixels().eval(), first=first)
    assert metric.convention.startswith(f'{first}, ')  # which of its values it is
    metric.update(images, hr, {'keys': keys, 'identity': labels})
    found = metric.compute()
    assert next(iter(found)) == first
    assert float(metric.outcomes[first].mean()) == pytest.approx(found[first])
    # Each value by itself: the pair's score among all impostors'.
    one = embedded(images)
    other = embedded(hr) if first.startswith('hr') else one
    _, impostors = scores_of(one, other, labels, not first.startswith('hr'))
    pairs = zip(*metric.pair_keys[first], metric.outcomes[first].tolist(), strict=True)
    seen = set()
    for a, b, value in pairs:
        row, column = int(a[1:]), int(b[1:])
        assert labels[row] == labels[column]
        seen.add((row, column))
        score = float(one[row] @ other[column])
        if first.endswith('auc'):
            assert value == pytest.approx(float((impostors < score).double().mean()), abs=2 / len(impostors))
        else:
            rank = float((impostors > score).double().sum())
            assert value == float(rank < int(metric.fars[0 if first == 'tar_1' else 1] * len(impostors) + 0.5))
    assert len(seen) == len(metric.outcomes[first]) > 40
    # Another network is compared pair by pair: the order of pairs hangs on no score.
    other_net = AllPairs(Pixels().eval(), first=first)
    other_net.update(images.flip(0), hr.flip(0), {'keys': keys, 'identity': labels})
    other_net.compute()
    assert other_net.pair_keys == metric.pair_keys


def test_a_first_value_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match='choose one of auc, tar_1, tar_0.1, hr_auc'):
        AllPairs(Pixels().eval(), first='tar_5')
    metric = AllPairs(Pixels().eval(), first='hr_auc')
    metric.update(people(8, seed=0)[0], None, {'keys': list('abcdefgh'), 'identity': torch.tensor([0, 1] * 4)})
    with pytest.raises(UserError, match="no 'hr_auc', as the validation set has no HR"):
        metric.compute()


def test_noise_lowers_every_rate() -> None:
    values = []
    for noise in (0.6, 1.0, 2.0):
        images, _, labels = people(200, seed=4, noise=noise)
        values.append(pair_rates(embedded(images), labels, (0.01, 0.001)))
    assert values[0].auc > values[1].auc > values[2].auc > 0.5
    assert values[0].tar[0] > values[1].tar[0] > values[2].tar[0]


def test_wrong_use_is_named() -> None:
    with pytest.raises(UserError, match="'fars' is 2"):
        AllPairs(Pixels().eval(), fars=(2,))
    with pytest.raises(UserError, match='give each rate once'):
        AllPairs(Pixels().eval(), fars=(0.1, 0.1))
    metric = AllPairs(Pixels().eval())
    with pytest.raises(UserError, match=r'`views: \[identity\]`'):
        metric.update(torch.rand(2, 3, 4, 4), None, {'keys': ['a', 'b']})
    with pytest.raises(UserError, match='saw no image'):
        metric.compute()
    metric.update(torch.rand(2, 3, 4, 4), None, {'keys': ['a', 'b'], 'identity': torch.tensor([0, 1])})
    with pytest.raises(UserError, match='0 pairs of one person and 1 pairs of two'):
        metric.compute()

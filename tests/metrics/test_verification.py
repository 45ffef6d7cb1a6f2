"""Verification and cosine to HR, against the protocol written out pair by pair."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.faces import template_for
from fsr_plugins.metrics.identity_similarity import IdentitySimilarity
from fsr_plugins.metrics.pairs import Pairs, draw_pairs, write_pairs
from fsr_plugins.metrics.verification import Verification, fold_accuracies

RNG = np.random.default_rng(0)
NUMBER = 24
KEYS = [f'face_{number:02d}' for number in range(NUMBER)]
PEOPLE = torch.arange(NUMBER) // 4
#: Faces of one person alike, and noise.
FACES = (0.5 + 0.08 * torch.from_numpy(RNG.standard_normal((6, 3, 7, 6)))).float()[PEOPLE]
IMAGES = (FACES + 0.25 * torch.from_numpy(RNG.standard_normal((NUMBER, 3, 7, 6))).float()).clamp(0, 1)


class PixelRecogniser(Recogniser):
    """Centred pixels are the embedding."""

    face_size = (7, 6)
    embedding_size = 126
    std = 1.0

    def embed(self, faces: Tensor) -> Tensor:
        return faces.flatten(1)


RECOGNISER = PixelRecogniser().eval()


def meta(part: slice = slice(None), **more: Any) -> dict[str, Any]:
    return {'keys': KEYS[part], 'identity': PEOPLE[part], 'net': 'net_g', 'cache': {}, **more}


def cosines(pairs: Pairs, images: Tensor = IMAGES) -> np.ndarray:
    vectors = (images.double() - 0.5).flatten(1).numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    place = {key: row for row, key in enumerate(KEYS)}
    return np.array([vectors[place[a]] @ vectors[place[b]] for a, b in zip(pairs.first, pairs.second, strict=True)])


def by_hand(cosine: np.ndarray, same: np.ndarray, fold: np.ndarray) -> list[float]:
    """The protocol, threshold by threshold and pair by pair."""
    accuracies = []
    for held in sorted(set(fold.tolist())):
        scores = []
        for step in range(401):
            threshold = -1 + step * 0.005
            right = [(c > threshold) == s for c, s, f in zip(cosine, same, fold, strict=True) if f != held]
            scores.append(sum(right))
        best = [step for step, score in enumerate(scores) if score == max(scores)]
        threshold = -1 + best[(len(best) - 1) // 2] * 0.005
        right = [(c > threshold) == s for c, s, f in zip(cosine, same, fold, strict=True) if f == held]
        accuracies.append(sum(right) / len(right))
    return accuracies


@pytest.mark.parametrize(('number', 'folds'), [(60, 5), (14, 2), (200, 10)])
def test_folds_by_hand(number: int, folds: int) -> None:
    """Folds of unequal size, some with pairs of one kind only."""
    fold = np.concatenate([np.arange(folds), RNG.integers(0, folds, number - folds)])
    same = RNG.random(number) < 0.5
    cosine = np.clip(0.3 * RNG.standard_normal(number) + 0.4 * same, -1, 1)
    found = fold_accuracies(cosine, same, fold)
    np.testing.assert_allclose(found.accuracy, by_hand(cosine, same, fold))


def test_thresholds() -> None:
    """Separable: 0.405 to 0.595 are all best without fold 0, 0.405 to 0.495 without fold 1; the middle is taken."""
    found = fold_accuracies([0.402, 0.5001, 0.402, 0.5999], [0, 1, 0, 1], [0, 0, 1, 1])
    np.testing.assert_allclose(found.threshold, [0.5, 0.45])
    np.testing.assert_allclose(found.accuracy, [1.0, 1.0])
    # A cosine on a threshold does not exceed it; at 1 nothing is accepted.
    found = fold_accuracies([1.0, 1.0, 1.0, 1.0], [1, 1, 0, 1], [0, 0, 1, 1])
    assert found.threshold[1] < 1 and found.accuracy[1] == 0.5


def test_drawn_pairs_of_the_set() -> None:
    metric = Verification(RECOGNISER, folds=4, per_fold=8, seed=3)
    for part in (slice(16, 24), slice(0, 16)):
        metric.update(IMAGES[part], None, meta(part))
    found = metric.compute()
    pairs = draw_pairs(KEYS, PEOPLE, 4, 8, 3)
    accuracies = by_hand(cosines(pairs), pairs.same, pairs.fold)
    assert 0.55 < found['verification'] < 0.99
    assert list(found) == ['verification', 'std', 'pairs', 'missing']
    assert found['verification'] == pytest.approx(np.mean(accuracies))
    assert found['std'] == pytest.approx(np.sqrt(np.sum((accuracies - np.mean(accuracies)) ** 2) / 3))
    assert (found['pairs'], found['missing']) == (64, 0)
    right = metric.outcomes['verification'].numpy()
    assert [right[pairs.fold == fold].mean() for fold in range(4)] == pytest.approx(accuracies)
    assert metric.pair_keys['verification'] == (pairs.first, pairs.second)
    assert metric.convention == 'PixelRecogniser (under training), align none, 64 pairs drawn by seed 3, 4 folds'
    with pytest.raises(UserError, match='saw no image'):
        metric.compute()


HR = (FACES + 0.02 * torch.randn(FACES.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def test_restored_faces_against_hrs() -> None:
    metric = Verification(RECOGNISER, folds=4, per_fold=8, seed=3, gallery='hr')
    for part in (slice(16, 24), slice(0, 16)):
        metric.update(IMAGES[part], HR[part], meta(part))
    pairs = draw_pairs(KEYS, PEOPLE, 4, 8, 3)
    sr, hr = ((images.double() - 0.5).flatten(1).numpy() for images in (IMAGES, HR))
    place = {key: row for row, key in enumerate(KEYS)}
    cosine = np.array(
        [
            sr[place[a]] @ hr[place[b]] / np.linalg.norm(sr[place[a]]) / np.linalg.norm(hr[place[b]])
            for a, b in zip(pairs.first, pairs.second, strict=True)
        ]
    )
    assert metric.compute()['verification'] == pytest.approx(np.mean(by_hand(cosine, pairs.same, pairs.fold)))
    assert 'align none, against HR, 64 pairs' in metric.convention


def test_impostors_are_chosen_by_hr() -> None:
    """The same pairs for every network: those that HR's embeddings give."""
    metric = Verification(RECOGNISER, folds=2, per_fold=12, nearest=2)
    metric.update(IMAGES, HR, meta())
    embeddings = torch.nn.functional.normalize((HR - 0.5).flatten(1)).numpy()
    pairs = draw_pairs(KEYS, PEOPLE, 2, 12, nearest=2, embeddings=embeddings)
    accuracies = by_hand(cosines(pairs), pairs.same, pairs.fold)
    assert metric.compute()['verification'] == pytest.approx(np.mean(accuracies))
    assert 'impostors among the 2 nearest people' in metric.convention


def test_hr_is_needed_where_it_is_asked_for() -> None:
    for more in ({'gallery': 'hr'}, {'nearest': 3}):
        with pytest.raises(UserError, match='needs HR'):
            Verification(RECOGNISER, **more).update(IMAGES, None, meta())
    with pytest.raises(UserError, match="'gallery' of the metric Verification is 'HR'"):
        Verification(RECOGNISER, gallery='HR')  # type: ignore[arg-type]


@pytest.fixture
def listed(tmp_path: Path) -> tuple[str, Pairs]:
    pairs = draw_pairs(KEYS, PEOPLE, 3, 9, 1)
    pairs.fold[:] = np.array([2, 5, 9])[pairs.fold]
    write_pairs(tmp_path / 'pairs.csv', pairs)
    return str(tmp_path / 'pairs.csv'), pairs


def test_missing_images_and_faces_are_counted(listed: tuple[str, Pairs]) -> None:
    """Of the list, two images are not in the set and one has no landmarks; the recogniser sees the others aligned."""
    path, pairs = listed
    points = template_for((7, 6)).repeat(NUMBER, 1, 1)
    points[5, 0] = torch.nan
    metric = Verification(RECOGNISER, pairs=path, align='landmarks')
    metric.update(IMAGES[2:], None, meta(slice(2, None), landmarks=points[2:]))
    found = metric.compute()
    lost = {*KEYS[:2], KEYS[5]}
    compared = np.array([not {a, b} & lost for a, b in zip(pairs.first, pairs.second, strict=True)])
    accuracies = by_hand(cosines(pairs)[compared], pairs.same[compared], pairs.fold[compared])
    assert found['verification'] == pytest.approx(np.mean(accuracies))
    assert (found['pairs'], found['missing']) == (compared.sum(), (~compared).sum()) and found['missing'] > 0
    whose = [[key for key, there in zip(side, compared, strict=True) if there] for side in (pairs.first, pairs.second)]
    assert [list(side) for side in metric.pair_keys['verification']] == whose
    assert '54 pairs, 3 folds' in metric.convention


def test_what_cannot_be_compared(listed: tuple[str, Pairs], tmp_path: Path) -> None:
    path, pairs = listed
    metric = Verification(RECOGNISER, pairs=path)
    metric.update(IMAGES, None, meta(keys=[f'other_{number}' for number in range(NUMBER)]))
    with pytest.raises(UserError, match=f'can compare none of 54 pairs, such as .{pairs.first[0]}'):
        metric.compute()
    for place in np.flatnonzero(pairs.fold == 5):
        pairs.first[place] = 'nobody'
    write_pairs(tmp_path / 'other.csv', pairs)
    metric = Verification(RECOGNISER, pairs=str(tmp_path / 'other.csv'))
    metric.update(IMAGES, None, meta())
    with pytest.raises(UserError, match='no pair of fold 5'):
        metric.compute()


def test_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / 'one.txt').write_text('1\nAda\t1\t2\nAda\t1\tBo\t2\n')
    with pytest.raises(UserError, match='single fold'):
        Verification.requirements(pairs=str(tmp_path / 'one.txt'))
    with pytest.raises(UserError, match="'folds' of the metric Verification is 1"):
        Verification(RECOGNISER, folds=1)
    metric = Verification(RECOGNISER)
    with pytest.raises(UserError, match='views: \\[identity\\]'):
        metric.update(IMAGES, None, {'keys': KEYS})
    metric.update(IMAGES, None, meta())
    with pytest.raises(UserError, match='36 genuine pairs, but 3000 are asked for'):
        metric.compute()
    assert Verification.requirements() == IdentitySimilarity.requirements() == []


def _gather(rank: int, port: int, pairs: str, out: Path) -> None:
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    # Image 9 is seen by both processes.
    part = slice(0, 10) if rank == 0 else slice(9, NUMBER)
    values = []
    for metric in (Verification(RECOGNISER, folds=4, per_fold=8, seed=3), Verification(RECOGNISER, pairs=pairs)):
        metric.update(IMAGES[part], None, meta(part))
        values += metric.compute().values()
        if rank == 1:
            metric.update(IMAGES, None, meta())
        values += metric.compute().values()
    similarity = IdentitySimilarity(RECOGNISER)
    if rank == 0:
        similarity.update(FACES.clamp(0, 1), IMAGES, meta())
    values += similarity.compute().values()
    (out / str(rank)).write_text(' '.join(map(repr, values)))
    dist.destroy_process_group()


@pytest.mark.long
def test_two_processes_give_the_figures_of_one(listed: tuple[str, Pairs], tmp_path: Path) -> None:
    """Uneven shares with an image in common, then all images in one process and none in the other."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_gather, (port, listed[0], tmp_path), nprocs=2)
    expected = []
    for metric in (Verification(RECOGNISER, folds=4, per_fold=8, seed=3), Verification(RECOGNISER, pairs=listed[0])):
        metric.update(IMAGES, None, meta())
        expected += 2 * list(metric.compute().values())
    similarity = IdentitySimilarity(RECOGNISER)
    similarity.update(FACES.clamp(0, 1), IMAGES, meta())
    expected += similarity.compute().values()
    for rank in range(2):
        assert [float(text) for text in (tmp_path / str(rank)).read_text().split()] == pytest.approx(expected)


def test_cosine_to_hr() -> None:
    sr = FACES.clamp(0, 1)
    metric = IdentitySimilarity(RECOGNISER)
    for part in (slice(0, 5), slice(5, NUMBER)):
        metric.update(sr[part], IMAGES[part], meta(part))
    one, other = ((images.double() - 0.5).flatten(1).numpy() for images in (sr, IMAGES))
    expected = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(metric.last['identity'].numpy(), expected[5:], atol=1e-6)
    assert metric.compute() == pytest.approx({'identity': expected.mean(), 'missing': 0})
    with pytest.raises(UserError, match='none of 0 faces'):
        metric.compute()


def test_faces_without_landmarks_are_no_part_of_the_mean() -> None:
    points = template_for((7, 6)).repeat(4, 1, 1)
    metric = IdentitySimilarity(RECOGNISER, align='landmarks')
    metric.update(FACES[:4].clamp(0, 1), IMAGES[:4], {'landmarks': points})
    all_four = metric.last['identity']
    metric.compute()
    points[2] = torch.nan
    metric.update(FACES[:4].clamp(0, 1), IMAGES[:4], {'landmarks': points})
    assert metric.compute() == pytest.approx({'identity': float(all_four[[0, 1, 3]].mean()), 'missing': 1})
    metric.update(FACES[2:3], IMAGES[2:3], {'landmarks': points[2:3]})
    with pytest.raises(UserError, match='none of 1 faces'):
        metric.compute()


def test_needs_a_reference_of_its_size() -> None:
    metric = IdentitySimilarity(RECOGNISER)
    with pytest.raises(UserError, match='needs reference images'):
        metric.update(IMAGES, None, meta())
    with pytest.raises(UserError, match="7×6 for a reference of 7×3 .*'face_00'"):
        metric.update(IMAGES, IMAGES[..., :3], meta())

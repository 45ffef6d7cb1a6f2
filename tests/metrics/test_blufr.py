"""BLUFR against a plain reading of the benchmark's rules, on all scores at once."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.metrics import BLUFR
from fsr_plugins.metrics.blufr_protocol import read_protocol
from fsr_plugins.metrics.false_accepts import MARGIN, verification_rate
from fsr_plugins.metrics.open_set import open_set_rate

SIZE = 4


class Pixels(Recogniser):
    """The pixels themselves, in [-1, 1], are the embedding."""

    face_size = (SIZE, SIZE)
    embedding_size = 3 * SIZE * SIZE

    def embed(self, faces):
        return faces.flatten(1)


def faces_of(people: int, images: int, seed: int, noise: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """(images, 48) float32 of unit length around a centre for each person, and who it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, people, images)
    values = rng.normal(size=(people, 48))[labels] + noise * rng.normal(size=(images, 48))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32), labels


def tied_faces(people: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four of eight values are ±½: of exactly unit length, all scores are multiples of ¼, and most are ties."""
    rng = np.random.default_rng(seed)
    values = np.zeros((images, 8), np.float32)
    for row in values:
        row[rng.choice(8, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return values, rng.integers(0, people, images)


def place_of(far: float, count: int) -> int:
    """MATLAB's round of a positive number."""
    whole = int(far * count)
    return whole + (far * count - whole >= 0.5)


def threshold_of(genuine: np.ndarray, impostor: np.ndarray, far: float) -> float:
    """As the toolkit's EvalROC.m and OpenSetROC.m define it."""
    ordered = sorted(impostor.astype(np.float64), reverse=True)
    place = place_of(far, len(ordered))
    if place == len(ordered):
        return min(ordered[-1], genuine.min()) - np.sqrt(np.spacing(1.0))
    if place:
        return ordered[place - 1]
    above = [score for score in genuine.astype(np.float64) if score > ordered[0]]
    return (ordered[0] + min(above)) / 2 if above else ordered[0] + np.sqrt(np.spacing(1.0))


def reference_vr(embeddings: np.ndarray, labels: np.ndarray, far: float) -> tuple[float, float]:
    scores = embeddings @ embeddings.T
    first, second = np.tril_indices(len(labels), -1)
    pairs, same = scores[first, second], labels[first] == labels[second]
    threshold = threshold_of(pairs[same], pairs[~same], far)
    return float(np.mean(pairs[same] >= threshold)), threshold


def reference_dir(gallery, gallery_labels, probes, probe_labels, far: float, rank: int) -> tuple[float, float]:
    """Probe by probe, with a stable descending sort of the gallery."""
    best, genuine = [], []
    for probe, label in zip(probes, probe_labels, strict=True):
        scores = gallery @ probe
        own = np.flatnonzero(gallery_labels == label)
        if not len(own):
            best.append(scores.max())
            continue
        match = own[np.argmax(scores[own])]
        order = np.argsort(-scores, kind='stable')
        genuine.append((scores[match], 1 + int(np.flatnonzero(order == match)[0])))
    values = np.array([score for score, _ in genuine])
    threshold = threshold_of(values, np.array(best), far)
    return float(np.mean([score >= threshold and place <= rank for score, place in genuine])), threshold


@pytest.mark.parametrize('far', [0.0, 1e-9, 0.001, 0.0137, 0.3, 0.999, 1.0])
@pytest.mark.parametrize(('make', 'images', 'block'), [(faces_of, 300, 64), (tied_faces, 203, 50), (faces_of, 5, 512)])
def test_verification_rate_is_the_one_of_all_scores(make, images: int, block: int, far: float) -> None:
    embeddings, labels = make(4 if images < 10 else 40, images, 3)
    expected, threshold = reference_vr(embeddings, labels, far)
    found = verification_rate(torch.from_numpy(embeddings), torch.from_numpy(labels), far, block)
    assert found.rate == pytest.approx(expected, abs=1e-12)
    assert found.threshold == pytest.approx(threshold, abs=1e-6)


@pytest.mark.parametrize('block', [1, 7, 64, 203, 1000])
def test_ties_are_the_same_in_every_block_size(block: int) -> None:
    embeddings, labels = tied_faces(30, 203, 11)
    for far in (0.001, 0.02, 0.2):
        found = verification_rate(torch.from_numpy(embeddings), torch.from_numpy(labels), far, block)
        assert found == reference_vr(embeddings, labels, far)


@pytest.mark.parametrize(('first', 'far', 'threshold'), [(0.75, 0.0, 0.625), (0.25, 0.0, 0.5 + MARGIN)])
def test_no_false_accept_lies_between_impostors_and_genuine(first: float, far: float, threshold: float) -> None:
    """Two images of one person at ``first``, one of another at 0.5 of the first and 0.3 of the second."""
    gram = torch.tensor([[1, first, 0.5], [first, 1, 0.3], [0.5, 0.3, 1]], dtype=torch.float64)
    embeddings = torch.linalg.cholesky(gram).float()
    found = verification_rate(embeddings, torch.tensor([4, 4, 9]), far)
    assert found.threshold == pytest.approx(threshold, abs=1e-6)
    assert found.rate == float(first > 0.5)


@pytest.mark.parametrize('rank', [1, 3, 1000])
@pytest.mark.parametrize('far', [0.0, 0.01, 0.25, 1.0])
@pytest.mark.parametrize('make', [faces_of, tied_faces])
def test_open_set_rate_is_the_one_probe_by_probe(make, far: float, rank: int) -> None:
    embeddings, labels = make(60, 400, 5)
    # People from 40 on are not in the gallery; some in it have several images there.
    gallery = np.flatnonzero(labels < 40)[:70]
    probes = np.setdiff1d(np.arange(400), gallery)
    sets = (embeddings[gallery], labels[gallery], embeddings[probes], labels[probes])
    expected, threshold = reference_dir(*sets, far, rank)
    found = open_set_rate(*(torch.from_numpy(part) for part in sets), far, rank, block=33)
    assert found.rate == pytest.approx(expected, abs=1e-12)
    assert found.threshold == pytest.approx(threshold, abs=1e-6)


def test_faces_without_embedding_are_rejected_and_accept_nobody() -> None:
    embeddings, labels = faces_of(20, 120, 7)
    broken = embeddings.copy()
    broken[::10] = np.nan
    whole = labels[np.arange(120) % 10 != 0]
    genuine = sum(int(c) * (int(c) - 1) // 2 for c in np.unique(labels, return_counts=True)[1])
    kept = sum(int(c) * (int(c) - 1) // 2 for c in np.unique(whole, return_counts=True)[1])
    found = verification_rate(torch.from_numpy(broken), torch.from_numpy(labels), 1.0)
    assert found.rate == pytest.approx(kept / genuine)
    nothing = torch.full((120, 48), float('nan'))
    assert verification_rate(nothing, torch.from_numpy(labels), 0.001).rate == 0
    split = (nothing[:20], torch.arange(20), nothing[20:], torch.arange(100))
    assert open_set_rate(*split, far=0.01).rate == 0


@pytest.mark.parametrize('labels', [[0] * 6, list(range(6)), [0]])
def test_one_person_or_one_image_each_cannot_be_verified(labels: list[int]) -> None:
    embeddings = torch.eye(6)[: len(labels)]
    with pytest.raises(UserError, match='verification needs both'):
        verification_rate(embeddings, torch.tensor(labels), 0.001)


@pytest.mark.parametrize('probe_labels', [[0, 1], [7, 8]])
def test_open_set_needs_probes_of_both_sorts(probe_labels: list[int]) -> None:
    with pytest.raises(UserError, match='needs probes of people in the gallery and of others'):
        open_set_rate(torch.eye(2), torch.arange(2), torch.eye(2), torch.tensor(probe_labels), 0.01)


def test_options_out_of_range() -> None:
    two = (torch.eye(2), torch.arange(2))
    with pytest.raises(UserError, match='lies in'):
        verification_rate(*two, far=1.5)
    with pytest.raises(UserError, match='rank 1'):
        open_set_rate(*two, *two, far=0.01, rank=0)
    with pytest.raises(ValueError, match='labels needed'):
        verification_rate(torch.eye(2), torch.arange(3), 0.01)


class Benchmark:
    """A set of 90 faces of 30 people, and a protocol of three trials of different sizes."""

    def __init__(self, seed: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.labels = np.repeat(np.arange(1, 31), 3)
        centres = rng.uniform(0.2, 0.8, (30, 3, SIZE, SIZE))[self.labels - 1]
        self.images = np.clip(centres + 0.25 * rng.normal(size=centres.shape), 0, 1).astype(np.float32)
        self.keys = [f'Person_{label}_{place:04d}' for place, label in enumerate(self.labels)]
        self.test, self.gallery, self.probes = [], [], []
        for count in (30, 24, 27):
            people = rng.permutation(np.arange(1, 31))[:count]
            test = np.flatnonzero(np.isin(self.labels, people))
            gallery = np.array([place for place in test[::3] if self.labels[place] in people[: count // 2]])
            self.test.append(test)
            self.gallery.append(gallery)
            self.probes.append(np.setdiff1d(test, gallery))

    def variables(self) -> dict[str, np.ndarray]:
        """As the published file has them: cell arrays in columns, indices from 1 on."""
        cells = {'testIndex': self.test, 'galIndex': self.gallery, 'probIndex': self.probes}
        content = {'imageList': column([np.array(f'{key}.jpg') for key in self.keys])}
        content['labels'] = self.labels[:, None].astype(float)
        return content | {name: column([part[:, None] + 1 for part in parts]) for name, parts in cells.items()}

    def embeddings(self) -> np.ndarray:
        flat = 2 * self.images.reshape(90, -1) - 1
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    def expected(self, far: float, open_set_far: float) -> dict[str, float]:
        values = self.embeddings()
        rates = []
        for test, gallery, probes in zip(self.test, self.gallery, self.probes, strict=True):
            vr, _ = reference_vr(values[test], self.labels[test], far)
            sets = (values[gallery], self.labels[gallery], values[probes], self.labels[probes])
            rates.append((vr, reference_dir(*sets, open_set_far, 1)[0]))
        (vr, identified), (vr_std, dir_std) = np.mean(rates, axis=0), np.std(rates, axis=0, ddof=1)
        return {'vr_minus_std': vr - vr_std, 'vr': vr, 'dir_minus_std': identified - dir_std, 'dir': identified}


def column(parts: list[np.ndarray]) -> np.ndarray:
    """A MATLAB cell array of n rows."""
    cells = np.empty((len(parts), 1), object)
    for place, part in enumerate(parts):
        cells[place, 0] = part
    return cells


def padded(content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same protocol as an npz holds it."""
    plain = {'imageList': np.array([str(cell) for cell in content['imageList'].ravel()]), 'labels': content['labels']}
    for name in ('testIndex', 'galIndex', 'probIndex'):
        cells = [cell.ravel() for cell in content[name].ravel()]
        plain[name] = np.zeros((len(cells), max(map(len, cells))), np.int32)
        for row, cell in zip(plain[name], cells, strict=True):
            row[: len(cell)] = cell
    return plain


def written(folder: Path, content: dict[str, np.ndarray], suffix: str = '.mat') -> Path:
    path = folder / f'protocol{suffix}'
    if suffix == '.mat':
        scipy.io.savemat(path, content, do_compression=True)
    else:
        np.savez(path, **padded(content))
    return path


def feed(metric: BLUFR, benchmark: Benchmark, places: np.ndarray, prefix: str = '') -> None:
    for part in np.array_split(places, 4):
        keys = [prefix + benchmark.keys[place] for place in part]
        metric.update(torch.from_numpy(benchmark.images[part]), None, {'keys': keys})


@pytest.mark.parametrize('suffix', ['.mat', '.npz'])
def test_both_layouts_hold_the_protocol(tmp_path: Path, suffix: str) -> None:
    benchmark = Benchmark()
    found = read_protocol(written(tmp_path, benchmark.variables(), suffix))
    assert found.images == tuple(benchmark.keys)
    np.testing.assert_array_equal(found.labels, benchmark.labels)
    for place, trial in enumerate(found.trials):
        np.testing.assert_array_equal(trial.test, benchmark.test[place])
        np.testing.assert_array_equal(trial.gallery, benchmark.gallery[place])
        np.testing.assert_array_equal(trial.probes, benchmark.probes[place])


@pytest.mark.parametrize('prefix', ['', '0/'])
def test_metric_over_trials(tmp_path: Path, prefix: str) -> None:
    benchmark = Benchmark()
    path = written(tmp_path, benchmark.variables())
    metric = BLUFR(Pixels().eval(), path, far=0.02, open_set_far=0.1)
    for _ in range(2):
        feed(metric, benchmark, np.random.default_rng(0).permutation(90), prefix)
        found = metric.compute()
        assert list(found) == ['vr_minus_std', 'vr', 'dir_minus_std', 'dir', 'missing']
        assert found == pytest.approx(benchmark.expected(0.02, 0.1) | {'missing': 0}, abs=1e-6)
    assert 0 < found['vr_minus_std'] < found['vr'] < 1


def test_a_single_trial_has_no_deviation(tmp_path: Path) -> None:
    benchmark = Benchmark()
    content = benchmark.variables()
    content |= {name: content[name][:1] for name in ('testIndex', 'galIndex', 'probIndex')}
    metric = BLUFR(Pixels().eval(), written(tmp_path, content), far=0.02, open_set_far=0.1)
    feed(metric, benchmark, np.arange(90))
    found = metric.compute()
    assert found['vr'] == found['vr_minus_std'] and found['dir'] == found['dir_minus_std']


def test_missing_images_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    benchmark = Benchmark()
    path = written(tmp_path, benchmark.variables())
    absent = np.array([4, 50])
    kept = np.setdiff1d(np.arange(90), absent)
    metric = BLUFR(Pixels().eval(), path, far=0.02, open_set_far=0.1, max_missing=0.05)
    feed(metric, benchmark, kept)
    found = metric.compute()
    assert found['missing'] == 2 and metric.missing == [benchmark.keys[place] for place in absent]
    assert benchmark.keys[50] in caplog.text
    for sets in (benchmark.test, benchmark.gallery, benchmark.probes):
        sets[:] = [np.setdiff1d(part, absent) for part in sets]
    assert found == pytest.approx(benchmark.expected(0.02, 0.1) | {'missing': 2}, abs=1e-6)
    strict = BLUFR(Pixels().eval(), path)
    feed(strict, benchmark, kept)
    with pytest.raises(UserError, match=f'2 of the 90 images.*{benchmark.keys[4]}'):
        strict.compute()


def test_two_images_of_one_name_and_no_image(tmp_path: Path) -> None:
    benchmark = Benchmark()
    metric = BLUFR(Pixels().eval(), written(tmp_path, benchmark.variables()))
    feed(metric, benchmark, np.arange(90), '0/')
    feed(metric, benchmark, np.arange(90), '1/')
    with pytest.raises(UserError, match='Two images'):
        metric.compute()
    with pytest.raises(UserError, match='saw no image'):
        metric.compute()


def _share(rank: int, port: int, protocol: Path, out: Path) -> None:
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    metric = BLUFR(Pixels().eval(), protocol, far=0.02, open_set_far=0.1)
    feed(metric, Benchmark(), np.arange(90)[rank::2])
    even = metric.compute()['vr_minus_std']
    if rank == 1:
        feed(metric, Benchmark(), np.arange(90))
    (out / str(rank)).write_text(f'{even!r} {metric.compute()["vr_minus_std"]!r}')
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_figure_of_one(tmp_path: Path) -> None:
    """Every other image each, then all in one process and none in the other."""
    path = written(tmp_path, Benchmark().variables())
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_share, (port, path, tmp_path), nprocs=2)
    expected = Benchmark().expected(0.02, 0.1)['vr_minus_std']
    for rank in range(2):
        values = [float(text) for text in (tmp_path / str(rank)).read_text().split()]
        assert values == pytest.approx([expected] * 2, abs=1e-6)


def _lose(name: str):
    return lambda content: content.pop(name)


def _set(name: str, value):
    return lambda content: content.__setitem__(name, value)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (_lose('galIndex'), 'has no galIndex'),
        (_set('labels', np.ones((3, 1))), '90 images have 3 labels'),
        (_set('labels', np.full((90, 1), 0.5)), 'whole numbers'),
        (_set('labels', np.full((90, 1), np.nan)), 'whole numbers'),
        (_set('labels', np.full((90, 1), np.inf)), 'whole numbers'),
        (_set('labels', np.array(['x'] * 90)), 'whole numbers'),
        (_set('testIndex', column([np.array([[1], [91]])] * 3)), 'outside 1 … 90'),
        (_set('testIndex', column([np.array([[0], [2]])] * 3)), 'outside 1 … 90'),
        (_set('testIndex', column([np.array([[2], [2]])] * 3)), 'names an image twice'),
        (_set('testIndex', column([np.array([[1], [2]])])), 'faulty'),
        (_set('imageList', column([np.array('one.jpg')] * 90)), 'two images of one name'),
        (_set('imageList', np.arange(90)), 'no file name'),
        (lambda content: content.update(probIndex=content['testIndex']), 'both in the gallery'),
        (lambda content: content.update({n: np.empty((0, 1), object) for n in content if 'Index' in n}), 'no trial'),
    ],
)
def test_a_protocol_that_contradicts_itself(tmp_path: Path, damage, message: str) -> None:
    content = Benchmark().variables()
    damage(content)
    with pytest.raises(UserError, match=message):
        read_protocol(written(tmp_path, content))


@pytest.mark.parametrize('suffix', ['.mat', '.npz'])
def test_files_that_are_no_protocol(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'broken{suffix}'
    with pytest.raises(UserError, match='There is no BLUFR protocol'):
        read_protocol(path)
    good = written(tmp_path, Benchmark().variables(), suffix).read_bytes()
    rng = np.random.default_rng(1)
    contents = [b'', b'MATLAB', bytes(300), rng.bytes(4000), *(good[:cut] for cut in (100, 130, 600, len(good) - 40))]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(UserError, match='BLUFR protocol'):
            read_protocol(path)


def test_preflight_reads_the_protocol(tmp_path: Path) -> None:
    assert BLUFR.requirements(Pixels(), written(tmp_path, Benchmark().variables())) == []
    with pytest.raises(UserError, match='There is no BLUFR protocol'):
        BLUFR.requirements(Pixels(), tmp_path / 'absent.mat')


def test_objects_are_not_unpickled_and_other_files_not_read(tmp_path: Path) -> None:
    path = tmp_path / 'objects.npz'
    np.savez(path, **Benchmark().variables())
    with pytest.raises(UserError, match='without objects'):
        read_protocol(path)
    with pytest.raises(UserError, match='neither .mat nor .npz'):
        read_protocol(tmp_path / 'protocol.txt')

"""The reader of MATLAB files against scipy's reader and writer, and on damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from fsr_plugins.metrics.matfile import read_mat


def content() -> dict[str, object]:
    rng = np.random.default_rng(0)
    cells = np.empty((3, 2), object)
    for place in np.ndindex(3, 2):
        cells[place] = rng.integers(1, 9999, (sum(place) + 1, 1))
    inner = np.empty((1, 2), object)
    inner[0, 0], inner[0, 1] = np.array('Ana_0001.jpg'), np.array([[2.5]])
    nested = np.empty((1, 1), object)
    nested[0, 0] = inner
    numbers = {f'a_{kind}': rng.integers(0, 100, (4, 3)).astype(kind) for kind in ('u1', 'i2', 'u4', 'i8', 'f4', 'f8')}
    return numbers | {'cube': rng.normal(size=(2, 3, 4)), 'cells': cells, 'nested': nested, 'text': 'Šárka_0002.jpg'}


def compare(ours: np.ndarray, theirs: np.ndarray) -> None:
    if theirs.dtype != object:
        np.testing.assert_array_equal(ours, theirs)
        return
    assert ours.shape == theirs.shape
    for mine, other in zip(ours.ravel(), theirs.ravel(), strict=True):
        compare(mine, other)


@pytest.mark.parametrize('compressed', [False, True])
def test_what_scipy_writes_is_read_as_scipy_reads_it(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / 'file.mat'
    scipy.io.savemat(path, content() | {'others': {'struct': 1}}, do_compression=compressed)
    theirs = scipy.io.loadmat(path)
    ours = read_mat(path, content())
    assert set(ours) == set(content())
    for name, values in ours.items():
        compare(values, theirs[name])
    assert set(read_mat(path, ['text', 'absent'])) == {'text'}


@pytest.mark.parametrize('value', [{'struct': 1}, np.array([1 + 2j])])
def test_other_classes_are_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / 'file.mat'
    scipy.io.savemat(path, {'value': value})
    with pytest.raises(ValueError, match='neither real numbers'):
        read_mat(path, ['value'])


@pytest.mark.parametrize('compressed', [False, True])
def test_damage_is_a_value_error_or_other_values(tmp_path: Path, compressed: bool) -> None:
    """Every cut and many changed bytes: nothing but ValueError comes out, and a file cut short is always noticed."""
    path = tmp_path / 'file.mat'
    scipy.io.savemat(path, {'cells': content()['cells']}, do_compression=compressed)
    good = path.read_bytes()
    # What is left by a cut right behind the header is a file without variables.
    for cut in {*range(0, 129), *range(129, len(good), 5)} - {128}:
        path.write_bytes(good[:cut])
        with pytest.raises(ValueError):
            read_mat(path, ['cells'])
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(500):
        damaged = bytearray(good)
        damaged[rng.integers(124, len(good))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_mat(path, ['cells'])
        except ValueError:
            refused += 1
    assert refused > 100

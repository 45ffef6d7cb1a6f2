"""LPIPS against the package's own forward, with one random backbone in both."""

from __future__ import annotations

from pathlib import Path

import lpips
import pytest
import torch
import torchvision

from fsr_plugins import weights
from fsr_plugins.errors import UserError
from fsr_plugins.metrics import LPIPS
from fsr_plugins.metrics.lpips_distance import why_missing


@pytest.fixture(scope='module')
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random AlexNet's features as torchvision would publish them."""
    state = torchvision.models.alexnet(weights=None).state_dict()
    path = tmp_path_factory.mktemp('weights') / 'alexnet.pth'
    torch.save({name: value for name, value in state.items() if name.startswith('features.')}, path)
    return path


def test_equals_the_package(alexnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sr, gt = torch.rand(2, 3, 3, 64, 64).unbind()
    ours = LPIPS(weights=str(alexnet))
    ours.update(sr, gt, {})

    network = torchvision.models.alexnet(weights=None)
    network.load_state_dict(torch.load(alexnet), strict=False)
    # What lpips does with pretrained weights, but for the download.
    monkeypatch.setattr(lpips.pretrained_networks.tv, 'alexnet', lambda pretrained: network)
    reference = lpips.LPIPS(net='alex', verbose=False).eval()
    with torch.no_grad():
        expected = reference(sr * 2 - 1, gt * 2 - 1).flatten()
    torch.testing.assert_close(ours.last['lpips'], expected)
    assert ours.compute()['lpips'] == pytest.approx(expected.mean().item(), rel=1e-5)


def test_nothing_is_warned_of(alexnet: Path, recwarn: pytest.WarningsRecorder) -> None:
    LPIPS(weights=str(alexnet))
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(
    ('net', 'filename'),
    [('alex', 'alexnet-owt-7be5be79.pth'), ('vgg', 'vgg16-397923af.pth'), ('squeeze', 'squeezenet1_1-b8a52dc0.pth')],
)
def test_says_what_it_needs(net: str, filename: str) -> None:
    (weight,) = LPIPS.requirements(net=net)
    assert weight.filename == filename
    assert weight.sha256 == filename[-12:-4]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network and empty folders; the addresses that were asked for all the same."""
    asked: list[str] = []

    def refuse(url: str, **options: object) -> None:
        asked.append(url)
        raise OSError('no network')

    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(weights.urllib.request, 'urlopen', refuse)
    why_missing.cache_clear()
    yield asked
    why_missing.cache_clear()


def test_absent_weights_are_one_line(tmp_path: Path, offline: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        LPIPS()
    message = str(caught.value)
    assert '\n' not in message
    for part in ('LPIPS (alex)', 'alexnet-owt-7be5be79.pth', '7be5be79', 'no network', str(tmp_path)):
        assert part in message


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='choose one of alex, vgg, squeeze'):
        LPIPS(net='alexnet')
    with pytest.raises(UserError, match='are not at'):
        LPIPS(weights=str(tmp_path / 'none.pth'))
    torch.save({'features.0.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(UserError, match='does not hold the weights'):
        LPIPS(weights=str(tmp_path / 'other.pth'))


def test_optional_weights_that_are_absent_mark_the_metric(
    tmp_path: Path, offline: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert LPIPS.requirements(optional=True) == []
    first, second = LPIPS(optional=True), LPIPS(optional=True)
    assert first.convention.startswith('absent: ')
    assert "put 'alexnet-owt-7be5be79.pth' (SHA-256 7be5be79…" in first.convention
    first.update(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64), {})
    assert first.compute() == second.compute() == {}
    assert len(offline) == 1
    assert [record.levelname for record in caplog.records if record.levelname != 'INFO'] == ['WARNING']
    with pytest.raises(UserError, match='are not at'):
        LPIPS(weights=str(tmp_path / 'none.pth'), optional=True)


def test_optional_weights_that_are_there_are_used(alexnet: Path) -> None:
    plain, optional = LPIPS(weights=str(alexnet)), LPIPS(weights=str(alexnet), optional=True)
    assert plain.convention == optional.convention
    sr, gt = torch.rand(2, 1, 3, 64, 64).unbind()
    for metric in (plain, optional):
        metric.update(sr, gt, {})
    assert plain.compute() == optional.compute()

"""An entry of a suite whose network is another program's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tiny_suite import write_suite

from fsr_plugins.cli import main
from fsr_plugins.degradations.bicubic import imresize
from fsr_plugins.stores.folder import FolderStore

spandrel = pytest.importorskip('spandrel', reason='needs the extra spandrel')


def test_an_entry_is_measured_as_its_descriptor_makes_images(folder: Path) -> None:
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    net = Compact(num_feat=8, num_conv=2, upscale=2)
    torch.save({'params': net.state_dict()}, folder / 'compact.pth')
    entries = {
        'bicubic': {'type': 'bicubic'},
        'theirs': {'checkpoint': 'compact.pth', 'unfair': 'trained elsewhere'},
    }
    write_suite(folder, entries=entries, papers=None, metrics={'psnr': {'type': 'PSNR'}})
    assert main(['bench', '-opt', 'suite.yml', '--json', 'found.json']) == 0
    found = json.loads(Path('found.json').read_text())
    entry = found['entries']['theirs']
    assert (entry['kind'], entry['arch']) == ('checkpoint', {'type': 'spandrel:Compact'})
    assert entry['cost']['parameters'] == sum(parameter.numel() for parameter in net.parameters())
    assert entry['cost']['macs'] > 0 and 'does not say by checksum' in ' '.join(entry['differs'])
    # The mean of PSNR over the test faces, by the descriptor itself.
    described = spandrel.ModelLoader().load_from_file('compact.pth')
    store, values = FolderStore(Path('test')), []
    for key in store.keys:
        hr = torch.tensor(store.image(key)).permute(2, 0, 1)[None].float()
        sr = described((imresize(hr / 255, scale=0.5) * 255).round().clamp(0, 255) / 255).mul(255).round()
        values.append(10 * math.log10(255**2 / float((sr - hr).square().mean())))
    assert entry['figures']['psnr']['mean'] == pytest.approx(sum(values) / len(values), abs=0.02)


def test_one_of_another_scale_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spandrel.architectures.Compact import Compact

    torch.save(Compact(num_feat=8, num_conv=2, upscale=4).state_dict(), folder / 'compact.pth')
    write_suite(folder, entries={'theirs': {'checkpoint': 'compact.pth', 'unfair': 'yes'}}, reference=None, papers={})
    assert main(['bench', '-opt', 'suite.yml']) == 2
    said = capsys.readouterr().err
    assert 'has scale 4, the suite 2' in said and 'Traceback' not in said

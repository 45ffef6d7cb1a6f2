"""Each mend of BasicSR 1.4.2: that it is needed, and that it works.

Imports that break are shown in a process without the mends; everything else against the function the mend wraps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import basicsr.utils.registry as basicsr_registry
import numpy as np
import pytest
import torch
from torch import nn

from fsr_plugins import compat, mending, registry


def run(code: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own."""
    environment = dict(os.environ)
    if path is not None:
        environment['PYTHONPATH'] = path
    command = [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture(scope='module')
def unmended_imports() -> dict[str, str]:
    """What importing torchvision, and then BasicSR, says without the mends; empty where it works."""
    code = """
        import json, importlib

        def said(name):
            try:
                importlib.import_module(name)
            except Exception as error:
                return f'{type(error).__name__}: {error}'
            return ''

        torchvision = said('torchvision')
        from fsr_plugins import mending
        del mending._LOADERS['basicsr']
        importlib.import_module('torchvision')
        print(json.dumps({'torchvision': torchvision, 'basicsr': said('basicsr')}))
    """
    result = run(code)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.long
def test_import_of_basicsr_fails_without_functional_tensor_and_works_with_it(unmended_imports):
    assert 'torchvision.transforms.functional_tensor' in unmended_imports['basicsr']
    from basicsr.data.degradations import rgb_to_grayscale
    from torchvision.transforms.functional import rgb_to_grayscale as torchvisions

    image = torch.rand(1, 3, 4, 5)
    for channels in (1, 3):
        assert torch.equal(rgb_to_grayscale(image, num_output_channels=channels), torchvisions(image, channels))


def test_torchvisions_cuda_wheel_imports_beside_a_cpu_torch(unmended_imports):
    if not unmended_imports['torchvision']:
        pytest.skip("torchvision's extension loads beside this torch: nothing to mend")
    assert 'operator torchvision::nms does not exist' in unmended_imports['torchvision']
    from torchvision.transforms.functional import rgb_to_grayscale

    assert rgb_to_grayscale(torch.ones(1, 3, 2, 2)).shape == (1, 1, 2, 2)


def test_missing_system_library_of_opencv_is_explained(tmp_path):
    broken = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    (tmp_path / 'cv2.py').write_text(broken)
    path = os.pathsep.join([str(tmp_path), str(Path(compat.__file__).parents[1])])
    result = run('import fsr_plugins.compat', path=path)
    assert result.returncode != 0
    assert 'libgl1' in result.stderr.splitlines()[-1]


def test_name_collision_is_refused_under_python_o(monkeypatch):
    optimised = types.ModuleType('basicsr.utils.registry')
    source = Path(basicsr_registry.__file__).read_text()
    exec(compile(source, basicsr_registry.__file__, 'exec', optimize=1), optimised.__dict__)
    first, second = (type('Twice', (), {}) for _ in range(2))

    unmended = optimised.Registry('things')
    unmended.register(first)
    unmended.register(second)
    assert unmended.get('Twice') is second

    mending.refuse_name_collisions(optimised)
    mended = optimised.Registry('things')
    mended.register(first)
    with pytest.raises(AssertionError, match="'Twice' was already registered in 'things'"):
        mended.register(second)
    assert mended.get('Twice') is first


def test_perceptual_loss_with_l2(monkeypatch):
    import basicsr.losses.basic_loss as basic_loss

    class Features(nn.Module):
        """Stands for VGG, whose weights would have to be downloaded: the image is its own feature."""

        def __init__(self, layer_name_list: list[str], **_: object) -> None:
            super().__init__()

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {'conv1_2': image}

    assert not hasattr(nn, 'L2loss')
    monkeypatch.setattr(basic_loss, 'VGGFeatureExtractor', Features)
    first, second = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    expected = {'l2': (first - second).square().mean(), 'l1': (first - second).abs().mean()}
    for criterion, value in expected.items():
        loss = basic_loss.PerceptualLoss({'conv1_2': 1.0}, criterion=criterion)
        assert loss.criterion_type == criterion
        torch.testing.assert_close(loss(first, second)[0], value)


def test_rrdbnet_refuses_what_it_would_enlarge_by_four():
    from basicsr.archs.rrdbnet_arch import RRDBNet

    sizes = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'num_grow_ch': 2}
    lq = torch.rand(1, 3, 8, 8)
    unmended = RRDBNet.__new__(RRDBNet)
    RRDBNet.__init__.__wrapped__(unmended, scale=8, **sizes)
    assert unmended(lq).shape[-1] == 4 * 8

    with pytest.raises(ValueError, match='not by 8'):
        registry.build('archs', {'type': 'RRDBNet', 'scale': 8, **sizes})
    for scale in (1, 2, 4):
        assert registry.build('archs', {'type': 'RRDBNet', 'scale': scale, **sizes})(lq).shape[-1] == 8 * scale


@pytest.mark.parametrize(
    'block',
    [
        {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4, 'input_size': 128},
        {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4, 'input_size': 256},
        {'type': 'StyleGAN2Discriminator', 'out_size': 32, 'narrow': 0.0625},
    ],
    ids=['vgg_128', 'vgg_256', 'stylegan2'],
)
def test_discriminators_take_images_with_channels_last(block):
    cls = registry.lookup('archs', block['type'])
    arguments = {key: value for key, value in block.items() if key != 'type'}
    unmended = cls.__new__(cls)
    cls.__init__.__wrapped__(unmended, **arguments)
    mended = registry.build('archs', block)
    mended.load_state_dict(unmended.state_dict())
    size = block.get('input_size') or block['out_size']
    images = torch.rand(4, 3, size, size)
    scores = unmended(images)
    torch.testing.assert_close(mended(images), scores, rtol=0, atol=0)

    for net in (unmended, mended):
        net.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match='view size'):
        unmended(images)
    torch.testing.assert_close(mended(images), scores, rtol=1e-4, atol=1e-5)


def test_jpeg_degradation_takes_the_quality_basicsr_draws():
    from basicsr.data import degradations

    image = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    mended = degradations.add_jpg_compression
    assert mended(image, np.float64(50.2)).shape == image.shape
    np.testing.assert_array_equal(mended(image, 50.2), mended(image, 50))
    with pytest.raises(Exception, match="Can't parse"):
        mended.__wrapped__(image, np.float64(50.2))
    assert degradations.random_add_jpg_compression(image).shape == image.shape


def test_basicsrs_loop_finds_and_reads_a_state_without_cuda(tmp_path):
    import basicsr.train as train
    from basicsr.models.lr_scheduler import MultiStepRestartLR

    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter])
    scheduler = MultiStepRestartLR(optimizer, milestones=[3, 3, 5])
    for iteration in (8, 16):
        state = {
            'epoch': 0,
            'iter': iteration,
            'optimizers': [optimizer.state_dict()],
            'schedulers': [scheduler.state_dict()],
        }
        torch.save(state, tmp_path / f'{iteration}.state')
    opt = {
        'auto_resume': True,
        'path': {'training_states': str(tmp_path), 'models': 'models'},
        'network_g': {},
        'name': 'x',
    }
    state = train.load_resume_state(opt)
    assert state['iter'] == 16
    assert opt['path']['pretrain_network_g'] == os.path.join('models', 'net_g_16.pth')
    if not torch.cuda.is_available():
        opt = {'auto_resume': False, 'path': {'resume_state': str(tmp_path / '8.state'), 'models': 'models'}}
        with pytest.raises((AssertionError, RuntimeError), match='(?i)cuda|nvidia'):
            train.load_resume_state.__wrapped__(opt)


@pytest.mark.skipif(torch.cuda.is_available(), reason='with a GPU BasicSR takes NCCL')
def test_basicsrs_launcher_works_without_cuda(monkeypatch, tmp_path):
    from basicsr.models.base_model import BaseModel
    from basicsr.utils import dist_util

    monkeypatch.setenv('RANK', '0')
    model = BaseModel({'num_gpu': 0, 'is_train': True, 'dist': True})
    with pytest.raises(ZeroDivisionError):
        dist_util._init_dist_pytorch.__wrapped__('nccl')

    dist_util._init_dist_pytorch('nccl', init_method=f'file://{tmp_path}/meeting', rank=0, world_size=1)
    try:
        with pytest.raises((AssertionError, RuntimeError), match='(?i)cuda|nvidia'):
            BaseModel.model_to_device.__wrapped__(model, nn.Linear(2, 1))
        net = model.model_to_device(nn.Linear(2, 1))
        net(torch.ones(1, 2)).sum().backward()
        assert dist_util.get_dist_info() == (0, 1)
        assert isinstance(net, nn.parallel.DistributedDataParallel)
    finally:
        torch.distributed.destroy_process_group()


ARCHS = [
    {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 8},
    {'type': 'RCAN', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 16, 'num_group': 1, 'num_block': 1, 'upscale': 8},
    {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 4},
    {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'num_grow_ch': 2, 'scale': 4},
    {'type': 'SRVGGNetCompact', 'num_feat': 4, 'num_conv': 1, 'upscale': 8},
    {
        'type': 'SwinIR', 'img_size': 8, 'window_size': 8, 'depths': [1], 'embed_dim': 6, 'num_heads': [2],
        'upscale': 4, 'upsampler': 'pixelshuffle',
    },
]  # fmt: skip


@pytest.mark.parametrize('block', ARCHS, ids=lambda block: block['type'])
def test_basicsrs_networks_train_on_this_stack(block):
    net = registry.build('archs', block)
    scale = block.get('upscale') or block.get('scale')
    sr = net(torch.rand(2, 3, 8, 8))
    assert sr.shape == (2, 3, 8 * scale, 8 * scale)
    sr.square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_basicsrs_discriminators_work_on_this_stack():
    patches = registry.build('archs', {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4})
    assert patches(torch.rand(2, 3, 16, 16)).shape == (2, 1, 16, 16)
    scores = registry.build(
        'archs', {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4, 'input_size': 128}
    )
    assert scores(torch.rand(2, 3, 128, 128)).shape == (2, 1)


def test_basicsrs_metrics_work_on_this_stack():
    from basicsr.metrics import calculate_metric

    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (192, 192, 3), dtype=np.uint8)
    other = (image.astype(int) ^ 1).astype(np.uint8)
    pair = {'img': image, 'img2': other}
    # Every value differs by exactly one.
    assert calculate_metric(pair, {'type': 'calculate_psnr', 'crop_border': 0}) == pytest.approx(20 * np.log10(255))
    assert calculate_metric(pair, {'type': 'calculate_ssim', 'crop_border': 0}) == pytest.approx(1, abs=1e-3)
    assert np.isfinite(calculate_metric({'img': image}, {'type': 'calculate_niqe', 'crop_border': 0}))


@pytest.mark.long
def test_swinir_is_built_without_a_warning_of_torch():
    build = """
        from fsr_plugins.registry import build
        {}
        build('archs', {{'type': 'SwinIR', 'img_size': 8, 'window_size': 8, 'depths': [1], 'embed_dim': 6,
                        'num_heads': [1]}})
    """
    command = [sys.executable, '-c']
    said = [
        subprocess.run([*command, textwrap.dedent(build.format(extra))], capture_output=True, text=True, timeout=120)
        for extra in ('from fsr_plugins import compat; import warnings; warnings.resetwarnings()', '')
    ]
    assert [result.returncode for result in said] == [0, 0], said
    assert ['meshgrid' in result.stderr for result in said] == [True, False], said


def test_nothing_is_imported_before_it_is_used():
    code = "import sys, json, fsr_plugins; print(json.dumps([fsr_plugins.__version__, 'torch' in sys.modules]))"
    version, torch_loaded = json.loads(run(code).stdout)
    assert version
    assert not torch_loaded


def test_mends_are_applied_once():
    from basicsr.archs.rrdbnet_arch import RRDBNet

    before = RRDBNet.__init__
    compat.apply()
    assert RRDBNet.__init__ is before

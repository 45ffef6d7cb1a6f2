"""What a command does not need it does not import; marks for the compiler are torch's own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
import yaml

from fsr_plugins import compiling
from fsr_plugins.compiling import constant_when_compiled, never_compiled

#: What takes a second or more to import, by what nobody needs it for.
SLOW = ('basicsr', 'torchvision', 'torch._dynamo', 'scipy')


def imported(*arguments: str, of: tuple[str, ...] = (*SLOW, 'torch'), folder: Path | None = None) -> list[str]:
    """Those packages that a command, run in ``folder``, has imported when it ends."""
    code = (
        'import sys\nfrom fsr_plugins.cli import main\n'
        f'try:\n    main({list(arguments)})\n'
        f'finally:\n    print([name for name in {of} if name in sys.modules], file=sys.stderr)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120, cwd=folder)
    found: list[str] = ast.literal_eval(done.stderr.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize('kind', ['metrics', 'degradations'])
def test_a_list_imports_no_more_than_torch(kind: str) -> None:
    assert imported('list', kind, of=(*SLOW, 'cv2', 'pydantic', 'torch')) == ['torch']


@pytest.mark.parametrize(
    'arguments', [('--help',), ('prepare', '--help'), ('prepare', 'lfw', '--help'), ('infer', '--help')]
)
def test_help_does_not_import_torch(arguments: tuple[str, ...]) -> None:
    assert imported(*arguments) == []


@pytest.mark.parametrize('kind', ['metrics', 'degradations'])
def test_a_short_list_has_all_that_a_long_one_has(kind: str) -> None:
    code = (
        'from fsr_plugins.registry import REGISTRIES, load_plugins, load_plugins_of\n'
        f'load_plugins_of({kind!r})\n'
        f"ours = lambda: sorted(n for n, t in REGISTRIES[{kind!r}] if not t.__module__.startswith('basicsr'))\n"
        'few = ours()\nload_plugins()\nprint(bool(few) and few == ours())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == 'True', done.stderr


def test_the_mark_for_the_compiler_is_torchs() -> None:
    def ours() -> None: ...

    def theirs() -> None: ...

    constant_when_compiled(ours)
    torch.compiler.assume_constant_result(theirs)
    assert vars(ours) == vars(theirs) != {}


def test_checking_an_option_file_imports_nothing_for_functions_that_are_not_called() -> None:
    slow = ('torch._dynamo', 'scipy', 'setuptools', 'torchvision', 'yapf')
    assert imported('options', '-opt', 'options/tsnet.yml', of=(*slow, 'basicsr')) == ['basicsr']


def test_what_basicsr_asks_of_scipy_and_of_versions_is_answered() -> None:
    code = (
        'import sys\nimport fsr_plugins\nfrom basicsr.data import degradations\nfrom basicsr.archs import arch_util\n'
        "print('scipy.stats' in sys.modules)\n"
        'print(float(degradations.multivariate_normal([0, 0], [[1, 0], [0, 1]]).cdf([0, 0])))\n'
        "print(arch_util.LooseVersion('0.10.0') >= arch_util.LooseVersion('0.9.0'))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    imported_at_once, quarter, newer = done.stdout.split() or [done.stderr] * 3
    assert (imported_at_once, newer) == ('False', 'True'), done.stderr
    assert float(quarter) == pytest.approx(0.25, abs=1e-4)


def test_torchvisions_own_question_to_the_compiler_is_answered() -> None:
    code = (
        'import sys\nimport fsr_plugins\nimport torchvision\n'
        "print('torch._dynamo.utils' in sys.modules)\n"
        "print(sys.modules['torchvision.ops.roi_align'].is_compile_supported('cpu'))\n"
        'from torch._dynamo.utils import counters, is_compile_supported\nprint(is_compile_supported("cpu"))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    before, ours, theirs = done.stdout.split() or [done.stderr] * 3
    assert before == 'False', done.stderr
    assert ours == theirs


def test_what_is_never_compiled_breaks_the_graph() -> None:
    @never_compiled
    def doubled(x: torch.Tensor) -> torch.Tensor:
        assert not torch.compiler.is_compiling()
        return 2 * x

    def step(x: torch.Tensor) -> torch.Tensor:
        return doubled(x + 1) - 1

    x = torch.arange(3.0)
    assert torch.equal(torch.compile(step, backend='eager')(x), torch.tensor([1.0, 3.0, 5.0]))
    assert torch._dynamo.explain(step)(x).graph_break_count == 1


def test_an_option_file_brings_its_own_method_alone() -> None:
    methods = tuple(f'fsr_plugins.methods.{name}' for name in ('tsnet', 'pkdn', 'isrkd', 'dapfsr', 'cface'))
    assert imported('options', '-opt', 'options/pkdn.yml', of=methods) == ['fsr_plugins.methods.pkdn']


def test_a_name_of_a_method_is_found_and_another_is_answered_by_the_nearest() -> None:
    code = (
        'import sys\nfrom fsr_plugins.registry import lookup\n'
        "print(lookup('models', 'PKDNStudentModel').__module__, 'fsr_plugins.methods.tsnet' in sys.modules)\n"
        "try:\n    lookup('models', 'TSNetJointModle')\nexcept Exception as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    found, said = done.stdout.splitlines()
    assert found == 'fsr_plugins.methods.pkdn.models False'
    assert 'TSNetJointModel' in said


def test_a_training_imports_no_compiler(tmp_path: Path) -> None:
    images = tmp_path / 'faces'
    images.mkdir()
    for number in range(4):
        cv2.imwrite(str(images / f'{number}.png'), np.full((32, 32, 3), 40 * number, np.uint8))
    data = {'name': 'faces', 'dataroot_gt': str(images), 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0}
    network = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 4}
    options = {
        'name': 'light', 'model_type': 'SupervisedModel', 'scale': 4, 'num_gpu': 0, 'manual_seed': 0,
        'degradation': {'type': 'BicubicDown', 'scale': 4}, 'network_g': network, 'path': {},
        'datasets': {'train': {**data, 'type': 'FaceDataset'}, 'val': {**data, 'type': 'FaceDataset', 'phase': 'val'}},
        'train': {'total_iter': 2, 'optim': {'type': 'Adam', 'lr': 1e-4}, 'pixel_opt': {'type': 'L1Loss'}},
        'val': {'val_freq': 1, 'metrics': {'psnr': {'type': 'PSNR'}}}, 'logger': {'use_tb_logger': False},
    }  # fmt: skip
    (tmp_path / 'light.yml').write_text(yaml.safe_dump(options))
    compiler = ('torch._dynamo', 'torch._inductor', 'sympy')

    loaded = imported('train', '-opt', str(tmp_path / 'light.yml'), of=(*compiler, 'torch'), folder=tmp_path)

    assert loaded == ['torch']
    assert len(list((tmp_path / 'experiments/light').rglob('summary.json'))) == 1


def test_an_optimiser_without_the_compiler_steps_as_torchs_own_and_can_still_be_compiled() -> None:
    code = (
        'import sys\nimport torch\nfrom fsr_plugins.models.optim import build_optimizer\n'
        'def trained(make, compiled=False):\n'
        '    weight = torch.nn.Parameter(torch.arange(6.0))\n'
        '    optimizer = make([weight])\n'
        '    step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step\n'
        '    for _ in range(3):\n'
        '        optimizer.zero_grad()\n        (weight ** 3).sum().backward()\n        step()\n'
        '    optimizer.load_state_dict(optimizer.state_dict())\n'
        '    return weight\n'
        "kinds = ('Adam', 'AdamW', 'SGD')\n"
        "ours = lambda kind: lambda w: build_optimizer({'type': kind, 'lr': 0.1, 'fused': False}, w)\n"
        'theirs = lambda kind: lambda w: getattr(torch.optim, kind)(w, lr=0.1, foreach=False, fused=False)\n'
        'light = [trained(ours(kind)) for kind in kinds]\n'
        "print('torch._dynamo' in sys.modules)\n"
        'import torch._dynamo\n'
        'for kind, first in zip(kinds, light):\n'
        '    others = (first, trained(ours(kind)), trained(ours(kind), compiled=True))\n'
        '    print(*(torch.allclose(trained(theirs(kind)), other, rtol=1e-5) for other in others))\n'
        'print(light[0].requires_grad, torch.is_grad_enabled())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ['False', *['True'] * 11], done.stderr


def test_another_torch_without_these_decorators_is_left_as_it_is() -> None:
    marked = torch._disable_dynamo(print)
    assert compiling._is_made_by(torch, '_disable_dynamo', marked)
    assert not compiling._is_made_by(torch, '_disable_dynamo', print)
    assert not compiling._is_made_by(ModuleType('other_torch'), '_disable_dynamo', marked)


def test_bundled_networks_are_opened_without_the_compiler() -> None:
    code = (
        'import sys\nimport fsr_plugins\nfrom fsr_plugins.checkpoints.bundled import FOLDER\n'
        "names = [path.stem for path in FOLDER.glob('*.pth')]\n"
        'for name in names:\n    fsr_plugins.load(name)\n'
        "print(len(names), 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    count, compiler = done.stdout.split() or [done.stderr] * 2
    assert int(count) >= 5 and compiler == 'False', done.stderr

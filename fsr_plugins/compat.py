"""The only place that mends BasicSR 1.4.2 for today's stack; imported before anything of BasicSR is.

Every mend says what broke and until when it is needed; ``tests/test_compat.py`` shows each breakage. What BasicSR's
own training loop does silently wrong is not mended here but not inherited: ``tests/test_not_inherited.py``.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from fsr_plugins import without_cuda
from fsr_plugins.lmdb_env import environment
from fsr_plugins.mending import FUNCTIONAL_TENSOR, registry_module, wrap_init

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

#: Options of BasicSR, and arguments by their names.
Options = dict[str, Any]


def _explain_missing_libraries() -> None:
    """Says what to install when OpenCV's wheel does not find the system libraries it links.

    ``opencv-python`` links libGL, which bare machines and containers lack; ``opencv-python-headless`` is no way out, as
    BasicSR, mmengine and facexlib require ``opencv-python`` and the two own the same folder. Needed as long as they do.
    """
    try:
        importlib.import_module('cv2')
    except ImportError as error:
        if 'cannot open shared object file' not in str(error):
            raise
        raise ImportError(
            f'OpenCV cannot be imported: {error}. Install the system library that holds it '
            '(Debian, Ubuntu: apt-get install libgl1 libglib2.0-0; Fedora: dnf install mesa-libGL glib2).'
        ) from error


def _restore_functional_tensor() -> None:
    """Restores ``torchvision.transforms.functional_tensor`` (removed in torchvision 0.17), of which BasicSR imports
    ``rgb_to_grayscale``. Needed as long as BasicSR is 1.4.2."""
    if FUNCTIONAL_TENSOR in sys.modules:
        return

    def rgb_to_grayscale(img: Tensor, num_output_channels: int = 1) -> Tensor:
        from torchvision.transforms import functional

        grey: Tensor = functional.rgb_to_grayscale(img, num_output_channels)
        return grey

    module = types.ModuleType(FUNCTIONAL_TENSOR)
    module.__dict__['rgb_to_grayscale'] = rgb_to_grayscale
    sys.modules[FUNCTIONAL_TENSOR] = module


def _complete_registries() -> None:
    """The module of registries may have been loaded before the package that it is of."""
    import basicsr.utils

    basicsr.utils.registry = registry_module()


def _give_perceptual_loss_its_l2() -> None:
    """``PerceptualLoss(criterion='l2')`` calls ``torch.nn.L2loss``, which never existed. Needed with BasicSR 1.4.2."""
    from basicsr.losses.basic_loss import PerceptualLoss
    from torch import nn

    def build_with_l1(arguments: Options) -> None:
        if arguments['criterion'] == 'l2':
            arguments['criterion'] = 'l1'

    def exchange(loss: PerceptualLoss, arguments: Options) -> None:
        if arguments['criterion'] == 'l2':
            loss.criterion_type, loss.criterion = 'l2', nn.MSELoss()

    wrap_init(PerceptualLoss, build_with_l1, exchange)


def _refuse_rrdbnet_scales() -> None:
    """``RRDBNet`` builds with any scale but enlarges by 4 for all it does not know. Needed with BasicSR 1.4.2."""
    from basicsr.archs.rrdbnet_arch import RRDBNet

    def check(arguments: Options) -> None:
        if arguments['scale'] not in (1, 2, 4):
            raise ValueError(f'RRDBNet enlarges by 1, 2 or 4, not by {arguments["scale"]}')

    wrap_init(RRDBNet, check)


def _give_discriminators_any_layout() -> None:
    """``VGGStyleDiscriminator`` and ``StyleGAN2Discriminator`` flatten their last maps by ``view``, which channels-last
    maps do not allow. Needed with BasicSR 1.4.2."""
    from basicsr.archs.discriminator_arch import VGGStyleDiscriminator
    from basicsr.archs.stylegan2_arch import StyleGAN2Discriminator

    def plain(_module: nn.Module, _inputs: object, maps: Tensor) -> Tensor:
        return maps.contiguous()

    def lay_out_vgg(net: VGGStyleDiscriminator, arguments: Options) -> None:
        last = net.bn5_1 if arguments['input_size'] == 256 else net.bn4_1
        last.register_forward_hook(plain)

    def lay_out_stylegan2(net: StyleGAN2Discriminator, _arguments: Options) -> None:
        net.final_conv.register_forward_hook(plain)

    wrap_init(VGGStyleDiscriminator, after=lay_out_vgg)
    wrap_init(StyleGAN2Discriminator, after=lay_out_stylegan2)


def _round_jpeg_quality() -> None:
    """``random_add_jpg_compression`` hands OpenCV a float quality, which it refuses since 4.5.4. Needed with BasicSR
    1.4.2."""
    from basicsr.data import degradations

    compress = degradations.add_jpg_compression

    @functools.wraps(compress)
    def add_jpg_compression(img: npt.NDArray[np.uint8], quality: float = 90) -> npt.NDArray[np.uint8]:
        return compress(img, round(float(quality)))

    degradations.add_jpg_compression = add_jpg_compression


def _resume_without_cuda() -> None:
    """BasicSR's ``train_pipeline`` moves a resumed state to the current CUDA device, there or not; ``--auto_resume``
    looks in ``experiments/`` of the working directory whatever the root is. Needed as long as BasicSR is 1.4.2."""
    import basicsr.train as train
    import torch

    @functools.wraps(train.load_resume_state)
    def load_resume_state(opt: Options) -> Options | None:
        path = opt['path'].get('resume_state')
        if opt['auto_resume']:
            states = Path(opt['path']['training_states']).glob('*.state')
            path = max(map(str, states), key=lambda state: int(Path(state).stem), default=None)
            opt['path']['resume_state'] = path
        if path is None:
            return None
        state: Options = torch.load(path, map_location='cpu', weights_only=True)
        train.check_resume(opt, state['iter'])
        return state

    train.load_resume_state = load_resume_state


def _distribute_without_cuda() -> None:
    """``--launcher pytorch`` divides by the number of GPUs and hands DDP a CUDA device. Needed with BasicSR 1.4.2."""
    import torch
    from basicsr.models.base_model import BaseModel
    from basicsr.utils import dist_util
    from torch.nn.parallel import DistributedDataParallel

    init_on_gpu, to_gpu = dist_util._init_dist_pytorch, BaseModel.model_to_device

    @functools.wraps(init_on_gpu)
    def init_dist_pytorch(backend: str, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            init_on_gpu(backend, **kwargs)
        else:
            torch.distributed.init_process_group(backend='gloo', **kwargs)

    @functools.wraps(to_gpu)
    def model_to_device(self: BaseModel, net: nn.Module) -> nn.Module:
        if self.opt['dist'] and self.device.type == 'cpu':
            unused = self.opt.get('find_unused_parameters', False)
            return DistributedDataParallel(net.to(self.device), find_unused_parameters=unused)
        return to_gpu(self, net)

    dist_util._init_dist_pytorch = init_dist_pytorch
    BaseModel.model_to_device = model_to_device


def _give_ops_without_extensions() -> None:
    """``fused_act``, ``upfirdn2d`` and ``deform_conv`` need extensions in CUDA; where these were not built, they call
    names that do not exist. PyTorch and torchvision do what no extension is there for. Needed with BasicSR 1.4.2."""
    importlib.import_module('basicsr.archs.arch_util')
    fused, fir, deform = (
        sys.modules[f'basicsr.ops.{name}'] for name in ('fused_act.fused_act', 'upfirdn2d.upfirdn2d', 'dcn.deform_conv')
    )
    # Where each is called, by its autograd function's name: the module of its extension, and what does it instead.
    fused.__dict__['FusedLeakyReLUFunction'] = without_cuda.either(
        fused, 'fused_act_ext', fused.FusedLeakyReLUFunction, without_cuda.fused_leaky_relu
    )
    fir.__dict__['UpFirDn2d'] = without_cuda.either(
        fir, 'upfirdn2d_ext', fir.UpFirDn2d,
        lambda input, kernel, up, down, pad: fir.upfirdn2d_native(input, kernel, *up, *down, *pad),
    )  # fmt: skip
    plain = without_cuda.either(
        deform, 'deform_conv_ext', deform.DeformConvFunction,
        lambda input, offset, weight, *where: without_cuda.torchvisions_deform_conv2d(
            input, offset, weight, None, *where[:3]
        ),
    )  # fmt: skip
    modulated = without_cuda.either(
        deform, 'deform_conv_ext', deform.ModulatedDeformConvFunction,
        lambda input, offset, mask, weight, bias, *where: without_cuda.torchvisions_deform_conv2d(
            input, offset, weight, bias, *where[:3], mask=mask
        ),
    )  # fmt: skip
    # They are imported by value.
    for module in (deform, sys.modules['basicsr.ops.dcn'], sys.modules['basicsr.archs.arch_util']):
        module.__dict__['modulated_deform_conv'] = modulated.apply
        if isinstance(getattr(module, 'deform_conv', None), types.ModuleType | None):
            continue
        module.__dict__['deform_conv'] = plain.apply


def _lay_out_compressed_images() -> None:
    """``DiffJPEG`` leaves images with their channels last, today's torch keeps them so, and ``filter2D``, which comes
    next in Real-ESRGAN's models, views them as if they were not. Needed with BasicSR 1.4.2."""
    from basicsr.utils.diffjpeg import DiffJPEG

    forward = DiffJPEG.forward

    @functools.wraps(forward)
    def contiguous(self: DiffJPEG, x: Tensor, quality: Any) -> Tensor:
        return forward(self, x, quality).contiguous()

    DiffJPEG.forward = contiguous


def _give_adam_floats() -> None:
    """GFPGAN's model asks for ``betas`` of (0, 0.99), and today's torch takes two floats or none. Needed as long as
    torch does."""
    from basicsr.models.base_model import BaseModel

    build = BaseModel.get_optimizer

    @functools.wraps(build)
    def get_optimizer(self: BaseModel, optim_type: str, params: Any, lr: float, **kwargs: Any) -> Any:
        if 'betas' in kwargs:
            kwargs['betas'] = tuple(map(float, kwargs['betas']))
        return build(self, optim_type, params, lr, **kwargs)

    BaseModel.get_optimizer = get_optimizer


def _silence_meshgrid() -> None:
    """SwinIR's ``torch.meshgrid`` names no ``indexing``, of which torch warns. Needed with BasicSR 1.4.2."""
    warnings.filterwarnings('ignore', 'torch.meshgrid', UserWarning)


def _share_lmdbs() -> None:
    """``LmdbBackend`` opens an environment for each set, and py-lmdb 2 and later refuse to open one twice in a process,
    or in a child of one that has it open. All share those of :mod:`fsr_plugins.lmdb_env`. Needed with BasicSR 1.4.2."""
    from basicsr.utils.file_client import LmdbBackend

    build = LmdbBackend.__init__

    def shared(path: object, **settings: object) -> object:
        return environment(Path(str(path)), 'make it again')

    @functools.wraps(build)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        # It is imported in there.
        with patch.dict(sys.modules, {'lmdb': types.SimpleNamespace(open=shared)}):
            build(self, *args, **kwargs)

    LmdbBackend.__init__ = init


MENDS: tuple[Callable[[], None], ...] = (
    _explain_missing_libraries,
    _restore_functional_tensor,
    _complete_registries,
    _give_perceptual_loss_its_l2,
    _refuse_rrdbnet_scales,
    _give_discriminators_any_layout,
    _round_jpeg_quality,
    _resume_without_cuda,
    _distribute_without_cuda,
    _give_ops_without_extensions,
    _lay_out_compressed_images,
    _give_adam_floats,
    _silence_meshgrid,
    _share_lmdbs,
)


@functools.cache
def apply() -> None:
    """Applies every mend, in the order they need each other; calling it again does nothing."""
    for mend in MENDS:
        mend()


apply()

"""``fsr export``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.checkpoint import add_checkpoint, add_lr_size_and_weights
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins

EXAMPLE = """fsr export -c experiments/tsnet/joint/models/net_s_latest.pth -o net_s.onnx
         fsr export -c net_g.pth -o net_g.pt2 --size 24 24"""


def add_arguments(parser: ArgumentParser) -> None:
    """A checkpoint and a file for the result."""
    add_checkpoint(parser)
    parser.add_argument(
        '-o', '--output', type=given_path, required=True, metavar='FILE',
        help="*.onnx, or *.pt2 for PyTorch's torch.export.load",
    )  # fmt: skip
    add_lr_size_and_weights(parser)
    add_plugins(parser)
    parser.add_argument('--overwrite', action='store_true', help='replace the output if it exists')


def run(arguments: Namespace) -> CommandOutcome:
    """Exports, and says what the file takes and gives."""
    from fsr_plugins.engine import logs
    from fsr_plugins.restore.exporting import ExportRequest, export

    logs.set_up(True)
    found = export(
        ExportRequest(
            arguments.checkpoint,
            arguments.output,
            size=tuple(arguments.size) if arguments.size else None,
            param_key=arguments.param_key,
            overwrite=arguments.overwrite,
        )
    )
    shapes = (f'{name} {"×".join(map(str, found[name]))}' for name in ('lq', 'sr'))
    print(
        f'{found["file"]}: {" to ".join(shapes)}, RGB in [0, 1], {found["bytes"] / 2**20:.1f} MiB; '
        f"differs from the network's images by at most {found['largest']:.1g}"
    )
    return CommandOutcome(found)

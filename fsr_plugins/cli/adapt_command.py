"""``fsr adapt``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.checkpoint import add_checkpoint
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins
from fsr_plugins.errors import UserError
from fsr_plugins.wording import many

EXAMPLE = """fsr adapt -c experiments/dapfsr/encoder/models/net_sr_latest.pth --exemplar face.png -o adapted.pth
         fsr adapt -c net_sr.pth --exemplar a.png b.png -o adapted.pth -opt options/dapfsr.yml --seed 1"""


def add_arguments(parser: ArgumentParser) -> None:
    """A checkpoint, exemplars and a place for the result."""
    add_checkpoint(parser)
    add_plugins(parser)
    parser.add_argument(
        '--exemplar', type=given_path, required=True, nargs='+', metavar='IMAGE', help='faces of the new domain, in HR'
    )
    parser.add_argument(
        '-o', '--output', type=given_path, required=True, metavar='FILE',
        help='the adapted network, *.pth; a preview, *.png, gets the same name',
    )  # fmt: skip
    parser.add_argument(
        '-opt', '--opt', type=given_path, metavar='FILE',
        help="take 'train' from a stage of this option file; default: the model's own settings",
    )  # fmt: skip
    parser.add_argument('--stage', metavar='NAME', help='with -opt, the stage of that file; default: adapt')
    parser.add_argument(
        '--set', action='append', default=[], metavar='KEY=VALUE', dest='overrides',
        help='change a setting, e.g. train.total_iter=100; may be repeated',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, metavar='N', help='the same seed gives the same file; default: 0')
    parser.add_argument('--overwrite', action='store_true', help='replace the output if it exists')


def run(arguments: Namespace) -> CommandOutcome:
    """Adapts and says what was written."""
    if arguments.stage is not None and arguments.opt is None:
        raise UserError('--stage is of an option file: name the file by -opt.')
    from fsr_plugins.adaptation.adapt import Request, adapt

    found = adapt(
        Request(
            arguments.checkpoint,
            arguments.exemplar,
            arguments.output,
            option_file=arguments.opt,
            stage=arguments.stage or 'adapt',
            overrides=arguments.overrides,
            seed=arguments.seed,
            overwrite=arguments.overwrite,
        )
    )
    preview = f', preview {found["preview"]}' if found['preview'] else ''
    print(f'{found["checkpoint"]}: {many(found["iterations"], "iteration")} in {found["seconds"]} s{preview}')
    return CommandOutcome(found)

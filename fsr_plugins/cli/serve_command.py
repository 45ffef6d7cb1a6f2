"""``fsr serve``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins
from fsr_plugins.cli.streams import say
from fsr_plugins.errors import Interrupted

EXAMPLE = """fsr serve
         fsr serve -c face_x4_blind experiments/tsnet/joint/models/net_s_latest.pth --port 8000"""


def add_arguments(parser: ArgumentParser) -> None:
    """Networks, and where the page is."""
    parser.add_argument(
        '-c', '--checkpoint', type=given_path, nargs='+', action='extend', default=[], metavar='NET',
        help='networks to choose from, files or names of bundled ones; default: all bundled, face_x4_blind first',
    )  # fmt: skip
    parser.add_argument(
        '--host', default='127.0.0.1', metavar='NAME',
        help='the address to listen at; default: 127.0.0.1, this machine alone',
    )  # fmt: skip
    parser.add_argument('--port', type=int, default=7860, metavar='N', help='default: 7860; 0: any free one')
    parser.add_argument('--device', default='auto', metavar='NAME', help='auto (default), cpu, cuda, cuda:1 …')
    parser.add_argument('--detector', metavar='NAME', help='as in `fsr infer`')
    parser.add_argument('--detector-weights', type=given_path, metavar='FILE', help='as in `fsr infer`')
    add_plugins(parser)


def run(arguments: Namespace) -> CommandOutcome:
    """Serves until a signal ends it."""
    from fsr_plugins.engine import logs
    from fsr_plugins.restore.page import PageRequest, serve
    from fsr_plugins.restore.restorers import Photographs

    logs.set_up(True)
    request = PageRequest(
        arguments.checkpoint,
        arguments.host,
        arguments.port,
        arguments.device,
        Photographs(detector=arguments.detector, weights=arguments.detector_weights),
    )
    try:
        serve(request)
    except Interrupted as end:  # the usual end
        say(f'fsr: {end}')
        return CommandOutcome({}, end.status)
    return CommandOutcome()

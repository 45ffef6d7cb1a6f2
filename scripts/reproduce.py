"""Does the trainings of ``reproduce.yml``, the most valuable first; call it again to go on.

    python scripts/reproduce.py --minutes 9 --root /data/fsr --out results
    python scripts/reproduce.py --minutes 9 --claims pkdn cface
    python scripts/reproduce.py --list

A training that does not end in ``--minutes`` is asked to stop, saves its state, and goes on with the next call. Of one
that ends, ``--out`` gets the network in half precision (``NAME.pth``, 16 MiB at most) and ``NAME.json``: its summary,
the minutes it took and the device. ``--root`` is the folder of ``datasets/lfw``, ``weights`` and ``experiments``; the
first lines of the option files say how the sets are prepared. Status 1: a training failed, the others were done.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from benchmark.process import unwinding_when_ended
from bundle_weights import small
from messages import says_what_is_wrong

from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import load_state, write_weights
from fsr_plugins.config import experiment
from fsr_plugins.config.yamlfile import read
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / 'scripts/reproduce.yml'
#: The most that a result may have, and seconds kept for a training to save its state.
LARGEST, GRACE = 16 << 20, 40.0


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        name: of the training, and of its files in OUT.
        opt: its option file.
        result: stage and network that are taken along.
        claim: the paper's method whose claim it serves; empty: a control.
        needs: the training whose result it begins with; empty: none.
    """

    name: str
    opt: Path
    result: str
    claim: str = ''
    needs: str = ''


def read_runs(file: Path) -> list[Run]:
    """The trainings of a list, in its order.

    Raises:
        UserError: the file is no list, a key is unknown or missing, a result is not ``STAGE/NET``, or ``needs`` names
            a training that does not come before.
    """
    listed = read(file).values.get('runs')
    if not isinstance(listed, dict) or not listed:
        raise UserError(f"{file}: 'runs' has to name the trainings.")
    runs: list[Run] = []
    for name, block in listed.items():
        known = isinstance(block, dict) and set(block) <= {'opt', 'result', 'claim', 'needs'}
        if not known or not {'opt', 'result'} <= set(block):
            raise UserError(f"{file}: '{name}' needs opt and result, and may have claim and needs, nothing else.")
        if not all(isinstance(value, str) for value in block.values()) or block['result'].count('/') != 1:
            raise UserError(
                f"{file}: '{name}' has to say its result as STAGE/NET, like train/net_g, and the rest as text."
            )
        run = Run(name, file.parent / block['opt'], block['result'], block.get('claim', ''), block.get('needs', ''))
        if run.needs and run.needs not in {before.name for before in runs}:
            raise UserError(f"{file}: '{name}' needs '{run.needs}', which does not come before it.")
        runs.append(run)
    return runs


def chosen(runs: Sequence[Run], claims: Sequence[str]) -> list[Run]:
    """Those that serve the claims, and what they need; all without claims.

    Raises:
        UserError: no training serves a claim.
    """
    unknown = set(claims) - {run.claim for run in runs}
    if unknown:
        known = sorted({run.claim for run in runs if run.claim})
        raise UserError(f'No training serves {", ".join(sorted(unknown))}; there are {", ".join(known)}.')
    wanted = {run.name for run in runs if not claims or run.claim in claims}
    for run in reversed(runs):
        if run.name in wanted and run.needs:
            wanted.add(run.needs)
    return [run for run in runs if run.name in wanted]


def train(run: Run, root: Path, seconds: float, overrides: Sequence[str]) -> int:
    """``fsr train`` for so many seconds, then asked to stop.

    Returns:
        Its exit status: 0 is done.
    """
    command = [sys.executable, '-m', 'fsr_plugins', 'train', '-opt', str(run.opt.resolve())]
    for override in overrides:
        command += ['--set', override]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    process = subprocess.Popen(command, cwd=root, env={**os.environ, 'PYTHONPATH': paths})
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return stopped(process)
    except BaseException:  # this call itself is ended, and leaves no training behind
        stopped(process)
        raise


def stopped(process: subprocess.Popen[bytes]) -> int:
    """The exit status of a training that is asked to save and stop; one that does not is killed."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def planned(run: Run, root: Path, overrides: Sequence[str]) -> Path:
    """The folder of a training, whose options and result are looked at before anything is trained.

    Raises:
        UserError: the options are wrong, no such network is a result, or it has over 16 MiB in half precision.
    """
    found = experiment.load(run.opt, overrides, root=root)
    name, net = run.result.split('/')
    stage = found.stages.get(name)
    blocks = {} if stage is None else stage.model.composite_blocks(stage.opt)
    if stage is not None and net in stage.networks:
        blocks[net] = stage.networks[net].block
    block = blocks.get(net)
    if block is None:
        raise UserError(f"{run.opt}: there is no '{run.result}', the result of '{run.name}'.")
    with torch.device('meta'):
        size = 2 * sum(tensor.numel() for tensor in build_network(block).state_dict().values())
    if size > LARGEST:
        raise UserError(f"{run.opt}: '{net}' has {size >> 20} MiB in half precision, over {LARGEST >> 20}.")
    return found.folder


def take_along(run: Run, folder: Path, out: Path, minutes: float) -> str:
    """Writes the result of a finished training into OUT.

    Args:
        folder: the experiment's.

    Returns:
        What to say of it.
    """
    stage, net = run.result.split('/')
    weights = small(load_state(folder / stage / 'models' / f'{net}_latest.pth'))
    said = {
        'training': run.name,
        'minutes': round(minutes, 3),
        'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
        'summary': json.loads((folder / 'summary.json').read_text(encoding='utf-8')),
    }
    write_text(out / f'{run.name}.json', json.dumps(said, indent=1) + '\n')
    # Last, for a training whose network lies there is done.
    write_weights(out / f'{run.name}.pth', weights)
    return f'{run.name}: done in {minutes:.1f} min, {out / run.name}.pth'


class Clock:
    """Minutes of each training over all calls, kept in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.minutes: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}

    def add(self, name: str, seconds: float) -> float:
        """Adds to a training's time, and gives all of it in minutes."""
        self.minutes[name] = self.minutes.get(name, 0.0) + seconds / 60
        write_text(self.file, json.dumps(self.minutes))
        return self.minutes[name]


def work(runs: Sequence[Run], arguments: argparse.Namespace) -> list[str]:
    """Trains until the time is over. One that fails keeps none of the others from being done, but those that need it.

    Returns:
        the names of those that failed, and of those that need them.

    Raises:
        UserError: options of a training are wrong, or the time is too short for any; nothing has been trained.
    """
    least = 2 * GRACE / 60
    if not arguments.minutes > least:
        raise UserError(f'--minutes {arguments.minutes:g}: take more than {least:.1f}, of which a part is for saving.')
    deadline = time.monotonic() + 60 * arguments.minutes - GRACE
    out: Path = arguments.out
    folders = {run.name: planned(run, arguments.root, arguments.set) for run in runs}
    out.mkdir(parents=True, exist_ok=True)
    clock = Clock(out / 'minutes.json')
    failed: list[str] = []
    for run in runs:
        if is_done(run, out):
            continue
        if run.needs in failed:
            print(f"{run.name}: not trained, for it needs '{run.needs}', which failed", flush=True)
            failed.append(run.name)
            continue
        begun = time.monotonic()
        if deadline - begun < GRACE:
            break
        status = train(run, arguments.root, deadline - begun, arguments.set)
        minutes = clock.add(run.name, time.monotonic() - begun)
        if status == 0:
            print(take_along(run, folders[run.name], out, minutes), flush=True)
        elif time.monotonic() >= deadline:
            print(f'{run.name}: {minutes:.1f} min so far; the same call goes on', flush=True)
            break
        else:
            print(f'{run.name}: ended with status {status}; what it says is above', flush=True)
            failed.append(run.name)
    return failed


def is_done(run: Run, out: Path) -> bool:
    """Whether a training's result lies in OUT."""
    return (out / f'{run.name}.pth').is_file()


@says_what_is_wrong
def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=9.0, help='that this call may take (default: 9)')
    parser.add_argument('--claims', nargs='+', default=[], metavar='METHOD', help='only what these claims need')
    parser.add_argument('--root', type=Path, default=Path('.'), help='folder of datasets, weights and experiments')
    parser.add_argument('--out', type=Path, default=Path('reproduced'), help='where the results go')
    parser.add_argument('--runs', type=Path, default=RUNS, help='the list of trainings')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', help='an option, in every training')
    parser.add_argument('--list', action='store_true', help='show the trainings and end')
    arguments = parser.parse_args()
    runs = chosen(read_runs(arguments.runs), arguments.claims)
    if arguments.list:
        for run in runs:
            print(f'{run.name:12} {run.claim or "control":8} {run.opt}')
        return 0
    with unwinding_when_ended():
        failed = work(runs, arguments)
    left = [run.name for run in runs if not is_done(run, arguments.out)]
    print(f'left: {", ".join(left)}' if left else 'all done')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())

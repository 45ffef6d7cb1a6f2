"""Commands that installed packages bring: found by metadata, imported when used, refused by one message."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from fsr_plugins.cli import COMMANDS, main
from fsr_plugins.cli.commands import outside_commands, summaries

COMMAND = """
from pathlib import Path
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.errors import Interrupted, RunError, UserError

EXAMPLE = 'fsr greet anna'

def add_arguments(parser):
    parser.add_argument('name')

def run(arguments):
    errors = {'nobody': UserError('nobody is there'), 'fire': RunError('it burns'), 'stop': Interrupted('stopped', 15)}
    if arguments.name in errors:
        raise errors[arguments.name]
    print(f'hello {arguments.name}')
    return CommandOutcome({'greeted': arguments.name, 'path': Path('x')}, status=3 if arguments.name == 'odd' else 0)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that installs a package of a module and of commands in it, each ``name = value``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def install(name: str, source: str, *commands: str, summary: str = 'Summary: greets people\n') -> None:
        (tmp_path / f'{name}.py').write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        info = tmp_path / f'{name}-1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{summary}')
        lines = '\n'.join(commands or [f'greet = {name}'])
        (info / 'entry_points.txt').write_text(f'[fsr_plugins.commands]\n{lines}\n')

    return install


def test_help_lists_it_behind_ours_without_importing_it(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('greeter', COMMAND, summary='Summary: greets 100% of people\n')
    assert main(['--help']) == 0
    assert 'greet greets 100% of people (from greeter 1.0)' in ' '.join(capsys.readouterr().out.split())
    assert 'greeter' not in sys.modules
    assert list(summaries(outside_commands()))[: len(COMMANDS)] == list(COMMANDS)


def test_its_help_imports_it_alone(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('greeter', COMMAND)
    package('broken', '1 / 0\n', 'shout = broken')
    assert main(['greet', '--help']) == 0
    printed = capsys.readouterr().out
    assert 'usage: fsr greet' in printed and '--json FILE' in printed
    assert 'Greets people (from greeter 1.0).' in printed and 'Example: fsr greet anna' in printed


def test_a_package_without_a_summary_is_listed_too(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('greeter', COMMAND, summary='')
    assert main(['--help']) == 0
    assert 'no summary (from greeter 1.0)' in ' '.join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ('name', 'status', 'printed', 'written'),
    [
        ('anna', 0, '', {'greeted': 'anna', 'path': 'x'}),
        ('odd', 3, '', {'greeted': 'odd', 'path': 'x'}),
        ('nobody', 2, 'fsr: error: nobody is there\n', {'error': 'nobody is there'}),
        ('fire', 1, 'fsr: error: it burns\n', {'error': 'it burns'}),
        ('stop', 143, 'fsr: error: stopped\n', {'error': 'stopped'}),
    ],
)
def test_it_ends_as_ours_do(
    name: str, status: int, printed: str, written: dict[str, str], package, capsys: pytest.CaptureFixture[str]
) -> None:
    package('greeter', COMMAND)
    assert main(['greet', name, '--json', 'found.json']) == status
    assert capsys.readouterr().err == printed
    assert json.loads(Path('found.json').read_text()) == written


def test_one_that_ends_with_a_text_has_failed(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('greeter', COMMAND.replace("print(f'hello", "raise SystemExit(f'no hello"))
    assert main(['greet', 'anna']) == 1
    assert capsys.readouterr().err == 'no hello anna\n'


def test_wrong_arguments(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('greeter', COMMAND)
    assert main(['greet']) == 2
    assert 'usage: fsr greet' in capsys.readouterr().err


def test_an_object_in_a_module_is_a_command_too(package, capsys: pytest.CaptureFixture[str]) -> None:
    body = textwrap.indent(COMMAND.replace('(parser)', '(self, parser)').replace('run(', 'run(self, '), '    ')
    imports, names = body.split("EXAMPLE = 'fsr greet anna'")
    source = f"{textwrap.dedent(imports)}\nclass Greet:\n    EXAMPLE = 'fsr greet anna'\n{names}\ngreet = Greet()\n"
    package('greeter', source, 'greet = greeter:greet')
    assert main(['greet', 'anna']) == 0
    assert capsys.readouterr().out == 'hello anna\n'


def test_two_of_one_name_are_refused(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('greeter', COMMAND)
    package('welcomer', COMMAND)
    assert main(['greet', 'anna']) == 2
    error = capsys.readouterr().err
    assert "The command 'greet' is brought by" in error and error.endswith('uninstall all but one.\n')
    assert 'greeter 1.0' in error and 'welcomer 1.0' in error
    assert main(['--help']) == 0
    assert main(['list', '--help']) == 0


def test_a_name_of_ours_is_refused(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('trainer', COMMAND, 'train = trainer', 'greet = trainer')
    assert main(['train', '-opt', 'o.yml']) == 2
    assert capsys.readouterr().err == (
        "fsr: error: The command 'train' is brought by fsr itself and by trainer 1.0: uninstall all but one.\n"
    )
    assert 'trainer' not in sys.modules
    assert main(['greet', 'anna']) == 0


def test_one_that_does_not_import_is_reported_with_its_line(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('broken', 'def helper():\n    return 1 / 0\n\nhelper()\n', 'greet = broken')
    assert main(['greet', 'anna']) == 2
    error = capsys.readouterr().err
    assert error.startswith("fsr: error: The command 'greet' of broken 1.0 (broken) cannot be imported: ")
    assert 'division by zero (ZeroDivisionError in ' in error and 'broken.py:2)' in error and error.count('\n') == 1


@pytest.mark.parametrize('value', ['broken', 'broken:nothing', 'nowhere'])
def test_one_that_is_no_command_is_refused(value: str, package, capsys: pytest.CaptureFixture[str]) -> None:
    package('broken', "EXAMPLE = 'fsr greet'\n\ndef run(arguments):\n    pass\n", f'greet = {value}')
    assert main(['greet']) == 2
    error = capsys.readouterr().err
    assert f"The command 'greet' of broken 1.0 ({value})" in error
    if value == 'broken':
        assert "has no 'add_arguments': a command needs EXAMPLE, add_arguments and run." in error


def test_json_that_is_a_folder_is_said_once(package, capsys: pytest.CaptureFixture[str]) -> None:
    package('greeter', COMMAND)
    assert main(['greet', 'anna', '--json', '.']) == 2
    assert capsys.readouterr().err == 'fsr: error: --json .: that is a folder; a file is needed.\n'

"""Scripts say what is wrong with their input in one line, with status 2."""

from __future__ import annotations

import ast
import importlib
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from fsr_plugins.errors import RunError, UserError
from fsr_plugins.faces import Detection

SCRIPTS = Path(__file__).parents[1] / 'scripts'
#: A row that fails is a result of the first; the other is run by the Makefile alone.
OWN_WAY = {'benchmark_gpu', 'site_pages'}

MISSING = [
    ('measure_face_sizes', ['none.pth', '--images', 'none.zip'], 'none.pth'),
    ('measure_face_sizes', ['face_x4_blind', '--images', 'none.zip'], 'none.zip'),
    ('bundle_weights', ['none.pth', 'name'], 'none.pth'),
    ('find_small_faces', ['none.zip', '--weights', 'none.pth'], 'none.pth'),
]


FACES = ['--faces', 'portraits://studio/test?number=2&size=32', '--scale', '4']

STORE = 'portraits://studio/test?number={}&size={}'
UNPAIRED = ['--hr', STORE.format(8, 32), '--lr', STORE.format(8, 16), '--test-hr', STORE.format(8, 32)]
UNPAIRED += ['--test-lr', STORE.format(4, 16)]


class Nobody:
    """A detector that sees nobody."""

    def __init__(self, *_: object) -> None:
        pass

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        return [[] for _ in images]


class Here:
    """In the place of processes: this one."""

    def Pool(self, _: int) -> nullcontext[Here]:
        return nullcontext(self)

    def apply(self, work: Callable[..., object], arguments: tuple[object, ...]) -> object:
        return work(*arguments)


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts import each other."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.parametrize(('script', 'arguments', 'named'), MISSING)
def test_a_missing_file_is_one_line(
    script: str,
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main = importlib.import_module(script).main
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['scripts/some_script.py'])
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('some_script: error: ') and named in lines[0]


@pytest.mark.parametrize(
    ('script', 'arguments', 'said'),
    [
        ('measure_face_sizes', ['face_x4_blind', '--images', 'text.zip'], "'text.zip' cannot be read as a zip archive"),
        ('measure_face_sizes', ['face_x4_blind', '--images', 'empty.zip'], "'empty.zip': no face is seen"),
        ('find_small_faces', ['text.zip', '--detector', 'mtcnn'], "'text.zip' cannot be read as a zip archive"),
        ('find_small_faces', ['empty.zip', '--detector', 'mtcnn'], "'empty.zip': mtcnn sees no face"),
        ('make_clip', ['clip.mp4', '--size', '321', '180'], '--size 321 180: both have to be even'),
        ('make_clip', ['clip.mp4', '--size', '48', '48', '--count', '1'], 'do not fit into the frame'),
        ('benchmark_prepare', ['text.zip'], "'text.zip' cannot be read as a zip archive"),
        ('bicubic_rows', UNPAIRED, 'no pairs: 8 of 32x32 and 4 of 16x16'),
        ('compare_checkpoints', ['A=face_x8', *FACES, '-o', 'a.png'], "'face_x8' enlarges 8 times, not --scale 4"),
    ],
)
def test_wrong_input_is_one_line(
    script: str,
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main = importlib.import_module(script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, 'open_detector', Nobody, raising=False)
    if script == 'find_small_faces':  # which looks in a process of its own
        monkeypatch.setattr(main.multiprocessing, 'get_context', lambda _: Here())
    Path('text.zip').write_text('text')
    with zipfile.ZipFile('empty.zip', 'w'):
        pass
    assert main.main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0] and not list(tmp_path.glob('clip.mp4'))


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['A=face_x4', '-o', 'out.xyz'], '-o out.xyz: no picture is written under that ending'),
        (['A=face_x4', 'A=face_x4', '-o', 'out.png'], "there is a row 'A' already"),
        (['HR=face_x4', '-o', 'out.png'], "there is a row 'HR' already"),
    ],
)
def test_a_comparison_of_checkpoints_loses_no_row(
    more: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module('compare_checkpoints').main
    try:
        status = main(['--faces', 'portraits://studio/test?number=2&size=32', '--scale', '4', *more])
    except SystemExit as ended:  # by argparse
        status = ended.code
    assert status == 2 and said in capsys.readouterr().err and not list(tmp_path.glob('out.*'))


def test_the_pages_of_the_site_replace_no_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'letter.md').write_text('dear')
    monkeypatch.setattr(sys, 'argv', ['site_pages.py', str(tmp_path)])
    script = importlib.import_module('site_pages')
    monkeypatch.setattr(script, 'copy_documents', lambda _: pytest.fail('goes on'))
    with pytest.raises(SystemExit, match='2'):
        script.main()
    assert 'holds other files' in capsys.readouterr().err and (tmp_path / 'letter.md').read_text() == 'dear'


def test_what_a_script_ends_with(capsys: pytest.CaptureFixture[str]) -> None:
    says_what_is_wrong = importlib.import_module('messages').says_what_is_wrong

    def ending(problem: BaseException | int | None) -> int:
        @says_what_is_wrong
        def main() -> int | None:
            if isinstance(problem, BaseException):
                raise problem
            return problem

        return main()

    assert [ending(None), ending(0), ending(3)] == [0, 0, 3]
    assert [ending(UserError('a')), ending(RunError('b'))] == [2, 1]
    assert [line.partition(': ')[2] for line in capsys.readouterr().err.splitlines()] == ['error: a', 'error: b']
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError())


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        ('benchmark_engine', ['--runs', '0']),
        ('benchmark_steps', ['options/tsnet.yml', '--runs', '-1']),
        ('make_clip', ['clip.mp4', '--count', '0']),
        ('compare_checkpoints', ['A=face_x4', '--number', '1.5']),
    ],
)
def test_counts_are_positive(script: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='2'):
        importlib.import_module(script).main(arguments)
    assert f"'{arguments[-1]}' is not a whole number of 1 or more" in capsys.readouterr().err


def test_whole_numbers_below_one_are_taken_where_they_mean_something() -> None:
    # Of each, what 0 means: no neighbour, no copy, one piece without tiles; columns have choices.
    free = {'--seed', '--neighbours', '--folder', '--finest', '--columns'}
    for script in SCRIPTS.glob('*.py'):
        for node in ast.walk(ast.parse(script.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and any(ast.unparse(each) == 'type=int' for each in node.keywords):
                assert ast.literal_eval(node.args[-1]) in free, f'{script.name}: {ast.unparse(node)}'


def test_every_script_that_takes_arguments_does_so() -> None:
    for script in SCRIPTS.glob('*.py'):
        tree = ast.parse(script.read_text(encoding='utf-8'))
        mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == 'main']
        if mains and 'argparse' in script.read_text(encoding='utf-8') and script.stem not in OWN_WAY:
            assert [ast.unparse(each) for each in mains[0].decorator_list] == ['says_what_is_wrong'], script.name


def test_no_script_ends_with_status_one_for_wrong_input() -> None:
    for script in SCRIPTS.rglob('*.py'):
        tree = ast.parse(script.read_text(encoding='utf-8'))
        raised = [ast.unparse(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
        assert not [text for text in raised if text.startswith('SystemExit(')], script.name

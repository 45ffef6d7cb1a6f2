"""What the files and folders that options name hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsr_plugins.config.inputs import content_named_in


def test_a_link_that_leads_nowhere_is_a_name_without_a_length(tmp_path: Path) -> None:
    clips = tmp_path / 'clips'
    (clips / 'one').mkdir(parents=True)
    (clips / 'one/0.png').write_bytes(b'x')
    whole = content_named_in({'root': str(clips)})
    (clips / 'one/1.png').symlink_to(tmp_path / 'gone.png')
    lacking = content_named_in({'root': str(clips)})
    (tmp_path / 'gone.png').write_bytes(b'')
    found = content_named_in({'root': str(clips)})
    assert whole.keys() == {'root'} and len({whole['root'], lacking['root'], found['root']}) == 3


def test_a_folder_without_a_separator_in_its_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'faces').mkdir()
    (tmp_path / 'FID').mkdir()
    found = content_named_in({'fid': {'type': 'FID', 'reference': 'faces', 'weights': ''}})
    assert list(found) == ['fid.reference']


def test_a_file_of_equal_length_that_is_written_anew_counts(tmp_path: Path) -> None:
    image = tmp_path / 'a.bmp'
    image.write_bytes(b'1234')
    before = content_named_in({'reference': str(tmp_path)})
    assert content_named_in({'reference': str(tmp_path)}) == before
    image.write_bytes(b'4321')
    os.utime(image, (1, 1))
    assert content_named_in({'reference': str(tmp_path)}) != before

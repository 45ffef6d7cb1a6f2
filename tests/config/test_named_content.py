"""What the files and folders that options name hold."""

from __future__ import annotations

from pathlib import Path

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

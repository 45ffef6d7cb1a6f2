"""Lists of names that go with a dataset."""

from __future__ import annotations

from pathlib import Path

from fsr_plugins.errors import UserError


def read_names(path: Path, what: str) -> list[str]:
    """The first word of each line that is not empty; ``what`` names the list in a message.

    Raises:
        UserError: it cannot be read, is no text, or is empty.
    """
    try:
        names = [line.split()[0] for line in path.read_text(encoding='utf-8-sig').splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"The {what} '{path}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The {what} '{path}' is no text: {error}.") from error
    if not names:
        raise UserError(f"The {what} '{path}' is empty.")
    return names

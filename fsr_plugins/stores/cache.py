"""What has been found out about a store by reading all of it, kept for as long as its files stay as they are.

It lies in ``$XDG_CACHE_HOME/fsr_plugins`` (``~/.cache``), a file a store and kind of finding, under a fingerprint of
the files' names, lengths and times; so only these are looked at the next time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os

from fsr_plugins.atomic import cache_folder
from fsr_plugins.errors import UserError
from fsr_plugins.stores.once import is_elsewhere
from fsr_plugins.stores.store import Store

logger = logging.getLogger(__name__)


class StoreCache:
    """One kind of finding (``what``) about one store, as it is now.

    Raises:
        UserError: a file of the store cannot be looked at.
    """

    def __init__(self, store: Store, what: str) -> None:
        name = hashlib.sha256(os.fsencode(os.path.realpath(store.path))).hexdigest()[:32]
        self._what, self._path = what, store.path
        self._record = cache_folder() / f'{name}.{what}.json'
        self._fingerprint = _fingerprint(store)

    def recall(self) -> object | None:
        """The finding, or None if there is none or the store has changed since."""
        if not self._record.is_file():
            return None
        try:
            known = json.loads(self._record.read_bytes())
            return known[self._what] if known['fingerprint'] == self._fingerprint else None
        except (ValueError, KeyError, TypeError, OSError) as error:
            logger.warning('%s is unreadable (%s); the images are read again.', self._record, error)
            return None

    def remember(self, finding: object) -> None:
        """Keeps the finding, which JSON can hold; where that is not possible a warning says so.

        Of a store that is there for a moment only nothing is kept.
        """
        if is_elsewhere(self._path):
            return
        partial = self._record.with_suffix(f'.{os.getpid()}.partial')
        try:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({'fingerprint': self._fingerprint, self._what: finding}), encoding='utf-8')
            partial.replace(self._record)
        except OSError as error:
            logger.warning('%s cannot be written (%s); all is read anew next time.', self._record, error.strerror)


def _fingerprint(store: Store) -> str:
    digest = hashlib.sha256(os.fsencode(f'{os.path.realpath(store.path)}\n{len(store)}\n'))
    for path in store.files():
        try:
            status = os.stat(path)
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
        digest.update(os.fsencode(f'{path}\n{status.st_size} {status.st_mtime_ns}\n'))
    return digest.hexdigest()

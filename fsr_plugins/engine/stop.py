"""Being asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: What asks a run to stop: the system or a scheduler, Ctrl-C, a terminal that is closed (where there is that signal).
_SIGNALS = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, 'SIGHUP') else [])]


class StopSignal:
    """Turns signals into a flag that a loop looks at between iterations; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.number = 0
        self._at_once = False

    def _set(self, number: int, frame: object) -> None:
        if self.number and number == signal.SIGINT:
            # One more must not disturb the end, from here to that of the process.
            self._at_once = True
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt
        self.number = number

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handles the signals inside, but those that are ignored (``nohup``); not outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        watched = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._set) for number in watched}
        try:
            yield
        finally:
            for number, handler in before.items():
                if self._at_once and number == signal.SIGINT:
                    continue
                signal.signal(number, handler)

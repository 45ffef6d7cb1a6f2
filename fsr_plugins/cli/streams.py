"""What a command prints, where it cannot be printed; and the signals that end a command."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: What ends a command: the system or a scheduler, and a terminal that is closed (where there is that signal).
_SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, 'SIGHUP') else [])]


class Ended(BaseException):
    """The command was ended by signal ``number``; what it has begun is removed on the way out."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raises :class:`Ended` inside where a signal would end the process, which then leaves nothing half done.

    A second one ends it at once. One process of several is ended by the system, unless it is about to say why it ends:
    a launcher that has lost one process sends the others this signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watched = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    process = os.getpid()

    def end(number: int, frame: object) -> None:
        several = 'RANK' in os.environ
        if several and sys.exc_info()[0] is not None:
            return
        for each in watched:
            signal.signal(each, signal.SIG_DFL)
        if several or os.getpid() != process:  # a fork of it
            os.kill(os.getpid(), number)
        raise Ended(number)

    for number in watched:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in watched:
            signal.signal(number, signal.SIG_DFL)


class _Closed(io.RawIOBase):
    """Stands for a standard output that was closed before the command began."""

    dropped = False

    def writable(self) -> bool:
        """It seems so, until something is written."""
        return True

    def write(self, data: object) -> int:
        """Fails as the closed file would, until its failing has been told."""
        if self.dropped:
            return len(memoryview(data))  # type: ignore[arg-type]
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def notice_closed_output() -> None:
    """Gives a command whose standard output is closed one that cannot be written."""
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed()), encoding='utf-8')


def say(text: str) -> None:
    """Prints a line on standard error, if that can be."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def tell_launcher(error: str) -> None:
    """Gives torchrun the sentence by which this process ends, for its report, where it asks for one."""
    if file := os.environ.get('TORCHELASTIC_ERROR_FILE'):
        about = {'message': error, 'extraInfo': {'timestamp': str(int(time.time()))}}
        with suppress(OSError):
            Path(file).write_text(json.dumps({'message': about}), encoding='utf-8')


def printed(status: int) -> int:
    """The status of a command, once what it has printed has left the process.

    If it cannot leave, the status is 1, or that of SIGPIPE. One line on standard error says so, unless the command has
    failed already or the reader has gone.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return reader_gone()
    except OSError as error:
        drop_output()
        if status == 0:
            say(f'fsr: error: Standard output cannot be written: {error.strerror}. Make room there.')
        return status or 1
    return status


def reader_gone() -> int:
    """Ends the output of a pipe that nobody reads any more; the status of such an end."""
    drop_output()
    return 128 + signal.SIGPIPE


def drop_output() -> None:
    """Leads standard output to nowhere, so that what Python still holds for it does not fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if nowhere != 1:
        os.close(nowhere)
    if isinstance(closed := getattr(getattr(sys.stdout, 'buffer', None), 'raw', None), _Closed):
        closed.dropped = True


@contextmanager
def spared(where: str) -> Iterator[None]:
    """What is printed inside may be lost: the work is done, and ``where`` has it."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, SystemExit) as error:  # rich ends the process where nobody reads its output
        drop_output()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            say(f'fsr: warning: Standard output cannot be written: {error.strerror}. The figures are in {where}.')

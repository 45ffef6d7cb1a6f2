"""Connections on which no request comes: they are ended, so that they take no place from others."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

#: Seconds between two looks at a connection; one on which nothing was asked for meanwhile is ended.
IDLE = 20.0


class PromptProtocol(H11Protocol):
    """Uvicorn's, which waits for ever for the first request and for the rest of a request's head."""

    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """As uvicorn's, and watched from now on."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._look = self.loop.call_later(IDLE, self._end_if_idle, self.cycle)

    def _end_if_idle(self, before: RequestResponseCycle | None) -> None:
        if self.cycle is before and (before is None or before.response_complete):
            self.transport.close()
        else:
            self._watch()

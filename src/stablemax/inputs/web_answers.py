"""Answers of web servers that are bounded in bytes and in time; the only module that knows aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
import threading
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from stablemax.inputs.foreign_text import brief, masked, size_of
from stablemax.inputs.server_limits import LEAST_RATE, ServerError, no_answer

MOST_BYTES = 2**24
"""Most bytes of an answer to a request that asks for no part: a small file, or the page that lists a folder."""
_PART = re.compile(r"bytes[= ](\d+)-(\d+)")


class BoundedAnswer(aiohttp.ClientResponse):
    """An answer of which no more is read than was asked for, and for which nobody waits longer than `timeout_s`."""

    timeout_s: float

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Wait for the headers: a server may send them byte by byte, or without an end."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await super().start(connection)
        except TimeoutError:
            raise no_answer(self.timeout_s) from None

    async def read(self) -> bytes:
        """Read what was asked for."""
        if self._body is None:
            # What a refusal says besides is read by nobody.
            self._body = b"" if self.status >= 400 else await self._read_bounded()
            self.close()
        return self._body

    async def _read_bounded(self) -> bytes:
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding not in ("identity", ""):
            # Nobody asked for it, and what it unpacks to has no bound.
            raise ServerError(f"the server sends it compressed ({brief(masked(encoding), 40)})", "download it first")
        asked = _PART.match(self.request_info.headers.get("Range", ""))
        if asked is None:
            return await self._read_at_most(MOST_BYTES)
        start, count = int(asked[1]), int(asked[2]) - int(asked[1]) + 1
        given = _PART.match(self.headers.get("Content-Range", ""))
        if (given is not None and int(given[1]) != start) or (start > 0 and self.status != 206):
            raise ServerError("the server sent another part of the file than was asked for", "download it first")
        if given is None:
            # It may be the whole file.
            return await self._read_at_most(count)
        return b"".join(await self._pieces(count))

    async def _read_at_most(self, most: int) -> bytes:
        data = b"".join(await self._pieces(most + 1))
        if len(data) > most:
            raise ServerError(f"the server sent more than {size_of(most)}", "download it first")
        return data

    async def _pieces(self, count: int) -> list[bytes]:
        """Read at most `count` bytes; so many of them as `LEAST_RATE` makes of the timeout have to come within it."""
        pieces: list[bytes] = []
        left, came = count, 0
        try:
            while left:
                wanted = max(1, int(min(left, LEAST_RATE * self.timeout_s)))
                came = 0
                async with asyncio.timeout(self.timeout_s):
                    while came < wanted:
                        piece = await self.content.read(wanted - came)
                        if not piece:
                            return pieces
                        pieces.append(piece)
                        came += len(piece)
                left -= came
        except TimeoutError:
            raise no_answer(self.timeout_s, came) from None
        return pieces


class Resolver(AbstractResolver):
    """Looks names up in threads that nobody waits for, unlike those of asyncio at the end of the process."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up as the system does."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def tell(result: list[ResolveResult] | Exception) -> None:
            if found.done():
                return
            if isinstance(result, Exception):
                found.set_exception(result)
            else:
                found.set_result(result)

        def ask() -> None:
            try:
                result: list[ResolveResult] | Exception = _addresses(host, port, family)
            except Exception as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(tell, result)

        threading.Thread(target=ask, name="stablemax name", daemon=True).start()
        return await found

    async def close(self) -> None:
        """Keep nothing."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return [
        ResolveResult(
            hostname=host,
            # With the interface of an address that holds on one link alone.
            host=socket.getnameinfo(address, numeric)[0],
            port=port,
            family=of_address,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for of_address, _, protocol, _, address in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    ]


async def bounded_client(*, timeout_s: float, **options: Any) -> aiohttp.ClientSession:
    """Return what makes the requests of a file system; `options` are what its configuration says of it."""

    class Answer(BoundedAnswer):
        pass

    Answer.timeout_s = timeout_s
    # Everything but the way to the server is timed by the answer itself. aiohttp adds up no infinities.
    connecting = aiohttp.ClientTimeout(total=None, connect=timeout_s if math.isfinite(timeout_s) else None)
    bounds = {"timeout": connecting, "response_class": Answer, "auto_decompress": False}
    connector = aiohttp.TCPConnector(resolver=Resolver())
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
    return aiohttp.ClientSession(**{**options, **bounds}, headers=headers, connector=connector)

"""One request to a server that findings are told to: bounded in time and in what it may answer.

No proxy, no redirect, no cookie, no .netrc; what a server answers is never repeated in an error.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from netpersona import __version__
from netpersona.adapters.feeds.access import Access
from netpersona.adapters.feeds.place import WebPlace
from netpersona.errors import FeedError, SinkError

_PATIENCE = httpx.Timeout(15.0)  # s without a byte
_TOTAL = 60.0  # s for one request
_LARGEST = 1 << 20  # bytes of an answer
logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes down URLs


@dataclass(frozen=True, slots=True)
class Server:
    """A place on the Web that takes findings."""

    place: WebPlace
    access: Access

    def post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """What it answers; any status from 200 to 299 is good.  Raises SinkError."""
        try:
            sent = {"User-Agent": f"netpersona/{__version__}", **headers, **self.access.credentials.read()}
            with (
                httpx.Client(verify=self._trusted(), trust_env=False, timeout=_PATIENCE) as client,
                client.stream("POST", self.place.url, content=body, headers=sent) as answer,
            ):
                return self._read(answer)
        except FeedError as error:  # a credential that is not where it should be
            raise SinkError(f"{self.place}: {error}") from error
        except httpx.TimeoutException as error:
            raise SinkError(f"{self.place}: it did not answer in time") from error
        except httpx.HTTPError as error:
            raise SinkError(f"{self.place}: {type(error).__name__}: the connection failed") from error

    def _read(self, answer: httpx.Response) -> bytes:
        if not answer.is_success:
            raise SinkError(f"{self.place}: it answers {answer.status_code}{_hint(answer.status_code)}")
        end, content = time.monotonic() + _TOTAL, b""
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > _LARGEST or time.monotonic() > end:
                raise SinkError(f"{self.place}: its answer is too long, or takes too long")
        return content

    def _trusted(self) -> ssl.SSLContext | bool:
        if not self.access.verify:
            return False
        try:
            return ssl.create_default_context(cafile=None if self.access.ca is None else str(self.access.ca))
        except (OSError, ssl.SSLError) as error:
            raise SinkError(f"{self.access.ca}: cannot be read as certificates of authorities (PEM)") from error


def _hint(status: int) -> str:
    return {
        401: ": the credentials are missing or wrong",
        403: ": these credentials may not write there",
        404: ": there is nothing of this address",
        413: ": that was too much at once",
        429: ": that was too often",
    }.get(status, "; it redirects: name the place itself" if 300 <= status < 400 else "")

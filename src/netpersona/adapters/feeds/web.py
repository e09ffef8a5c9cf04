"""One fetch over HTTP: what is asked, how much may come, how long it may take, and which redirects are followed.

No proxy, no cookie, no .netrc, no credential but those configured, and these only for the origin that was configured.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

import certifi
import httpcore

from netpersona import __version__
from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.connect import Checked, Deadline
from netpersona.adapters.feeds.gunzip import Gunzip, too_much
from netpersona.adapters.feeds.place import Reach, WebPlace
from netpersona.errors import FeedError

_HOPS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_FOR_GOOD = {301, 308}
_REACH = "reach"  # the mark that says how far away the configured host was
_LONGEST_WAIT = 24 * 3600  # s: what a server may ask us to wait
logging.getLogger("httpcore").setLevel(logging.WARNING)  # its debug log holds what servers answer


class LaterError(FeedError):
    """The server asks to come again after so many seconds."""

    def __init__(self, said: str, seconds: int) -> None:
        super().__init__(said)
        self.seconds = seconds


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes
    place: WebPlace  # where it was found in the end
    moved: bool  # whether there were redirects on the way, and all of them permanent


class Web:
    """One fetch: all that is asked in it shares its limits.  A context manager: its connections end with it.

    `before` are the marks of the last fetch: a host that was on the Internet does not come into a network of ours (DNS
    rebinding).
    """

    def __init__(self, origin: WebPlace, access: Access, limits: Limits, before: Mapping[str, str]) -> None:
        self._origin = origin
        self._credentials = access.credentials.read()
        self._limits = limits
        self._left = limits.largest
        self._floor = Reach.PUBLIC if before.get(_REACH) == Reach.PUBLIC.name else Reach.HOST
        self._deadline = Deadline(limits.total, limits.stall)
        self._network = Checked(self._deadline)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_trusting(access), max_connections=4, network_backend=self._network, http2=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    @property
    def marks(self) -> dict[str, str]:
        """What the next fetch has to know of this one, once the configured host was asked."""
        return {_REACH: self._reach.name}

    def get(self, place: WebPlace, headers: Mapping[str, str] | None = None, accept: tuple[int, ...] = ()) -> Answer:
        """What is found there; redirects are followed.  Raises FeedError for every status but 200 and `accept`."""
        moved: set[int] = set()
        self._network.nearest = self._nearest(place)
        for _ in range(_HOPS + 1):
            answer = self._asked("GET", place, headers or {}, b"", accept)
            if answer.status not in _REDIRECTS:
                return answer._replace(moved=moved > set() and moved <= _FOR_GOOD)
            moved.add(answer.status)
            self._network.nearest = max(self._network.nearest, self._reached(place))
            place = place.sent_to(answer.headers.get("location", ""))
        raise FeedError(f"it redirects more than {_HOPS} times")

    def post(self, place: WebPlace, body: bytes, headers: Mapping[str, str]) -> Answer:
        """What is answered to a question.  Raises FeedError, also for a redirect."""
        self._network.nearest = self._nearest(place)
        answer = self._asked("POST", place, headers, body, ())
        if answer.status in _REDIRECTS:
            sent_to = place.sent_to(answer.headers.get("location", ""))
            raise FeedError(f"it redirects to {sent_to}; name that URL instead")
        return answer

    @property
    def _reach(self) -> Reach:
        """How far away the configured host is, once it was asked."""
        return self._network.reached.get((self._origin.host, self._origin.port), Reach.HOST)

    def _nearest(self, place: WebPlace) -> Reach:
        """How near this place may be: where a server of the configured origin names another, no nearer than itself."""
        return self._floor if place.origin == self._origin.origin else max(self._floor, self._reach)

    def _reached(self, place: WebPlace) -> Reach:
        return self._network.reached[place.host, place.port]

    def _asked(
        self, method: str, place: WebPlace, headers: Mapping[str, str], body: bytes, accept: tuple[int, ...]
    ) -> Answer:
        """One question and its answer, without following anything."""
        with (
            self._wrong(),
            self._pool.stream(
                method, _target(place), headers=self._headers(place, headers), content=body or None
            ) as response,
        ):
            if self._reached(place) < self._network.nearest:
                raise FeedError(f"{place.host} is {self._reached(place).words}; it is not asked from afar")
            told = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers}
            if response.status in _REDIRECTS or response.status in accept:
                return Answer(response.status, told, b"", place, moved=False)
            _check_status(response.status, told)
            return Answer(response.status, told, b"".join(self._content(response, told)), place, moved=False)

    def _headers(self, place: WebPlace, more: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        sent = {"Host": place.netloc, "User-Agent": f"netpersona/{__version__}", "Accept-Encoding": "gzip", **more}
        if place.origin == self._origin.origin:
            sent |= self._credentials
        return [(name.encode("ascii"), text.encode("ascii")) for name, text in sent.items()]

    def _content(self, response: httpcore.Response, headers: Mapping[str, str]) -> Iterator[bytes]:
        """The body, unpacked, as long as there may be more of it."""
        stated = headers.get("content-length", "")
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"identity", "", "gzip", "x-gzip"}:
            raise FeedError(f"it answers in the coding {coding[:32]!r}, which was not asked for")
        packed = Gunzip(self._left) if "gzip" in coding else None
        if packed is None and stated.isdigit() and int(stated) > self._left:
            raise FeedError(too_much(self._limits.largest))
        for piece in response.iter_stream():
            content = piece if packed is None else packed.feed(piece)
            self._left -= len(content)
            if self._left < 0:
                raise FeedError(too_much(self._limits.largest))
            yield content
        if packed is not None:
            packed.close()

    @contextmanager
    def _wrong(self) -> Iterator[None]:
        """Everything that can go wrong on the way, in our words: a server's own are not repeated."""
        try:
            yield
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise self._deadline.stalled() from error
        except httpcore.RemoteProtocolError as error:
            raise FeedError("it breaks off, or does not speak HTTP; what came of it is thrown away") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise FeedError(_of_network(error)) from error


def _target(place: WebPlace) -> httpcore.URL:
    scheme, host, target = (text.encode("ascii") for text in (place.scheme, place.host, place.target))
    return httpcore.URL(scheme=scheme, host=host, port=place.port, target=target)


def _trusting(access: Access) -> ssl.SSLContext:
    """What certificates are believed.  Raises FeedError for a file of authorities that cannot be read."""
    if not access.verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=certifi.where() if access.ca is None else str(access.ca))
    except (OSError, ssl.SSLError) as error:
        raise FeedError(f"{access.ca}: cannot be read as certificates of authorities (PEM)") from error


def _check_status(status: int, headers: Mapping[str, str]) -> None:
    """Raises FeedError for an answer that is no content."""
    if status == HTTPStatus.OK:
        return
    try:
        said = f"it answers {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"it answers {status}"
    if status in {401, 403}:
        raise FeedError(
            f"{said}: credentials are missing or refused; see headers_from and basic_from (--header-from, --basic-from)"
        )
    wait = headers.get("retry-after", "")
    if status in {429, 503} and wait.isdigit():
        raise LaterError(f"{said}, and asks to come again in {wait[:9]} s", min(int(wait), _LONGEST_WAIT))
    raise FeedError(f"{said}; expected 200 OK")


def _of_network(error: Exception) -> str:
    """What is wrong with a connection, in a sentence."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLCertVerificationError):
            return f"its certificate is not believed: {below.verify_message}; see 'ca' in the feed's configuration"
        if isinstance(below, ssl.SSLError):
            return "no encrypted connection came about; does it speak TLS 1.2 or newer on this port?"
        below = below.__cause__ or below.__context__
    return "the connection broke"

"""The bytes of a remote file, fetched by many requests at the same time and before they are needed. Imports no GDAL.

Who reads a raster knows which of its blocks come next. Their bytes are fetched in pieces, some megabytes ahead of the
reader, each once; what was read is kept for a while, since warping comes back to a block.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from rv_core.errors import StorageError
from rv_core.files import by_uri
from rv_pipeline_chip_classification.raster_files.requests_ahead import Requests

#: Fetched when the file is opened: the header of most files, with the offsets of their blocks.
HEAD_BYTES = 64 * 1024
#: Of a request: at 50 ms and 100 MB/s a line is full with ten of them.
PIECE_BYTES = 512 * 1024
#: Bytes between two blocks that are fetched with them rather than by another request.
_GAP_BYTES = 16 * 1024
#: What is asked for without being announced is fetched with what follows.
_UNANNOUNCED_BYTES = 128 * 1024
_AHEAD_BYTES = 6 * 1024**2
_KEPT_BYTES = 8 * 1024**2
#: On their way to begin with, of all files that are opened together: what a line of 100 MB/s holds at 40 ms.
_FIRST_BYTES = 4 * 1024**2

Span = tuple[int, int]


@dataclass(eq=False)
class _Piece:
    """Bytes `begin .. end - 1`, once they are there; `order` is its place in what was announced, from 0."""

    begin: int
    end: int
    order: int = -1
    data: Future[bytes] | None = None
    is_read: bool = False


def pieces_of(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans in the order of reading as requests: what follows closely is one, up to `PIECE_BYTES`."""
    begin = end = -1
    for first, last in spans:
        if begin >= 0 and 0 <= first - end <= _GAP_BYTES and last - begin <= PIECE_BYTES:
            end = last
            continue
        if begin >= 0:
            yield begin, end
        begin, end = first, last
    if begin >= 0:
        yield begin, end


class RemoteBytes:
    """The bytes of a file of a store that reads parts (`by_uri.read_range`); for one reader at a time.

    Args:
        uri: the file, as in the config.
        head: its first `HEAD_BYTES`.
        size: of the file in bytes.
        num_files: how many are opened together: at first they share the line.

    Attributes:
        failure: why bytes could not be read, where GDAL says only that they could not; None if they could.
    """

    def __init__(self, uri: str, head: bytes, size: int, num_files: int = 1) -> None:
        self.uri, self.size = uri, size
        self.failure: StorageError | None = None
        self._head = head
        self._requests = Requests(self._fetch, _FIRST_BYTES // num_files)
        self._announced: deque[_Piece] = deque()
        self._pieces: dict[int, _Piece] = {}
        self._begins: list[int] = []
        self._read: dict[_Piece, None] = {}
        self._is_planned = False

    def announce(self, spans: Iterable[Span]) -> None:
        """Say which bytes will be read, in this order; what was announced before and is not there yet is forgotten.

        Args:
            spans: (first byte, end) of each block.
        """
        self._announced.clear()
        self._is_planned = True
        for piece in self._pieces.values():
            self._let_go(piece)
        pieces = enumerate(pieces_of(self._missing(spans)))
        self._announced.extend(_Piece(begin, end, order) for order, (begin, end) in pieces)
        self._fetch_ahead()

    def want(self, spans: Iterable[Span]) -> None:
        """Fetch what is read next, all at once; nothing where that was announced."""
        if not self._is_planned:
            for begin, end in list(pieces_of(self._missing(spans))):
                self._start(_Piece(begin, end))

    def read(self, begin: int, count: int) -> bytes:
        """Bytes of the file, fewer than asked for at its end.

        Raises:
            StorageError: if they cannot be fetched, or the file is shorter by now.
        """
        end = min(begin + count, self.size)
        if end <= len(self._head):
            return self._head[begin:end]
        parts = []
        while begin < end:
            if begin < len(self._head):
                parts.append(self._head[begin:])
                begin = len(self._head)
            piece = self._piece_at(begin, end)
            data = self._content(piece)
            parts.append(data[begin - piece.begin : end - piece.begin])
            begin = min(end, piece.end)
        self._fetch_ahead()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Forget what was fetched; requests that are under way end by themselves."""
        self._announced.clear()
        self._pieces.clear()
        self._begins.clear()
        self._read.clear()
        self._requests.close()

    def _missing(self, spans: Iterable[Span]) -> Iterator[Span]:
        """What of spans is neither there nor on its way."""
        head = len(self._head)
        inside = ((max(begin, head), min(end, self.size)) for begin, end in spans)
        return (span for span in inside if span[0] < span[1] and not self._covers(*span))

    def _let_go(self, piece: _Piece) -> None:
        """Count a piece as read: what was passed by will not be asked for, and may be forgotten."""
        piece.is_read = True
        self._read.setdefault(piece)

    def _covers(self, begin: int, end: int) -> bool:
        piece = self._held_at(begin)
        return piece is not None and piece.end >= end

    def _held_at(self, position: int) -> _Piece | None:
        place = bisect.bisect_right(self._begins, position) - 1
        piece = self._pieces[self._begins[place]] if place >= 0 else None
        return piece if piece is not None and position < piece.end else None

    def _piece_at(self, position: int, end: int) -> _Piece:
        """The piece that holds a byte: on its way, announced, or fetched now with what follows."""
        if held := self._held_at(position):
            return held
        for place, piece in enumerate(self._announced):
            if piece.begin <= position < piece.end:
                for _ in range(place + 1):
                    self._announced.popleft()
                return self._start(piece)
        begins = [piece.begin for piece in self._announced if piece.begin > position]
        place = bisect.bisect_right(self._begins, position)
        begins += self._begins[place : place + 1]
        stop = min(max(end, position + _UNANNOUNCED_BYTES), self.size, *begins)
        return self._start(_Piece(position, stop))

    def _start(self, piece: _Piece) -> _Piece:
        piece.data = self._requests.start(piece.begin, piece.end)
        self._pieces[piece.begin] = piece
        bisect.insort(self._begins, piece.begin)
        return piece

    def _fetch(self, begin: int, end: int) -> bytes:
        part = by_uri.read_range(self.uri, begin, end)
        if part is None or len(part) != end - begin:
            raise StorageError("a file has changed while it was read", where=self.uri, fix="run the same command again")
        return part

    def _content(self, piece: _Piece) -> bytes:
        assert piece.data is not None
        self._requests.hurry(piece.data)
        try:
            data = piece.data.result()
        except StorageError as err:
            self.failure = err
            raise
        for passed in self._pieces.values():
            if passed.order < piece.order and not passed.is_read:
                self._let_go(passed)
        piece.is_read = True
        self._read.pop(piece, None)
        self._read[piece] = None
        return data

    def _fetch_ahead(self) -> None:
        """Start requests until enough is on its way, and forget what was read longest ago."""
        ahead = sum(piece.end - piece.begin for piece in self._pieces.values() if not piece.is_read)
        while self._announced and ahead < _AHEAD_BYTES:
            piece = self._start(self._announced.popleft())
            ahead += piece.end - piece.begin
        kept = sum(piece.end - piece.begin for piece in self._read)
        while kept > _KEPT_BYTES and len(self._read) > 1:
            oldest = next(iter(self._read))
            del self._read[oldest], self._pieces[oldest.begin]
            self._begins.remove(oldest.begin)
            kept -= oldest.end - oldest.begin

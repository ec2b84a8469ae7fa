"""Read exports, the files that a source writes, row by row: only new files and what was appended.

An invalid line or an unreadable file is counted by its reason and stops nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import orjson

from models.errors import SourceUnavailable, UnreadableInput
from tasks.ingestion.file_reader import Limits, Reject, open_file
from tasks.ingestion.lenient_json import parse_json, split_objects

LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".parquet")
JSON = ".json"

CHUNK_ROWS = 50_000
CHUNK_BYTES = 16 << 20
LARGEST_LINE = 64 << 20
"""Bytes of one line: exports may hold whole prompts and answers, and the longest are selections too."""

NOT_FINISHED = "the last line is not finished"


class ParsedRow(NamedTuple):
    """A row with its file, named relative to the location, and its line, counted from 1."""

    file: str
    line: int
    value: Any


@dataclass(frozen=True)
class ParsedRows:
    """Rows of one or several files, ordered by name; `cursor` is the end position, `done` counts bytes up to `size`."""

    rows: list[ParsedRow]
    rejected: Mapping[str, int]
    cursor: str
    done: int


def json_object(line: bytes) -> dict[str, Any]:
    """Parse a JSON line to an object. Raises ValueError with the reason that such lines are counted by."""
    try:
        value = parse_json(line)
    except orjson.JSONDecodeError:
        raise ValueError("is not valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - the line is wrong, not the call
    return value


class Exports:
    """Read the files of a location: a path, a folder (recursively) or a pattern; `.gz` and `file:` are supported.

    JSONL (also named `.json`) is read from where the last pull ended, and an unfinished last line waits for its end; a
    file that was replaced or truncated is read again. JSON arrays, CSV, Parquet and compressed files are read again
    when they change.

    `parse` turns a line of JSONL into a row and raises ValueError with the reason if it is invalid; an unfinished last
    line must be invalid. `file_parsers` reads files of other suffixes: from a path to values, or a Reject each.
    `keep` are the keys of a row to read: the others, such as prompts, are dropped at once. `delimiter` is that of CSV;
    None detects it. Files in folders named in `aside` are not read.
    """

    def __init__(
        self,
        location: str,
        *,
        parse: Callable[[bytes], Any] = json_object,
        file_parsers: Mapping[str, Callable[[Path], Iterable[Any]]] | None = None,
        keep: frozenset[str] | None = None,
        delimiter: str | None = None,
        aside: tuple[str, ...] = (),
    ) -> None:
        self._location = location
        self._path = _path(location)
        self._parse = parse
        self._file_parsers = file_parsers or {}
        self._keep = keep
        self._delimiter = delimiter
        self._aside = set(aside)

    def size(self, cursor: str | None) -> int:
        """Bytes still to read. Raises as `chunks` does."""
        seen = _seen(cursor)
        return sum(_ahead(file, seen.get(file.name)) for file in self._files(new=not seen))

    def chunks(self, cursor: str | None) -> Iterator[ParsedRows]:
        """Read what is new since the cursor; a cursor that cannot be parsed counts as none: everything is read.

        Raises SourceUnavailable if there is no such file or folder, or a pattern has never matched a file, and
        UnreadableInput for a single file of an unknown kind.
        """
        seen = _seen(cursor)
        files = self._files(new=not seen)
        positions = {file.name: seen[file.name] for file in files if file.name in seen}
        held, done = _FilePart(), 0
        for file in files:
            for part in self._parts(file, positions.get(file.name)):
                if part.position is not None:
                    positions[file.name] = part.position
                held.rows += part.rows
                held.rejected += part.rejected
                held.weight += part.weight
                done += part.size
                if len(held.rows) >= CHUNK_ROWS or held.weight >= CHUNK_BYTES:
                    yield ParsedRows(held.rows, held.rejected, _cursor(positions), done)
                    held = _FilePart()
        if held.rows or held.rejected or _cursor(positions) != cursor:
            yield ParsedRows(held.rows, held.rejected, _cursor(positions), done)

    def _files(self, *, new: bool) -> list[_File]:
        root, paths = _found(self._location)
        if new and not paths and root != self._path:
            raise SourceUnavailable(self._location, "no file matches", ADVICE)
        known = (*LINES, JSON, *TABLES, *self._file_parsers)
        if paths == [self._path] and _kind(self._path) not in known:
            found = f"the name ends in {_kind(self._path) or 'nothing'!r}"
            raise UnreadableInput(self._location, found, " or ".join(known))
        relative = {path: path.relative_to(root) for path in paths if _kind(path) in known}
        named = {name.as_posix(): path for path, name in relative.items() if not self._aside & set(name.parent.parts)}
        return [_File(name, named[name], *_stat(named[name])) for name in sorted(named)]

    def _parts(self, file: _File, position: _FilePosition | None) -> Iterator[_FilePart]:
        if _is_unchanging(file, position):
            return
        try:
            if self._grows(file):
                yield from self._grown(file, position)
            else:
                yield from self._changed(file, position)
        except _FAULTS as error:
            found = error.found if isinstance(error, UnreadableInput) else getattr(error, "strerror", None) or error
            # Faulty content stays faulty until the file changes; a failure to open may be temporary.
            done = None if _is_passing(error) else _FilePosition(file.size, file.changed_ns, rows=-1)
            yield _FilePart(rejected=Counter({f"{file.name}: {found}": 1}), position=done, size=file.size)

    def _grows(self, file: _File) -> bool:
        if file.path.suffix.lower() == ".gz":
            return False
        return _kind(file.path) in LINES or (_kind(file.path) == JSON and _is_of_lines(file.path))

    # --- files that grow ----------------------------------------------------------------------------------------------

    def _grown(self, file: _File, position: _FilePosition | None) -> Iterator[_FilePart]:
        with file.path.open("rb") as stream:
            before = (
                position
                if position is not None and _continues(stream, position)
                else _FilePosition(file.size, file.changed_ns)
            )
            before = replace(before, size=file.size, changed_ns=file.changed_ns)
            stream.seek(max(0, before.read - 1))
            ends = stream.read(min(1, before.read)) in (b"", b"\n")
            # What follows a line that was read without its line break still belongs to that line.
            lines = self._lines(stream, file.name, before if ends else replace(before, line=before.line - 1))
            while batch := list(islice(lines, PART_ROWS)):
                reached = batch[-1].position
                yield _FilePart(
                    [line.row for line in batch if line.row is not None],
                    Counter(line.reason for line in batch if line.reason),
                    replace(reached, print=_print(stream, reached.read)),
                    reached.read - before.read,
                    reached.read - before.read,
                )
                before = reached

    def _lines(self, stream: IO[bytes], name: str, position: _FilePosition) -> Iterator[_Line]:
        number, read = position.line, position.read
        while text := stream.readline(LARGEST_LINE + 1):
            number += 1
            row, reason, end = self._line(stream, text, name, number)
            at = stream.tell()
            if not end and row is None:
                # Wait for the line's end; report it once if it is still missing at the next pull.
                counted = position.waits == at
                reason = NOT_FINISHED if counted and not position.counted else None
                yield _Line(None, reason, replace(position, line=number - 1, read=read, waits=at, counted=counted))
                return
            read = at
            yield _Line(row, reason, replace(position, line=number, read=read, waits=0, counted=False))

    def _line(
        self, stream: IO[bytes], text: bytes, name: str, number: int
    ) -> tuple[ParsedRow | None, str | None, bool]:
        """The row of a line or its fault, and whether the line is complete."""
        if len(text) > LARGEST_LINE and not text.endswith(b"\n"):
            rest = text
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(LARGEST_LINE)
            return None, f"the line is longer than {LARGEST_LINE:,} bytes", bool(rest)
        row, reason = self._parsed(text, name, number)
        return row, reason, text.endswith(b"\n")

    def _parsed(self, text: bytes, name: str, number: int) -> tuple[ParsedRow | None, str | None]:
        if number == 1:
            text = text.removeprefix(BYTE_ORDER_MARK)
        if not text.strip():
            return None, None
        try:
            return ParsedRow(name, number, self._kept(self._parse(text))), None
        except ValueError as error:
            return None, str(error)

    # --- files that change as a whole ---------------------------------------------------------------------------------

    def _changed(self, file: _File, position: _FilePosition | None) -> Iterator[_FilePart]:
        same = position is not None and (position.size, position.changed_ns) == (file.size, file.changed_ns)
        count = position.rows if position is not None and same else 0
        items = islice(self._items(file), count, None)
        while batch := list(islice(items, PART_ROWS)):
            count += len(batch)
            yield _FilePart(
                [row for row in batch if isinstance(row, ParsedRow)],
                Counter(item.reason for item in batch if isinstance(item, Reject)),
                _FilePosition(file.size, file.changed_ns, rows=count),
                # A large file that is not read by bytes is split into a few chunks.
                weight=CHUNK_BYTES // 5 if file.size > CHUNK_BYTES else 0,
            )
        yield _FilePart(position=_FilePosition(file.size, file.changed_ns, rows=-1), size=file.size)

    def _items(self, file: _File) -> Iterator[ParsedRow | Reject]:
        kind = _kind(file.path)
        if kind in self._file_parsers:
            values: Iterable[Any] = self._file_parsers[kind](file.path)
        elif kind in TABLES:
            return self._of_table(file)
        elif kind == JSON and not _is_of_lines(file.path):
            values = _documents(file.path)
        else:
            return self._of_compressed_lines(file)
        return (
            value if isinstance(value, Reject) else ParsedRow(file.name, number, self._kept(value))
            for number, value in enumerate(values, start=1)
        )

    def _of_table(self, file: _File) -> Iterator[ParsedRow | Reject]:
        limits = Limits(
            record=LARGEST_LINE, record_lines=LONGEST_RECORD_LINES, field=LARGEST_LINE, chunk_rows=PART_ROWS
        )
        with open_file(file.path, self._delimiter, limits) as table:
            for chunk in table.chunks:
                yield from chunk.rejects
                names_kept = [name for name in chunk.frame.columns if self._keep is None or name in self._keep]
                rows = chunk.frame.select(names_kept).iter_rows(named=True)
                yield from (ParsedRow(file.name, line, row) for line, row in zip(chunk.lines, rows, strict=False))

    def _of_compressed_lines(self, file: _File) -> Iterator[ParsedRow | Reject]:
        with gzip.open(file.path, "rb") as stream:
            for line in self._lines(stream, file.name, _FilePosition(0, 0)):  # type: ignore[arg-type]
                if line.row is not None:
                    yield line.row
                elif line.reason or line.position.waits:
                    yield Reject(line.position.line, line.reason or NOT_FINISHED)

    def _kept(self, value: Any) -> Any:
        if self._keep is None or not isinstance(value, dict):
            return value
        return {name: value[name] for name in value if name in self._keep}


# ----------------------------------------------------------------------------------------------------------------------

PART_ROWS = 2_000
LONGEST_RECORD_LINES = 10_000
PRINT_BYTES = 1_024
MAGIC = re.compile(r"[*?\[]")
ADVICE = "Name a file, a folder or a pattern such as exports/*.jsonl"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_FAULTS = (UnreadableInput, OSError, EOFError, zlib.error)


class _File(NamedTuple):
    name: str
    path: Path
    size: int
    changed_ns: int


@dataclass(frozen=True)
class _FilePosition:
    """How far a file was read: `read` bytes of a growing file, `rows` of another, -1 for all of them.

    `print` is a fingerprint of what was read; `waits` is where an unfinished last line begins.
    """

    size: int
    changed_ns: int
    read: int = 0
    line: int = 0
    print: str = ""
    waits: int = 0
    counted: bool = False
    rows: int = 0


class _Line(NamedTuple):
    """A line's row or its fault, and the file position after it."""

    row: ParsedRow | None
    reason: str | None
    position: _FilePosition


@dataclass
class _FilePart:
    """Rows of a file, the file position after them, the bytes done, and the bytes held in memory."""

    rows: list[ParsedRow] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    position: _FilePosition | None = None
    size: int = 0
    weight: int = 0


def _is_passing(error: Exception) -> bool:
    """Whether the system refused access to a file, as opposed to invalid content."""
    cause = error.__cause__ or error
    return isinstance(cause, OSError) and cause.errno is not None


def _seen(cursor: str | None) -> dict[str, _FilePosition]:
    try:
        files = json.loads(cursor or "{}")["files"]
        return {name: _FilePosition(*values) for name, values in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _cursor(positions: Mapping[str, _FilePosition]) -> str:
    # ASCII, so that a name that is not valid text can be stored too.
    return json.dumps({"files": {name: astuple(positions[name]) for name in sorted(positions)}}, separators=(",", ":"))


def _path(location: str) -> Path:
    text = unquote(urlsplit(location).path) if location.startswith("file:") else location
    return Path(text).expanduser()


def _found(location: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files; the name of an existing file is not taken as a pattern."""
    path = _path(location)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        return path, _files_of(path, path.rglob("*"))
    if not MAGIC.search(str(path)):
        raise SourceUnavailable(location, "there is no such file or folder", ADVICE)
    fixed = list(takewhile(lambda part: not MAGIC.search(part), path.parts))
    root = Path(*fixed)
    return root, _files_of(root, root.glob(Path(*path.parts[len(fixed) :]).as_posix()))


def _files_of(root: Path, paths: Iterable[Path]) -> list[Path]:
    hidden = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts))
    return [path for path in hidden if path.is_file()]


def _kind(path: Path) -> str:
    """The suffix that names a file's format, without compression suffixes and rotation numbers."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz" and not suffix[1:].isdigit()]
    return suffixes[-1] if suffixes else ""


def _stat(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        # Deleted meanwhile: treated as empty.
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _is_unchanging(file: _File, position: _FilePosition | None) -> bool:
    if position is None or (position.size, position.changed_ns) != (file.size, file.changed_ns):
        return file.size == 0
    return position.rows == -1 or position.read == position.size or position.counted


def _ahead(file: _File, position: _FilePosition | None) -> int:
    if position is None or _is_unchanging(file, position):
        return file.size if position is None else 0
    return file.size - position.read if file.size >= position.read else file.size


def _continues(stream: IO[bytes], position: _FilePosition) -> bool:
    """Whether a growing file still begins with what was read."""
    return os.fstat(stream.fileno()).st_size >= position.read and _print(stream, position.read) == position.print


def _print(stream: IO[bytes], read: int) -> str:
    """A hash of the first and the last bytes that were read."""
    head = os.pread(stream.fileno(), min(PRINT_BYTES, read), 0)
    tail = os.pread(stream.fileno(), min(PRINT_BYTES, read), max(0, read - PRINT_BYTES))
    return hashlib.blake2b(head + tail, digest_size=8).hexdigest()


@contextmanager
def _plain(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        yield stream  # type: ignore[misc]


def _is_of_lines(path: Path) -> bool:
    """Whether a `.json` has one object per line, not an array or objects over several lines."""
    with _plain(path) as stream:
        lines = iter(lambda: stream.readline(LARGEST_LINE), b"")
        first = next((text for line in lines if (text := line.removeprefix(BYTE_ORDER_MARK).strip())), b"")
    return not first.startswith(b"[") and not first.endswith((b"{", b"[", b","))


def _documents(path: Path) -> Iterator[Any]:
    """Read the objects of an array or of concatenated JSON."""
    import ijson  # noqa: PLC0415 - only such files need it

    count = 0
    with _plain(path) as stream:
        is_array = stream.read(64).removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[")
        stream.seek(0)
        try:
            for value in ijson.items(stream, "item" if is_array else "", use_float=True, multiple_values=not is_array):
                yield value if isinstance(value, dict) else Reject(0, "is not a JSON object")
                count += 1
        except ijson.JSONError:
            # Of no object is known where it ends. One by one, what is no JSON costs its value or its object.
            stream.seek(0)
            yield from islice(_documents_one_by_one(path, stream), count, None)


def _documents_one_by_one(path: Path, stream: IO[bytes]) -> Iterator[Any]:
    try:
        for text in split_objects(stream, LARGEST_LINE):
            try:
                yield json_object(text)
            except ValueError as error:
                yield Reject(0, str(error))
    except ValueError:
        raise UnreadableInput(str(path), "it is not valid JSON or is truncated", "a whole JSON file") from None

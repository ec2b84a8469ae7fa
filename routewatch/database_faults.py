"""Explain a driver's error: what is the matter with the database, and what to do about it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError

HIDDEN = "***"

SHORTEST_SECRET = 4
"""Characters of a secret that is hidden in other texts: a shorter one would match in every text."""

_DRIVERS = ("sqlalchemy", "sqlite3", "psycopg", "adbc_driver_manager")
_SECRET_OPTION = re.compile(r"(?i)pass|pwd|secret|token|key")
_PLAIN_OPTIONS = frozenset({"sslkey", "passfile"})
"""Options of libpq that name a file."""


@dataclass(frozen=True)
class DatabaseFault:
    """One line about the cause, without SQL and values, and what to do."""

    cause: str
    advice: str
    is_forbidden: bool = False
    """Whether a right is missing for this, or the database is read-only."""


def explain(error: Exception, url: URL) -> DatabaseFault | None:
    """Explain an error of a driver; None if it says nothing about the database, but about one statement or value."""
    kinds = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _DRIVERS}
    if "TimeoutError" in kinds:
        return DatabaseFault("all connections of this process are in use", "The next try continues")
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    state = str(getattr(cause, "sqlstate", None) or "")
    is_unusable = type(error).__name__ in kinds & {"DatabaseError"} or bool(
        kinds & {"OperationalError", "InterfaceError"}
    )
    is_adbc = "Error" in kinds and type(cause).__module__.startswith("adbc_driver_manager")
    if not (is_unusable or is_adbc or state in _STATES_OF_OTHER_KINDS):
        return None
    line = first_line(str(cause), url)
    if url.get_backend_name() == "sqlite":
        if "is full" in line.lower() and (table := _table_without_ids(url)):
            return DatabaseFault(
                f"the table {table} has used the largest id, and can issue none", _advice_without_ids(table)
            )
        kind = _sqlite_kind(cause, line)
        path = Path(url.database or "")
        advice = _SQLITE_ADVICE.get(kind, "`routewatch doctor` looks at {path}")
        return DatabaseFault(line, advice.format(path=path, folder=path.parent), kind in ("READONLY", "PERM", "AUTH"))
    if is_adbc:
        # It reads only, and tells first what it was about to do.
        line = line.rpartition("ERROR: ")[2].strip()
    verbs = ("", "SELECT") if is_adbc else error.__dict__.get(_NEEDS, ())
    state = state or _state_in(line)
    return DatabaseFault(line, _postgresql_advice(state, line, verbs, url), state in ("42501", "25006"))


def keep_values_out(context: ExceptionContext) -> None:
    """Take SQL and values out of an error of SQLAlchemy and of its driver, wherever it is logged later.

    What the statement needed to be allowed is kept, for `explain`.
    """
    error = context.sqlalchemy_exception
    if error is None:
        return
    error.__dict__[_NEEDS] = _verbs_of(context.statement or "")
    error.hide_parameters, error.statement, error.params = True, None, None
    if isinstance(error, DBAPIError) and error.orig is not None:
        # PostgreSQL's further lines have the statement and the row.
        said = first_line(str(error.orig))
        kind = type(error.orig)
        error.orig.args = (said, *error.orig.args[1:])
        error.args = (f"({kind.__module__}.{kind.__qualname__}) {said}", *error.args[1:])


def first_line(text: str, url: URL | None = None) -> str:
    """The first line of an error, without the password in the address."""
    line = text.strip().partition("\n")[0].strip()
    for secret in () if url is None else sorted(set(_spellings(secrets_in(url))), key=len, reverse=True):
        line = line.replace(secret, HIDDEN)
    return line


def shown(url: URL) -> str:
    """The address without its password, which may also be one of its options."""
    return url.difference_update_query(_secret_options(url)).render_as_string(hide_password=True)


def secrets_in(url: URL) -> tuple[str, ...]:
    """The password and the secret options of an address, but for very short ones."""
    options = (url.query[name] for name in _secret_options(url))
    values = (value for option in options for value in ((option,) if isinstance(option, str) else option))
    return tuple(secret for secret in (str(url.password or ""), *values) if len(secret) >= SHORTEST_SECRET)


def role_of(url: URL) -> str:
    """The role of an address as SQL writes it."""
    return identifier(url.username) if url.username else "the role of the address"


def identifier(name: str) -> str:
    """A name as PostgreSQL takes it: quoted where it has to be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


# ----------------------------------------------------------------------------------------------------------------------


def _secret_options(url: URL) -> list[str]:
    return [name for name in url.query if _SECRET_OPTION.search(name) and name not in _PLAIN_OPTIONS]


def _spellings(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        yield from (secret, quote(secret, safe=""), quote(secret), quote_plus(secret), unquote(secret))


# --- SQLite -----------------------------------------------------------------------------------------------------------

_WORDS_OF_SQLITE = {
    "is full": "FULL", "readonly": "READONLY", "malformed": "CORRUPT", "is locked": "BUSY",
    "is not a database": "NOTADB", "unable to open": "CANTOPEN", "disk i/o": "IOERR", "no such table": "SCHEMA",
    "no such column": "SCHEMA", "has no column": "SCHEMA",
}  # fmt: skip


_SQLITE_ADVICE = {
    "FULL": "Make room on the disk of {folder}, or raise its quota; the next try continues",
    "READONLY": "Let the user that Routewatch runs as write {path} and its folder, on a file system that is not "
                "read-only",
    "CORRUPT": "Stop Routewatch, keep a copy of {path}, see whether the disk is sound, and restore a backup "
               "(docs/backup.md)",
    "BUSY": "Another process has been writing for long: `fuser {path}` names it; the next try continues",
    "NOTADB": "The file is of another kind, and was left as it is: name another in ROUTEWATCH_DATABASE_URL or "
              "ROUTEWATCH_HOME",
    "CANTOPEN": "See that ROUTEWATCH_DATABASE_URL or ROUTEWATCH_HOME names the right folder, that {folder} exists, and "
                "that the user that Routewatch runs as may write to it",
    "IOERR": "See whether the disk of {folder} is sound and no network's: SQLite needs locks and shared memory",
    "SCHEMA": "See that {path} is Routewatch's database, and run `routewatch init`",
}  # fmt: skip
_SQLITE_ADVICE |= {"PERM": _SQLITE_ADVICE["READONLY"], "AUTH": _SQLITE_ADVICE["READONLY"]}
_SQLITE_ADVICE |= {"LOCKED": _SQLITE_ADVICE["BUSY"]}


def _advice_without_ids(table: str) -> str:
    if table == "selection":
        return (
            "Somebody wrote such an id: `routewatch serve`, or the next `routewatch run hourly`, gives such rows the "
            "next ids; then the next try continues"
        )
    return f"Somebody wrote such an id: delete that row, and set seq of {table} in sqlite_sequence to the largest left"


_ENDED_SEQUENCES = "SELECT name FROM sqlite_sequence WHERE seq = 9223372036854775807 ORDER BY name = 'selection' DESC"


def _table_without_ids(url: URL) -> str:
    """The table in which the largest id was used: SQLite says the same of it as of a full disk. Empty if none was."""
    try:
        with closing(sqlite3.connect(f"file:{quote(url.database or '')}?mode=ro", timeout=1, uri=True)) as connection:
            found = connection.execute(_ENDED_SEQUENCES).fetchone()
    except sqlite3.Error:
        return ""
    return "" if found is None else str(found[0])


def _sqlite_kind(cause: BaseException, line: str) -> str:
    name = str(getattr(cause, "sqlite_errorname", "")).removeprefix("SQLITE_").partition("_")[0]
    if name in ("", "ERROR"):
        name = next((kind for words, kind in _WORDS_OF_SQLITE.items() if words in line.lower()), "")
    return name


# --- PostgreSQL -------------------------------------------------------------------------------------------------------

_WORDS_OF_POSTGRESQL = {
    # As the server and libpq say it. A failed login has no SQLSTATE.
    "password authentication failed": "28P01", "no password supplied": "28P01", "no pg_hba.conf entry": "28000",
    "authentication failed": "28000", "is not permitted to log in": "28000", "starting up": "57P03",
    "shutting down": "57P03", "in recovery mode": "57P03", "not yet accepting connections": "57P03",
    "too many clients": "53300", "too many connections": "53300", "remaining connection slots": "53300",
    "permission denied for": "42501", "terminating connection": "57P01", "server closed the connection": "57P01",
    "connection not open": "57P01", "connection is closed": "57P01", "the connection is lost": "57P01",
    "no connection to the server": "57P01", "connection reset": "57P01", "broken pipe": "57P01",
    "no space left": "53100", "statement timeout": "57014", "read-only transaction": "25006",
    "resolve host": "host", "translate host name": "host", "name or service not known": "host",
    "connection refused": "down", "no such file or directory": "down", "timeout expired": "down",
    "timeout": "down", "timed out": "down", "network is unreachable": "down", "no route to host": "down",
    "ssl": "ssl", "certificate": "ssl", "invalid connection option": "address", "invalid dsn": "address",
    "invalid percent-encoded": "address", "invalid uri": "address",
}  # fmt: skip

_STATES_OF_OTHER_KINDS = frozenset(
    {
        "2200H",
        "42501",
        "25006",
        "25P03",
        "25P04",
        "3D000",
        "3F000",
        "42P01",
        "42703",
        "42883",
        "XX001",
        "XX002",
        "57P01",
    }
)
"""What the drivers call an error of the program or of its own, but lies with the database."""

_NEEDS = "routewatch_needs"
_ALL = "SELECT, INSERT, UPDATE, DELETE"
_DENIED = re.compile(r"permission denied for (table|relation|view|sequence|schema|database|function) (\S+)")
_OWNED = re.compile(r"must be (?:the )?owner of (\w+) (\S+)")


def _state_in(line: str) -> str:
    if re.search(r'role "[^"]*" does not exist', line):
        return "28000"
    if re.search(r'database "[^"]*" does not exist', line):
        return "3D000"
    lowered = line.lower()
    return next((state for words, state in _WORDS_OF_POSTGRESQL.items() if words in lowered), "")


_SEE_LOGIN = (
    "Check the user in ROUTEWATCH_DATABASE_URL, that {role} exists and may log in, and the server's pg_hba.conf"
)
_ENDED = "The server ended the connection, as in a restart; the next try opens a new one"
_CANCELLED = "See in pg_stat_activity and in the server's time-outs who cancels or blocks it; the next try continues"
_IN_THE_WAY = "Another transaction was in the way; the next try continues"
_NO_TABLE = "See that search_path of {role} leads to Routewatch's tables, and run `routewatch init`"
_BROKEN = "See whether the server's disk is sound, and restore a backup (docs/backup.md)"

_POSTGRESQL_ADVICE = {
    "28P01": "Check user and password in ROUTEWATCH_DATABASE_URL; `ALTER ROLE {role} PASSWORD …` sets a new one",
    "28000": _SEE_LOGIN,
    "3D000": "Create it with `CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0`, or correct its name in "
             "ROUTEWATCH_DATABASE_URL",
    "53300": "End connections that nobody needs, or raise max_connections or the CONNECTION LIMIT of role and "
             "database; the next try continues",
    "57P03": "The server is starting or stopping; the next try continues once it is up",
    "57P01": _ENDED, "57P02": _ENDED, "08000": _ENDED, "08003": _ENDED, "08006": _ENDED,
    "53100": "Make room on the disk of the server; the next try continues",
    "2200H": "Somebody has set the sequence to its end: `ALTER SEQUENCE … RESTART WITH` the largest id that is in use, "
             "plus 1",
    "25006": "Name the primary server in ROUTEWATCH_DATABASE_URL, or RESET default_transaction_read_only of role and "
             "database",
    "57014": _CANCELLED, "55P03": _CANCELLED, "25P03": _CANCELLED, "25P04": _CANCELLED,
    "40001": _IN_THE_WAY, "40P01": _IN_THE_WAY,
    "42P01": _NO_TABLE, "42703": _NO_TABLE, "42883": _NO_TABLE, "3F000": _NO_TABLE,
    "XX001": _BROKEN, "XX002": _BROKEN,
    "host": "Check the host in ROUTEWATCH_DATABASE_URL",
    "down": "Check host and port in ROUTEWATCH_DATABASE_URL and that the server is up",
    "ssl": "Check sslmode and sslrootcert in ROUTEWATCH_DATABASE_URL against what the server offers",
    "address": "Check how ROUTEWATCH_DATABASE_URL is written: signs such as @ : / % in a password are percent-encoded",
}  # fmt: skip


def _postgresql_advice(state: str, line: str, verbs: tuple[str, ...], url: URL) -> str:
    role = role_of(url)
    if state == "42501":
        return _grant(line, verbs, role)
    advice = _POSTGRESQL_ADVICE.get(state, "Check ROUTEWATCH_DATABASE_URL and the server's log")
    return advice.format(role=role, name=identifier(url.database or ""))


_GRANTS = {
    "": f"`GRANT {_ALL} ON ALL TABLES IN SCHEMA public TO {{role}}` and "
        "`GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}`",
    "sequence": "`GRANT USAGE, SELECT ON SEQUENCE {name} TO {role}`",
    "schema": "`GRANT USAGE ON SCHEMA {name} TO {role}`, and for the role that runs `routewatch init` "
              "`GRANT USAGE, CREATE ON SCHEMA {name}`",
    "database": "`GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {role}`",
    "function": "`GRANT EXECUTE ON FUNCTION {name} TO {role}`",
}  # fmt: skip


def _grant(line: str, verbs: tuple[str, ...], role: str) -> str:
    if owned := _OWNED.search(line):
        kind, name = owned.groups()
        return f"Run it as the owner, or `ALTER {kind.upper()} {name} OWNER TO {role}`"
    denied = _DENIED.search(line)
    kind, name = denied.groups() if denied else ("", "")
    if advice := _GRANTS.get(kind):
        return advice.format(name=name, role=role)
    # A trigger writes to other tables than the statement.
    wanted = ", ".join(verbs[1:]) if verbs[:1] in ((name,), ("",)) else _ALL
    everywhere = wanted if wanted == "SELECT" else _ALL
    return (
        f"`GRANT {wanted} ON {name} TO {role}`; all commands that {'read' if wanted == 'SELECT' else 'write'} need "
        f"`GRANT {everywhere} ON ALL TABLES IN SCHEMA public TO {role}`"
    )


def _verbs_of(statement: str) -> tuple[str, ...]:
    """The first table of a statement, and what must be granted on it; empty if that is not plain."""
    written = _WRITES.match(statement)
    if written is None:
        plain = _READS.match(statement)
        locks = ("UPDATE",) if _LOCKS.search(statement) else ()
        return (plain[1], "SELECT", *locks) if plain else ()
    verb, name = written[1].split()[0].upper(), written[2]
    needed = {"SELECT", verb} | ({"UPDATE"} if _UPSERTS.search(statement) else set())
    return (name, *(it for it in _ALL.split(", ") if it in needed))


_WRITES = re.compile(r'(?i)\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)')
_READS = re.compile(r'(?is)\s*SELECT\b.*?\bFROM\s+"?(\w+)')
_LOCKS = re.compile(r"(?i)\bFOR\s+(NO\s+KEY\s+)?UPDATE\b")
_UPSERTS = re.compile(r"(?i)\bDO\s+UPDATE\b")

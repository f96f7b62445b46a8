"""The SQLite file of a study: its tables, and files of older versions."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from photochrom.errors import DataError
from photochrom.study.codes import draw_code

_SCHEMA = """
CREATE TABLE IF NOT EXISTS persons (
    id TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    seen TEXT NOT NULL,
    finished TEXT,
    color_vision TEXT,
    code TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trials (
    person TEXT NOT NULL REFERENCES persons (id),
    number INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    kind TEXT NOT NULL,
    item TEXT NOT NULL,
    shown TEXT NOT NULL,
    asked_ms REAL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'begun', 'again', 'void')),
    PRIMARY KEY (person, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    person TEXT NOT NULL,
    number INTEGER NOT NULL,
    chosen TEXT NOT NULL,
    exposure_ms REAL,
    reaction_ms REAL,
    answered TEXT NOT NULL,
    second_exposure_ms REAL,
    since_onset_ms REAL,
    viewport_width REAL,
    viewport_height REAL,
    pixel_ratio REAL,
    image_width REAL,
    PRIMARY KEY (person, number),
    FOREIGN KEY (person, number) REFERENCES trials (person, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (
    name TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) WITHOUT ROWID;
"""
# States of a trial: `planned`; `begun` before its images are shown; `again` when they are shown
# once more after a reload; `void` if a reload interrupted them. A trial with a row in `answers` is
# complete. `persons.seen` is the time of the last request, `asked_ms` the requested exposure,
# `persons.code` what a participant tells the organizer to withdraw. `counts` has the number of
# those who withdrew, by the name 'withdrawn'.


def open_database(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open or create a file, and bring one of an older version up to date.

    Args:
        path: The file.
        read_only: Do not create the file, or change it; what an older version lacks is supplied in
            memory.

    Returns:
        A connection in autocommit mode that any thread can use, one at a time.

    Raises:
        DataError: If it cannot be opened, or is not such a database.
    """
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=30,
        )
    except sqlite3.Error as error:
        raise DataError(f"cannot open responses {path}: {error}") from error
    try:
        if read_only:
            db.execute("SELECT person FROM answers LIMIT 1")
            _supply_columns(db)
        else:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA secure_delete = ON")
            db.executescript(_SCHEMA)
            db.execute("BEGIN IMMEDIATE")
            _add_columns(db)
            db.execute("COMMIT")
    except sqlite3.Error as error:
        db.close()  # this rolls back
        raise DataError(f"cannot open responses {path}: {error}") from error
    return db


def _missing_columns(db: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    """Yield each table that lacks columns of `_SCHEMA`, and these; it is of an older version."""
    with contextlib.closing(sqlite3.connect(":memory:")) as newest:
        newest.executescript(_SCHEMA)
        for (table,) in newest.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"):
            present, wanted = (
                {row[1]: row[2] for row in of.execute(f"PRAGMA main.table_info({table})")}
                for of in (db, newest)
            )
            missing = [f"{name} {type_}" for name, type_ in wanted.items() if name not in present]
            if missing:
                yield table, missing


def _add_columns(db: sqlite3.Connection) -> None:
    for table, missing in _missing_columns(db):
        for column in missing:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    for (participant,) in db.execute("SELECT id FROM persons WHERE code IS NULL").fetchall():
        db.execute("UPDATE persons SET code = ? WHERE id = ?", (draw_code(), participant))


def _supply_columns(db: sqlite3.Connection) -> None:
    """Hide tables that lack columns behind temporary views that have them, with NULL."""
    for table, missing in _missing_columns(db):
        names = [column.split()[0] for column in missing]
        if db.execute(f"PRAGMA main.table_info({table})").fetchone() is None:
            db.execute(f"CREATE TEMP TABLE {table} ({', '.join(names)})")
        else:
            nulls = ", ".join(f"NULL AS {name}" for name in names)
            db.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {nulls} FROM main.{table}")

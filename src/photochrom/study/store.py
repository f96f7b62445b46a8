"""What people were asked and what they said: a SQLite file that a kill does not spoil."""

import contextlib
import dataclasses
import json
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from photochrom.errors import DataError, PhotochromError
from photochrom.study.answers import Answer
from photochrom.study.trials import Cell, Trial, asked_ms, cell

GONE = timedelta(minutes=30)
"""Who was not seen for so long will not answer what is left of their trials."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS persons (
    id TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    seen TEXT NOT NULL,
    finished TEXT
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
    PRIMARY KEY (person, number),
    FOREIGN KEY (person, number) REFERENCES trials (person, number)
) WITHOUT ROWID;
"""
# A trial is `planned`; `begun` once its pictures are about to be shown; `again` if they are shown
# a second time, after a reload; `void` if they could not be. It is answered if `answers` has it.

_FIELDS = [field.name for field in dataclasses.fields(Answer)]
_ANSWERS = (
    f"SELECT {', '.join(_FIELDS)} FROM answers JOIN trials USING (person, number) "
    "JOIN persons ON persons.id = person"
)


class NotOpenError(PhotochromError):
    """An answer to what this person is not being asked."""


@dataclass(frozen=True)
class Person:
    """Somebody who agreed to take part."""

    id: str
    created: str
    """When they agreed: ISO 8601, UTC."""
    seen: str
    """When their browser last asked for something."""
    finished: str | None
    """When they had answered everything."""


@dataclass(frozen=True)
class Open:
    """The trial that a person is at."""

    number: int
    """From 0 on."""
    of: int
    """How many trials the person has in all."""
    trial: Trial
    asked_ms: float | None
    """For how long the picture is to be shown, `timed` alone."""


class Store:
    """The answers of a study; all methods can be called from several threads.

    What a method has written is on the disk when it returns. Several processes can have the same
    file open.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, and make it if it is not there.

        Args:
            path: `DIR/answers.sqlite`.
            read_only: Only read; the file has to be there. A server may go on writing.

        Raises:
            DataError: If it cannot be opened, or is something else.
        """
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=30,
            )
        except sqlite3.Error as error:
            raise DataError(f"cannot open answers {path}: {error}") from error
        try:
            if read_only:
                self._db.execute("SELECT person FROM answers LIMIT 1")
            else:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise DataError(f"cannot open answers {path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def answers(self) -> list[Answer]:
        """Return all answers, practice and checks among them, person by person in order."""
        with self._lock:
            return self._answers("ORDER BY persons.created, person, number")

    def persons(self) -> list[Person]:
        """Return everybody who agreed to take part, the first first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, created, seen, finished FROM persons ORDER BY created, id"
            )
            return [Person(*row) for row in rows]

    def add_person(self, plan: Callable[[Counter[Cell]], list[Trial]]) -> str:
        """Take in a person.

        Args:
            plan: Returns their trials, told how often others were asked what. Nobody else is taken
                in meanwhile.

        Returns:
            The person's id, 32 random hexadecimal digits.
        """
        person, now = secrets.token_hex(16), _now()
        with self._transaction() as db:
            trials = plan(self._asked(now - GONE))
            db.execute(
                "INSERT INTO persons VALUES (?, ?, ?, NULL)", (person, _text(now), _text(now))
            )
            db.executemany(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, NULL, 'planned')",
                [
                    (
                        person,
                        number,
                        trial.protocol,
                        trial.kind,
                        trial.item,
                        json.dumps(trial.shown),
                    )
                    for number, trial in enumerate(trials)
                ],
            )
        return person

    def knows(self, person: str) -> bool:
        """Tell whether there is such a person."""
        with self._lock:
            return bool(
                self._db.execute("SELECT 1 FROM persons WHERE id = ?", (person,)).fetchone()
            )

    def next(self, person: str) -> Open | None:
        """Return the trial that a person is at, None if there is no more.

        If its pictures were shown already, there was a reload: of `pair` and `timed`, whose time is
        part of the question, such a trial is void, and the person is at the one after it. Others
        are shown again.
        """
        with self._transaction() as db:
            self._see(person)
            db.execute(
                "UPDATE trials SET state = iif(protocol IN ('pair', 'timed'), 'void', 'again') "
                "WHERE person = ? AND state = 'begun' AND number NOT IN "
                "(SELECT number FROM answers WHERE person = ?)",
                (person, person),
            )
            found = self._open(person)
            if found is None:
                self._finish(person)
            return found

    def begin(self, person: str, number: int) -> None:
        """Note that the pictures of a trial are about to be shown.

        Raises:
            NotOpenError: If the person is at another trial.
        """
        with self._transaction() as db:
            self._see(person)
            found = self._open(person)
            if found is None or found.number != number:
                raise NotOpenError(f"trial {number} is not the one to be shown now; ask for it")
            db.execute(
                "UPDATE trials SET asked_ms = ?, state = iif(state = 'planned', 'begun', state) "
                "WHERE person = ? AND number = ?",
                (found.asked_ms, person, number),
            )

    def trial(self, person: str, number: int) -> Trial:
        """Return one of a person's trials.

        Raises:
            NotOpenError: If there is no such trial.
        """
        with self._lock:
            return self._trial(person, number)[0]

    def answer(
        self,
        person: str,
        number: int,
        chosen: str,
        *,
        exposure_ms: float | None = None,
        reaction_ms: float | None = None,
    ) -> Answer:
        """Keep an answer; if there is one already, that one stays.

        Args:
            person: Whose.
            number: Of the trial.
            chosen: As in `Answer`.
            exposure_ms: As in `Answer`.
            reaction_ms: As in `Answer`; it is dropped of a trial that was shown again.

        Returns:
            The answer that is kept.

        Raises:
            NotOpenError: If the person is at another trial, or its pictures were not shown.
        """
        with self._transaction() as db:
            self._see(person)
            _, state = self._trial(person, number)
            if not self._answers("WHERE person = ? AND number = ?", person, number):
                if state not in ("begun", "again"):
                    raise NotOpenError(f"trial {number} is not open; ask for the next one")
                if state == "again":
                    reaction_ms = None
                db.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                    (person, number, chosen, exposure_ms, reaction_ms, _text(_now())),
                )
                if self._open(person) is None:
                    self._finish(person)
            return self._answers("WHERE person = ? AND number = ?", person, number)[0]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # not where SQLite gave up by itself
                    self._db.execute("ROLLBACK")

    def _see(self, person: str) -> None:
        self._db.execute("UPDATE persons SET seen = ? WHERE id = ?", (_text(_now()), person))

    def _finish(self, person: str) -> None:
        self._db.execute(
            "UPDATE persons SET finished = seen WHERE id = ? AND finished IS NULL", (person,)
        )

    def _answers(self, which: str, *values: Any) -> list[Answer]:
        rows = self._db.execute(f"{_ANSWERS} {which}", values)
        found = [dict(zip(_FIELDS, row, strict=True)) for row in rows]
        return [Answer(**row | {"shown": tuple(json.loads(row["shown"]))}) for row in found]

    def _trial(self, person: str, number: int) -> tuple[Trial, str]:
        row = self._db.execute(
            "SELECT protocol, kind, item, shown, state FROM trials WHERE person = ? AND number = ?",
            (person, number),
        ).fetchone()
        if row is None:
            raise NotOpenError(f"there is no trial {number}; ask for the next one")
        protocol, kind, item, shown, state = row
        return Trial(protocol, kind, item, tuple(json.loads(shown))), state

    def _open(self, person: str) -> Open | None:
        """Return the first trial that is neither void nor answered."""
        (of,) = self._db.execute(
            "SELECT count(*) FROM trials WHERE person = ?", (person,)
        ).fetchone()
        row = self._db.execute(
            "SELECT number FROM trials LEFT JOIN answers USING (person, number) WHERE person = ? "
            "AND state != 'void' AND answered IS NULL ORDER BY number LIMIT 1",
            (person,),
        ).fetchone()
        if row is None:
            return None
        trial, _ = self._trial(person, row[0])
        answers = self._answers("WHERE person = ? ORDER BY number", person)
        return Open(row[0], of, trial, asked_ms(trial, answers))

    def _asked(self, gone: datetime) -> Counter[Cell]:
        """Return how often each photo was, or is about to be, shown as what, in tests.

        Args:
            gone: Who was not seen since then will answer nothing more.
        """
        rows = self._db.execute(
            "SELECT protocol, item, shown, count(*) FROM trials "
            "JOIN persons ON persons.id = person LEFT JOIN answers USING (person, number) "
            "WHERE kind = 'test' AND (answered IS NOT NULL OR state != 'void' AND seen > ?) "
            "GROUP BY protocol, item, shown",
            (_text(gone),),
        )
        counts: Counter[Cell] = Counter()
        for protocol, item, shown, count in rows:
            counts[cell(protocol, item, json.loads(shown))] += count
        return counts


def _now() -> datetime:
    return datetime.now(UTC)


def _text(time: datetime) -> str:
    """Return ISO 8601 of one length, so that order of text is order of time."""
    return time.isoformat(timespec="milliseconds")

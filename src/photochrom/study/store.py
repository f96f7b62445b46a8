"""Trials and responses in a SQLite file."""

import contextlib
import dataclasses
import json
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from photochrom.errors import PhotochromError
from photochrom.study.answers import ColorVision, Measurements, Response
from photochrom.study.codes import draw_code, format_code, normalize_code
from photochrom.study.database import open_database
from photochrom.study.design import Protocol
from photochrom.study.trials import Stimulus, Trial, requested_exposure_ms

INACTIVITY_TIMEOUT = timedelta(minutes=30)
"""Time after which a participant is taken to have left."""

_FIELDS = [field.name for field in dataclasses.fields(Response)]
_MEASUREMENTS = tuple(Measurements.__annotations__)
_SELECT_RESPONSES = (
    f"SELECT {', '.join(_FIELDS)} FROM answers JOIN trials USING (person, number) "
    "JOIN persons ON persons.id = person"
)


Outcome = Literal["answered", "void", "unanswered"]


@dataclass(frozen=True)
class Enrolment:
    """The number of participants and of their trials."""

    consented: int
    """Participants, those who withdrew included."""
    withdrawn: int
    finished: int
    """Participants with at least one response who have no trial left."""
    active: int
    """Participants who have not finished, and whose last request was within
    `INACTIVITY_TIMEOUT`."""
    trials: Mapping[tuple[Protocol, Outcome], int]
    """Test trials by protocol and outcome."""
    repeated: Mapping[Protocol, int]
    """Answered test trials whose images were shown again after a reload."""


class TrialNotOpenError(PhotochromError):
    """A request for a trial that is not the participant's current one."""


@dataclass(frozen=True)
class CurrentTrial:
    """The next trial of a participant that is neither complete nor void."""

    number: int
    """Index, from 0."""
    total: int
    """Number of trials of the participant."""
    trial: Trial
    requested_exposure_ms: float | None


class Store:
    """Trials and responses; thread-safe, and several processes can open the same file.

    Writes are durable when a method returns.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file.

        Args:
            path: The file.
            read_only: Do not create the file, or change it. Another process may write to it.

        Raises:
            DataError: If it cannot be opened, or is not such a database.
        """
        self._lock = threading.Lock()
        self._db = open_database(path, read_only=read_only)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> tuple[Enrolment, list[Response]]:
        """Return, of one moment, the numbers of participants and all responses.

        Responses are in the order of participants and trials.
        """
        with self._lock:
            self._db.execute("BEGIN")
            try:
                return self._enrolment(), self._select_responses(
                    "ORDER BY persons.created, person, number"
                )
            finally:
                self._db.execute("COMMIT")

    def add_participant(self, draw_trials: Callable[[Counter[Stimulus]], list[Trial]]) -> str:
        """Add a participant.

        Args:
            draw_trials: Returns the trials for the counts of stimuli shown to others; called in the
                transaction that adds the participant.

        Returns:
            The participant id, 32 random hexadecimal digits.
        """
        participant, now = secrets.token_hex(16), _now()
        with self._transaction() as db:
            trials = draw_trials(self._count_stimuli(now - INACTIVITY_TIMEOUT))
            time = _format_time(now)
            db.execute(
                "INSERT INTO persons (id, created, seen, code) VALUES (?, ?, ?, ?)",
                (participant, time, time, draw_code()),
            )
            db.executemany(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, NULL, 'planned')",
                [
                    (participant, number, t.protocol, t.kind, t.item, json.dumps(t.shown))
                    for number, t in enumerate(trials)
                ],
            )
        return participant

    def has_participant(self, participant: str) -> bool:
        """Return whether a participant exists."""
        with self._lock:
            cursor = self._db.execute("SELECT 1 FROM persons WHERE id = ?", (participant,))
            return cursor.fetchone() is not None

    def code(self, participant: str) -> str:
        """Return the code with which a participant can withdraw later."""
        with self._lock:
            (code,) = self._db.execute(
                "SELECT code FROM persons WHERE id = ?", (participant,)
            ).fetchone()
        return format_code(code)

    def find_code(self, code: str) -> str | None:
        """Return the participant who has this code, None if nobody does; typing errors are allowed.

        `normalize_code` says which.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT id FROM persons WHERE code = ?", (normalize_code(code),)
            ).fetchone()
        return None if row is None else row[0]

    def withdraw(self, participant: str) -> int:
        """Delete all that is stored about a participant, and count the withdrawal.

        Returns:
            The number of deleted responses.
        """
        with self._transaction() as db:
            deleted = db.execute("DELETE FROM answers WHERE person = ?", (participant,)).rowcount
            db.execute("DELETE FROM trials WHERE person = ?", (participant,))
            if db.execute("DELETE FROM persons WHERE id = ?", (participant,)).rowcount:
                db.execute(
                    "INSERT INTO counts VALUES ('withdrawn', 1) "
                    "ON CONFLICT (name) DO UPDATE SET n = n + 1"
                )
        with self._lock:  # the log still has the deleted rows
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return deleted

    def color_vision(self, participant: str) -> ColorVision | None:
        """Return what a participant reported, None if nothing so far."""
        with self._lock:
            row = self._db.execute(
                "SELECT color_vision FROM persons WHERE id = ?", (participant,)
            ).fetchone()
        return None if row is None else row[0]

    def save_color_vision(self, participant: str, answer: ColorVision) -> None:
        """Save what a participant reports, unless they have before."""
        with self._transaction() as db:
            self._touch(participant)
            db.execute(
                "UPDATE persons SET color_vision = ? WHERE id = ? AND color_vision IS NULL",
                (answer, participant),
            )

    def next_trial(self, participant: str) -> CurrentTrial | None:
        """Return the current trial of a participant, None if there are no more.

        A current trial that has begun was interrupted by a reload. In `pair` and `timed`, where
        exposure is limited, it becomes void, and the next trial is returned; otherwise its images
        are shown again.
        """
        with self._transaction() as db:
            self._touch(participant)
            db.execute(
                "UPDATE trials SET state = iif(protocol IN ('pair', 'timed'), 'void', 'again') "
                "WHERE person = ? AND state = 'begun' AND number NOT IN "
                "(SELECT number FROM answers WHERE person = ?)",
                (participant, participant),
            )
            current = self._current_trial(participant)
            if current is None:
                self._finish(participant)
            return current

    def begin_trial(self, participant: str, number: int) -> None:
        """Record that the images of the current trial are about to be shown.

        Raises:
            TrialNotOpenError: If the trial is not the current one.
        """
        with self._transaction() as db:
            self._touch(participant)
            current = self._current_trial(participant)
            if current is None or current.number != number:
                raise TrialNotOpenError(
                    f"trial {number} is not the current one; request the next trial"
                )
            db.execute(
                "UPDATE trials SET asked_ms = ?, state = iif(state = 'planned', 'begun', state) "
                "WHERE person = ? AND number = ?",
                (current.requested_exposure_ms, participant, number),
            )

    def trial(self, participant: str, number: int) -> Trial:
        """Return a trial of a participant.

        Raises:
            TrialNotOpenError: If there is no such trial.
        """
        with self._lock:
            return self._trial(participant, number)[0]

    def save_response(
        self,
        participant: str,
        number: int,
        chosen: str,
        **measured: Unpack[Measurements],
    ) -> Response:
        """Save a response unless the trial has one; arguments as in `Response`.

        The times of the response are dropped if the images were shown again.

        Returns:
            The saved response, which may be an earlier one.

        Raises:
            TrialNotOpenError: If the trial has not begun, or is void.
        """
        with self._transaction() as db:
            self._touch(participant)
            _, state = self._trial(participant, number)
            if not self._select_responses("WHERE person = ? AND number = ?", participant, number):
                if state not in ("begun", "again"):
                    raise TrialNotOpenError(f"trial {number} is not open; request the next trial")
                if state == "again":
                    measured |= {"reaction_ms": None, "since_onset_ms": None}
                values = [measured.get(name) for name in _MEASUREMENTS]
                db.execute(
                    f"INSERT INTO answers (person, number, chosen, answered, "
                    f"{', '.join(_MEASUREMENTS)}) VALUES (?, ?, ?, ?{', ?' * len(values)})",
                    (participant, number, chosen, _format_time(_now()), *values),
                )
                if self._current_trial(participant) is None:
                    self._finish(participant)
            return self._select_responses("WHERE person = ? AND number = ?", participant, number)[0]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # not if SQLite has already rolled back
                    self._db.execute("ROLLBACK")

    def _touch(self, participant: str) -> None:
        now = _format_time(_now())
        self._db.execute("UPDATE persons SET seen = ? WHERE id = ?", (now, participant))

    def _finish(self, participant: str) -> None:
        self._db.execute(
            "UPDATE persons SET finished = seen WHERE id = ? AND finished IS NULL", (participant,)
        )

    def _select_responses(self, condition: str, *values: Any) -> list[Response]:
        rows = self._db.execute(f"{_SELECT_RESPONSES} {condition}", values)
        fields = [dict(zip(_FIELDS, row, strict=True)) for row in rows]
        return [Response(**f | {"shown": tuple(json.loads(f["shown"]))}) for f in fields]

    def _trial(self, participant: str, number: int) -> tuple[Trial, str]:
        """Return a trial and its state."""
        row = self._db.execute(
            "SELECT protocol, kind, item, shown, state FROM trials WHERE person = ? AND number = ?",
            (participant, number),
        ).fetchone()
        if row is None:
            raise TrialNotOpenError(f"there is no trial {number}; request the next trial")
        protocol, kind, item, shown, state = row
        return Trial(protocol, kind, item, tuple(json.loads(shown))), state

    def _current_trial(self, participant: str) -> CurrentTrial | None:
        row = self._db.execute(
            "SELECT number, (SELECT count(*) FROM trials WHERE person = ?) "
            "FROM trials LEFT JOIN answers USING (person, number) WHERE person = ? "
            "AND state != 'void' AND answered IS NULL ORDER BY number LIMIT 1",
            (participant, participant),
        ).fetchone()
        if row is None:
            return None
        number, total = row
        trial, _ = self._trial(participant, number)
        responses = self._select_responses("WHERE person = ? ORDER BY number", participant)
        return CurrentTrial(number, total, trial, requested_exposure_ms(trial, responses))

    def _enrolment(self) -> Enrolment:
        (withdrawn,) = self._db.execute(
            "SELECT coalesce(sum(n), 0) FROM counts WHERE name = 'withdrawn'"
        ).fetchone()
        present, finished, active = self._db.execute(
            "SELECT count(*), total(finished IS NOT NULL AND id IN (SELECT person FROM answers)), "
            "total(finished IS NULL AND seen > ?) FROM persons",
            (_format_time(_now() - INACTIVITY_TIMEOUT),),
        ).fetchone()
        rows = self._db.execute(
            "SELECT protocol, iif(answered IS NOT NULL, 'answered', iif(state = 'void', 'void', "
            "'unanswered')) AS outcome, count(*), sum(answered IS NOT NULL AND state = 'again') "
            "FROM trials LEFT JOIN answers USING (person, number) WHERE kind = 'test' "
            "GROUP BY protocol, outcome"
        ).fetchall()
        return Enrolment(
            consented=present + withdrawn,
            withdrawn=withdrawn,
            finished=int(finished),
            active=int(active),
            trials={(protocol, outcome): n for protocol, outcome, n, _ in rows},
            repeated={protocol: n for protocol, outcome, _, n in rows if outcome == "answered"},
        )

    def _count_stimuli(self, active_since: datetime) -> Counter[Stimulus]:
        """Count the stimuli of test trials that are complete, or expected to be.

        Args:
            active_since: Trials of participants without requests since then are not expected.
        """
        rows = self._db.execute(
            "SELECT protocol, item, shown, count(*) FROM trials "
            "JOIN persons ON persons.id = person LEFT JOIN answers USING (person, number) "
            "WHERE kind = 'test' AND (answered IS NOT NULL OR state != 'void' AND seen > ?) "
            "GROUP BY protocol, item, shown",
            (_format_time(active_since),),
        )
        counts: Counter[Stimulus] = Counter()
        for protocol, item, shown, count in rows:
            counts[protocol, item, frozenset(json.loads(shown))] += count
        return counts


def _now() -> datetime:
    return datetime.now(UTC)


def _format_time(time: datetime) -> str:
    """Return ISO 8601 of fixed length, which sorts by time."""
    return time.isoformat(timespec="milliseconds")

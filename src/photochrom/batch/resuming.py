"""Resume a batch from its report: what is finished, and what has changed since."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from photochrom.batch.locations import new_resolver
from photochrom.batch.planning import Job, Plan
from photochrom.batch.report import Result, read_report

Finished = Mapping[tuple[str, str], Result]
"""Results by resolved input and output."""


def read_finished(report: Path) -> Finished:
    """Return the last results of the photos that a report lists as done, skipped or ignored.

    Raises:
        PhotochromError: As `read_report`.
    """
    resolve = new_resolver()
    return {
        _key(result, resolve): result for result in read_report(report) if result.status != "failed"
    }


def _key(item: Job | Result, resolve: Callable[[str], str]) -> tuple[str, str]:
    return resolve(str(item.input)), "" if item.output is None else resolve(str(item.output))


def skip_finished(
    plan: Plan,
    finished: Finished,
    *,
    checksum: bool = False,
    overwrite: bool = False,
    recolor: bool = False,
) -> Plan:
    """Return a plan without what is finished.

    A photo whose output no longer exists is colorized again. So is a photo that has changed, or
    whose hints have, if its output is as it was written. If somebody has changed the output as
    well, or the output existed before the report, the photo fails.

    Args:
        plan: Of the whole batch.
        finished: From `read_finished`. A result without versions, of an earlier version of
            photochrom, is taken for unchanged.
        checksum: Whether files of equal size and time are compared by their SHA-256.
        overwrite: Whether an output may be replaced that somebody has changed.
        recolor: Whether photos are colorized that were ignored since they are in colour.
    """
    resolve = new_resolver()
    jobs = []
    results = [
        result
        for result in plan.results
        if result.status == "failed" or _key(result, resolve) not in finished
    ]
    for job in plan.jobs:
        earlier = finished.get(_key(job, resolve))
        if earlier is not None and earlier.status == "ignored":  # it is in colour
            version = earlier.input_version
            is_asked_for = recolor or bool(job.hints)
            if is_asked_for or version is None or not job.is_input(version, checksum):
                jobs.append(job)
        elif earlier is None or not job.has_output():
            jobs.append(job)
        elif earlier.hints == job.hints and (
            earlier.input_version is None or job.is_input(earlier.input_version, checksum)
        ):
            if earlier.status == "skipped" and (job.is_outdated() or job.hints):
                jobs.append(job)  # is skipped again, which says so
        elif overwrite:
            jobs.append(job)
        elif earlier.output_version and job.is_output(earlier.output_version, checksum):
            jobs.append(dataclasses.replace(job, replaces=earlier.output_version))
        elif earlier.output_version:
            results.append(changed_output(job))
        else:
            results.append(_unknown_output(job))
    return Plan(jobs, results)


def changed_output(job: Job) -> Result:
    """Return the result of a changed photo whose output is not as it was written."""
    return job.failed(
        f"{job.input} has changed or has other hints, but {job.output} is not as this report says "
        "that it was written; move it, or replace it with --overwrite"
    )


def _unknown_output(job: Job) -> Result:
    """Return the result of a changed photo whose output existed before this report."""
    return job.failed(
        f"{job.input} has changed or has other hints, and this report cannot tell whether "
        f"{job.output} is its result; move it, or replace it with --overwrite"
    )


def skipped(job: Job, *, checksum: bool = False) -> Result:
    """Return the result of a photo whose output exists."""
    reason = f"{job.output} exists"
    if job.is_outdated():
        reason += ", but the photo is newer; replace it with --overwrite"
    elif job.hints:
        reason += ", perhaps with other hints; replace it with --overwrite"
    version = job.read_input_version(checksum)
    return Result(
        job.input,
        job.output,
        "skipped",
        0.0,
        reason=reason,
        input_version=version,
        hints=job.hints,
    )

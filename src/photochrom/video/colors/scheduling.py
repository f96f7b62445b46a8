"""Run the tasks of a video: learn the colours of each shot, then colorize its segments."""

import functools
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import groupby

import cv2

from photochrom.batch.process_pool import WorkerDiedError, WorkerPool
from photochrom.cores import count_cores
from photochrom.errors import VideoError
from photochrom.video.colors import checkpoint
from photochrom.video.colors.checkpoint import segment_path
from photochrom.video.colors.segment import LearnColors, SegmentSettings, Task
from photochrom.video.shots.analysis import ProgressCallback, VideoAnalysis
from photochrom.video.shots.splitting import Segment, shot_segment

_POLL_SECONDS = 1.0
"""Between two calls of `progress` while processes work."""
_TIMEOUT, _TIMEOUT_PER_FRAME = 900.0, 5.0
"""In seconds: a process that works longer on a task is killed."""


def colorize_segments(
    segments: list[Segment],
    analysis: VideoAnalysis,
    settings: SegmentSettings,
    processes: int | None,
    progress: ProgressCallback,
) -> None:
    """Colorize the segments that have no file yet.

    Raises:
        VideoError: If one cannot be colorized.
    """
    folder, encoding = settings.folder, settings.encoding
    todo = [one for one in segments if not segment_path(folder, one, encoding).exists()]
    total, remaining = (sum(one.count for one in group) for group in (segments, todo))
    learned = sum(one.count for one in todo if checkpoint.colors_path(folder, one).exists())
    counter = checkpoint.pass_counter(folder)
    counter.reset()

    def report_progress() -> None:
        # A frame is done after two passes: its shot's colours are learned, and it is colorized.
        done = total - remaining + (learned + counter.read()) // 2
        progress("colorizing", min(done, total), total)

    report_progress()
    queue = _Queue(todo, analysis, settings)
    processes = min(processes or count_cores(), len(todo))
    if processes > 1:
        load_model = functools.partial(settings.load_model, counter.add)
        longest = max(one.shot.stop - one.shot.first for one in todo)
        timeout = max(_TIMEOUT, _TIMEOUT_PER_FRAME * longest)
        with WorkerPool(load_model, processes=processes, timeout=timeout, pin_cores=True) as pool:
            pending: dict[Future[str | None], Task] = {}
            while True:
                for task in queue.take(processes - len(pending)):
                    pending[pool.submit(task)] = task
                if not pending:
                    break
                done = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED).done
                report_progress()
                for future in done:
                    task = pending.pop(future)
                    _raise_error(future, task)
                    queue.finish(task)
    elif todo:  # in this process, as starting another takes longer

        def on_pass(count: int) -> None:
            counter.add(count)
            report_progress()

        threads = cv2.getNumThreads()
        try:
            work = settings.load_model(on_pass)
            while tasks := queue.take(1):
                error = work(tasks[0])
                if error is not None:
                    raise VideoError(error)
                queue.finish(tasks[0])
        finally:
            cv2.setNumThreads(threads)
    checkpoint.remove_colors(folder)


def _raise_error(future: Future[str | None], task: Task) -> None:
    try:
        error = future.result()
    except WorkerDiedError as death:
        segment = task.frames if isinstance(task, LearnColors) else task
        error = f"segment {segment.name}: {death}"
    if error is not None:
        raise VideoError(error)


class _Queue:
    """The tasks in their order; a segment that can be colorized goes before the next shot."""

    def __init__(
        self, segments: Iterable[Segment], analysis: VideoAnalysis, settings: SegmentSettings
    ) -> None:
        self._folder = settings.folder
        self._ready: deque[Segment] = deque()
        self._waiting: deque[LearnColors] = deque()
        self._segments: dict[str, list[Segment]] = {}
        """Of the shots whose colours are to be learned, by the name of the shot."""
        for name, group in groupby(segments, key=lambda one: one.shot_name):
            of_shot = list(group)
            path = checkpoint.colors_path(self._folder, of_shot[0])
            if not settings.steady or of_shot[0].shot.is_colored or path.exists():
                self._ready += of_shot
            else:
                self._segments[name] = of_shot
                self._waiting.append(LearnColors(shot_segment(analysis, of_shot[0].shot)))
        self._left = Counter(one.shot_name for one in segments)

    def take(self, count: int) -> list[Task]:
        """Return up to a number of tasks that can be done now."""
        tasks: list[Task] = []
        while len(tasks) < count and (self._ready or self._waiting):
            tasks.append(self._ready.popleft() if self._ready else self._waiting.popleft())
        return tasks

    def finish(self, task: Task) -> None:
        """Note that a task is done."""
        if isinstance(task, LearnColors):
            self._ready += self._segments.pop(task.frames.shot_name)
            return
        self._left[task.shot_name] -= 1
        if not self._left[task.shot_name]:
            checkpoint.discard(checkpoint.colors_path(self._folder, task))

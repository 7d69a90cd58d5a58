"""A student learns later data: taught, compiled, measured, held to the run's budget, kept as a version."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.candidate import Student
from results.finalists import compared_on
from results.goals import goals_of
from results.measurement import Measurement
from results.store import RunStore
from results.updates import REPLAY, Version, Versions
from search.checks import check_names
from search.config import SearchConfig, load_config
from search.display import Display
from search.former import Former, open_former, untaught
from search.plan import Plan
from search.preparation import CACHE
from understudy import RunError

if TYPE_CHECKING:
    from torch import nn

    from evaluators.lifelong.learn import Kept, Lesson
    from evaluators.lifelong.memory import How
    from evaluators.tasks.image_task import ImageTask
    from evaluators.workbench import Workbench


@dataclass(frozen=True)
class Request:
    """What is learnt and how: the data as named for a search; at most ``replay`` earlier images, which ``how``
    chooses, are shown again; ``epochs`` is None for what suits the data."""

    data: str
    replay: int = 200
    how: How = "herding"
    epochs: int | None = None
    skip_bad: bool = False


def update(store: RunStore, number: int, request: Request, display: Display) -> Version:
    """Teach the student in use of that number the requested data, and make the result the version in use.

    Nothing of the run is changed before all is done. Raises ``DataError`` for data that do not fit, ``RunError``
    when the student would be out of the run's budget, and ``UnderstudyError`` when a stage fails.
    """
    path = store.path
    config = load_config(path / "config.yaml", {"runs": str(path.parent), "name": path.name})
    before = open_former(store, config, number, display)
    lesson = _lesson(before, config, request, path, display)
    plan = _plan(config, path, lesson.task)
    bench = plan.open()
    versions = Versions(path)
    versions.folder.mkdir(exist_ok=True)
    for leftover in versions.folder.glob(".draft-*"):
        shutil.rmtree(leftover, ignore_errors=True)  # of an update that was killed; the run's lock is ours
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=versions.folder))
    try:
        network, val_accuracy = _teach(before, lesson, plan, bench, request, display)
        with display.stage("what was gained and what was forgotten"):
            kept = lesson.kept(network, bench.working)
        student = _deliver(
            before, lesson, bench, network, val_accuracy, draft, versions.next_number(), request, display
        )
        learnt = {"accuracy": val_accuracy, "test_accuracy": _test_accuracy(lesson, kept)}
        shares = {name: Measurement(share, "share") for name, share in learnt.items()}
        student = _within_budget(replace(student, measurements={**shares, **student.measurements}), store)
        version = _version(versions.next_number(), before, lesson, bench, student, kept, request)
        draft.chmod(0o755)
        versions.add(version, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for target in bench.targets:
            target.close()
    return version


def _lesson(before: Former, config: SearchConfig, request: Request, path: Path, display: Display) -> Lesson:
    from evaluators.lifelong.labels import join_classes
    from evaluators.lifelong.later import load_later
    from evaluators.lifelong.learn import make_lesson
    from evaluators.lifelong.memory import Memory

    cache = path.parent / CACHE
    with display.stage(f"data {request.data}"):
        later = load_later(
            request.data,
            cache=cache,
            seed=config.seed,
            image_size=before.like.image_size,
            on_bad="skip" if request.skip_bad else "refuse",
        )
        classes = join_classes(before.labels, later.labels)
        stored = path / before.student.files.get(REPLAY, REPLAY)
        memory = Memory.load(stored) if before.earlier is None and stored.exists() and request.replay else None
        lesson = make_lesson(
            before.network,
            later,
            classes,
            before.like,
            earlier=before.earlier,
            memory=memory,
            count=request.replay,
            how=request.how,
            seed=config.seed,
            cache=cache,
        )
    for text in (*later.notes, *_remarks(lesson)):
        display.note(f"note: {text}")
    return lesson


def _remarks(lesson: Lesson) -> list[str]:
    """What the user should know before the training."""
    classes, remarks = lesson.classes, []
    if classes.absent:
        remarks.append(
            f"the new data have nothing of {len(classes.absent)} of the {classes.known} classes that the student "
            f"knows ({', '.join(classes.absent[:5])}{', ...' if len(classes.absent) > 5 else ''})"
        )
    replayed = len(lesson.memory) if lesson.memory else 0
    if not replayed:
        remarks.append(
            "no earlier images are shown again: only its own former answers remind the student of what it knows, "
            "which forgets much more"
        )
    elif replayed < 2 * classes.known:
        remarks.append(
            f"only {replayed} earlier images are shown again, for {classes.known} classes: expect forgetting"
        )
    return remarks


def _plan(config: SearchConfig, path: Path, task: ImageTask) -> Plan:
    from evaluators.latency.quiet import QuietCores

    return Plan(
        config=replace(config, tune=None),
        folder=Path.cwd(),
        run=path.resolve(),
        task=task.folder,
        profiles=check_names(config),
        views=0,
        lock=QuietCores.of_this_computer().path,
        cache=path.resolve().parent / CACHE,
    )


def _teach(
    before: Former, lesson: Lesson, plan: Plan, bench: Workbench, request: Request, display: Display
) -> tuple[nn.Module, float]:
    """The student grown by the new classes and taught, and its accuracy on the validation split."""
    from evaluators.distill.allocator import keep_freed_memory
    from evaluators.lifelong.growth import grow
    from evaluators.lifelong.learn import teach

    keep_freed_memory()
    network = untaught(plan.config, before.student, before.like, lesson.task.classes)
    grow(network, before.network.state_dict(), lesson.classes.known, lesson.task.classes)
    known, new, replayed = lesson.classes.known, len(lesson.classes.new), len(lesson.memory or ())
    title = f"learning {new} new classes beside {known} with {replayed} earlier images"
    with display.stage(title) as advance:
        trained = teach(
            lesson,
            network,
            seed=plan.config.seed,
            cache=plan.run.parent / CACHE,
            epochs=request.epochs,
            guard=bench.working,
            on_epoch=lambda figures: advance(figures.epoch, figures.epochs),
        )
    return network, trained.val_accuracy


def _deliver(
    before: Former,
    lesson: Lesson,
    bench: Workbench,
    network: nn.Module,
    val_accuracy: float,
    draft: Path,
    number: int,
    request: Request,
    display: Display,
) -> Student:
    """The taught network compiled, compared, measured and written into the draft, as a search's students are."""
    from evaluators.delivery import deliver
    from evaluators.lifelong.learn import choose_memory
    from evaluators.stages import Stages
    from results.updates import FOLDER

    stages, count = Stages(), max(Request.replay, len(lesson.memory or ()))
    with display.stage("compiling and measuring"):
        made = deliver(bench, network, before.like.resolution, val_accuracy, draft, stages)
        memory = choose_memory(network, lesson.task, before.like, count, request.how, bench.seed)
        memory.save(draft / REPLAY)
    return Student(
        number=before.student.number,
        choice=before.student.choice,
        key=before.student.key,
        measurements=made.figures,
        before=before.student.measurements,
        on_front=True,
        note="",
        files={name: f"{FOLDER}/{number}/{file}" for name, file in {**made.files, REPLAY: REPLAY}.items()},
        preprocess=before.student.preprocess,
        seconds=stages.seconds,
    )


def _within_budget(student: Student, store: RunStore) -> Student:
    (standing,) = compared_on([student], goals_of(store.facts()))
    if not standing.on_front:
        raise RunError(
            f"student #{student.number} would not keep the run's budget after the update: {standing.note}. "
            "The one in use stays; choose a smaller student (--student), or search anew with all data"
        )
    return standing


def _test_accuracy(lesson: Lesson, kept: Kept) -> float:
    """Over all test images, earlier and later."""
    parts = [(kept.later_after, lesson.later.size("test"))]
    if lesson.earlier is not None and kept.earlier_after is not None:
        parts.append((kept.earlier_after, lesson.earlier.size("test")))
    return sum(share * size for share, size in parts) / sum(size for _, size in parts)


def _version(
    number: int,
    before: Former,
    lesson: Lesson,
    bench: Workbench,
    student: Student,
    kept: Kept,
    request: Request,
) -> Version:
    from evaluators.lifelong.learn import find_drift

    told: Mapping[str, Any] = find_drift(lesson, bench.seed, bench.working).to_json()
    return Version(
        number=number,
        parent=before.version,
        student=student,
        labels=lesson.classes.labels,
        data=request.data,
        fingerprint=lesson.task.fingerprint,
        kept=asdict(kept),
        replayed=len(lesson.memory or ()),
        drift=told,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )

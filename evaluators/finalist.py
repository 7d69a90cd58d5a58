"""The end of a search for one student of the front: the full schedule, compiled, measured, exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from evaluators.candidate import build_student, share_figures, teach
from evaluators.confusion import FILE as CONFUSION
from evaluators.confusion import write_confusion
from evaluators.continuations import FILE as CONTINUATIONS
from evaluators.continuations import write_continuations
from evaluators.delivery import deliver
from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import predict_logits
from evaluators.distill.method_text import method_text
from evaluators.distill.methods.response import HardLabels
from evaluators.examples import FILE, write_examples
from evaluators.quantise.finished import Quantised, quantised_facts
from evaluators.quantise.integer import delivered
from evaluators.question_examples import write_question_examples
from evaluators.stages import Stages
from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.map_task import MapTask
from evaluators.tasks.question_task import QuestionTask
from evaluators.tasks.text_task import TextTask
from evaluators.text_examples import FILE as TEXTS
from evaluators.text_examples import write_text_examples
from evaluators.workbench import Workbench
from results.candidate import Candidate, Student
from results.measurement import unit_of
from spaces.choice import Choice


def finish_student(bench: Workbench, candidate: Candidate, run: Path, compare_scratch: bool) -> Student:
    """Teach a candidate of the front to the full schedule, from what it inherited where there is a supernet.

    It is delivered into ``run/students/<number>``.
    Its weights, its ONNX twin (checked against torch under onnxruntime) and its compiled library are
    written there. Whether it is still on the front is the caller's to say once all finalists are known.
    Raises ``UnderstudyError`` when a stage fails.
    """
    choice, number = Choice(candidate.choice), candidate.number
    resolution = bench.space.resolution(choice)
    folder = run / "students" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    stages, distiller = Stages(), bench.distiller_for(choice)
    with stages.stage("train"):
        trained, learnt, logits = _taught(bench, choice, number, distiller)
    with stages.stage("scratch"):
        apart = compare_scratch and (bench.supernet is not None or distiller != HardLabels())
        blank = replace(bench, supernet=None)
        alone = _taught(blank, choice, number, HardLabels())[1] if apart else learnt
    made = deliver(bench, trained, resolution, learnt["val"], folder, stages)
    in_whole = (
        quantised_facts(made.bench, choice, trained, folder, stages) if made.quantised else Quantised({}, {})
    )
    files = {**made.files, **_examples(bench, trained, logits, folder)}
    broken = made.bench.goals.violation(made.figures)
    figures = share_figures(
        unit_of(bench.task.metric),
        accuracy=learnt["val"],
        test_accuracy=learnt["test"],
        agreement=learnt.get("agreement"),
        scratch_accuracy=alone["test"] if compare_scratch else None,
    )
    return Student(
        number=number,
        choice=dict(choice),
        key=candidate.key,
        measurements={**figures, **made.figures, **in_whole.figures},
        before=dict(candidate.measurements),
        on_front=broken is None,
        note=broken or "",
        files={name: str(Path("students") / str(number) / file) for name, file in files.items()},
        preprocess=made.preprocess,
        seconds=stages.seconds,
        taught_by=method_text(distiller),
        quantised=in_whole.facts,
    )


def _taught(
    bench: Workbench, choice: Choice, number: int, distiller: Distiller
) -> tuple[nn.Module, dict[str, float], Tensor]:
    """A student fully taught, its accuracies and agreement with the teacher itself, its logits on test."""
    network = build_student(bench, choice, number)
    trained = teach(bench, network, choice, number, distiller, bench.final_schedule)
    logits = predict_logits(
        delivered(network), bench.task, "test", bench.space.resolution(choice), guard=bench.working
    )
    figures = {"val": trained.val_accuracy, "test": bench.task.score(logits, bench.task.targets("test"))}
    if bench.reference is not None:
        figures["agreement"] = bench.task.agreement(logits, np.array(bench.reference.logits("test")))
    return network, figures, logits


def _examples(bench: Workbench, trained: nn.Module, logits: Tensor, folder: Path) -> dict[str, str]:
    """What a student answers on test, where people can see it: masks, boxes, texts, classes; by what they are."""
    if isinstance(bench.task, LanguageTask):
        network = None if bench.reference is None else bench.teacher.module
        write_continuations(bench.task, trained, network, folder / CONTINUATIONS)
        return {"continuations": CONTINUATIONS}
    teacher = None if bench.reference is None else np.array(bench.reference.logits("test"))
    if isinstance(bench.task, MapTask):
        write_examples(bench.task, logits, teacher, folder / FILE)
        return {"examples": FILE}
    if bench.task.dense:
        return {}
    write_confusion(bench.task, logits, folder / CONFUSION)
    if isinstance(bench.task, TextTask):
        write_text_examples(bench.task, logits, teacher, folder / TEXTS)
        return {"confusion": CONFUSION, "texts": TEXTS}
    if isinstance(bench.task, QuestionTask):
        write_question_examples(bench.task, logits, teacher, folder / TEXTS)
        return {"confusion": CONFUSION, "texts": TEXTS}
    return {"confusion": CONFUSION}

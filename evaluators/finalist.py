"""The end of a search for one student of the front: the full schedule, compiled, measured, exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from torch import nn

from evaluators.candidate import build_student, candidate_seed, real_inputs, share_figures
from evaluators.cost import cost_of, library_name
from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import accuracy, agreement, predict_logits
from evaluators.distill.method_text import method_text
from evaluators.distill.methods.response import HardLabels
from evaluators.distill.trainer import train_student
from evaluators.half_precision import keep_precise
from evaluators.onnx_twin import check_onnx, export_onnx
from evaluators.quantise.finished import Quantised, quantised_facts
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import has_integers, tolerance_of
from evaluators.quantise.phases import phases
from evaluators.stages import Stages
from evaluators.workbench import Workbench
from results.candidate import Candidate, Student
from results.goals import LIBRARY
from spaces.choice import Choice

FILES = {"weights": "weights.safetensors", "onnx": "student.onnx"}


def finish_student(bench: Workbench, candidate: Candidate, run: Path, compare_scratch: bool) -> Student:
    """Teach a candidate of the front to the full schedule and deliver it into ``run/students/<number>``.

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
        trained, learnt = _taught(bench, choice, number, distiller)
    with stages.stage("scratch"):
        apart = compare_scratch and distiller != HardLabels()
        alone = _taught(bench, choice, number, HardLabels())[1] if apart else learnt
    network, inputs = delivered(trained), real_inputs(bench, resolution)
    bench, half = keep_precise(bench, network, resolution, learnt["val"])
    cost = cost_of(bench, network, inputs, folder, stages)
    with stages.stage("export_onnx"), bench.working():
        export_onnx(network, inputs[:1], folder / FILES["onnx"])
        integers, tolerance = has_integers(network), tolerance_of(network)
        check_onnx(folder / FILES["onnx"], network, inputs, tolerance=tolerance, as_written=integers)
    in_integers = quantised_facts(bench, choice, trained, folder, stages) if integers else Quantised({}, {})
    save_file(trained.state_dict(), folder / FILES["weights"])
    files = FILES | {target.goal.name(LIBRARY): library_name(target.goal) for target in bench.targets}
    broken = bench.goals.violation(cost)
    figures = share_figures(
        accuracy=learnt["val"],
        test_accuracy=learnt["test"],
        agreement=learnt.get("agreement"),
        scratch_accuracy=alone["test"] if compare_scratch else None,
    )
    return Student(
        number=number,
        choice=dict(choice),
        key=candidate.key,
        measurements={**figures, **half, **cost, **in_integers.figures},
        before=dict(candidate.measurements),
        on_front=broken is None,
        note=broken or "",
        files={name: str(Path("students") / str(number) / file) for name, file in files.items()},
        preprocess=bench.task.preprocess(resolution),
        seconds=stages.seconds,
        taught_by=method_text(distiller),
        quantised=in_integers.facts,
    )


def _taught(
    bench: Workbench, choice: Choice, number: int, distiller: Distiller
) -> tuple[nn.Module, dict[str, float]]:
    """A student after the full schedule, its accuracies and its agreement with the teacher on test."""
    network = build_student(bench, choice, number)
    resolution = bench.space.resolution(choice)
    trained = train_student(
        network,
        bench.task,
        resolution=resolution,
        distiller=distiller,
        teacher_outputs=bench.teacher_outputs,
        schedule=bench.final_schedule,
        seed=candidate_seed(bench.seed, number),
        device=bench.torch_device,
        step_guard=bench.working,
        on_epoch=phases(network, bench.task, resolution, bench.final_schedule.epochs, bench.working),
        teacher=bench.teacher_for(distiller),
    )
    logits = predict_logits(delivered(network), bench.task, "test", resolution, guard=bench.working)
    figures = {"val": trained.val_accuracy, "test": accuracy(logits, bench.task.targets("test"))}
    if bench.teacher_outputs is not None:
        figures["agreement"] = agreement(logits, np.array(bench.teacher_outputs.logits("test")))
    return network, figures

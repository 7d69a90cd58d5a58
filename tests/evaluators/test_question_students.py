"""Students and teachers of questions about pictures: compiled, exported, taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.compile.compiler import compile_network
from evaluators.compile.export import import_network
from evaluators.compile.verify import compare, expected_outputs
from evaluators.cost import as_arrays, one_by_one
from evaluators.distill.catalogue import load_distiller
from evaluators.distill.places import check_answers
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.distill.trainer import train_student
from evaluators.onnx_twin import check_onnx, export_onnx
from evaluators.tasks.load import load_task
from evaluators.tasks.question_task import QuestionTask
from evaluators.teachers.answers import AnswerNet
from evaluators.teachers.builtin import builtin_teacher
from evaluators.teachers.load import load_teacher
from evaluators.teachers.teacher import Teacher
from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent, as_tuple
from spaces.batch import sliced
from spaces.catalogue import load_space
from spaces.space import Space
from tests.question_pictures import draw_questions
from understudy import ConfigError, SpaceError, TeacherError

PROFILE = load_profile("x86-host").with_threads(1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def task(cache: Path) -> QuestionTask:
    folder = draw_questions(cache / "shapes", 30, side=32)
    task = load_task(str(folder), cache=cache, seed=0)
    assert isinstance(task, QuestionTask)
    return task


@pytest.fixture(scope="module")
def space(task: QuestionTask) -> Space:
    return load_space(task.space, **task.sizes)


@pytest.fixture(scope="module")
def teacher(task: QuestionTask, cache: Path) -> Teacher:
    return builtin_teacher(task, cache=cache, seed=0, epochs=1)


def test_students_compile_and_have_a_twin(task: QuestionTask, space: Space, tmp_path: Path) -> None:
    choice = {**space.smallest(), "fusion.merge": "modulation", "question.depth": 1}
    network = space.build(choice).eval()
    inputs = task.batch("val", np.arange(3), space.resolution(choice))
    compiled = compile_network(network, sliced(inputs, 0, 1), PROFILE, tmp_path / "student.so")
    assert [each.dtype for each in compiled.inputs] == ["float32", "int64"]
    student = CompiledStudent(tmp_path / "student.so", 1)
    answers = np.concatenate([student(*each) for each in one_by_one(as_arrays(inputs))])
    compare(expected_outputs(network, *inputs), answers)
    export_onnx(network, sliced(inputs, 0, 1), tmp_path / "student.onnx")
    check_onnx(tmp_path / "student.onnx", network, inputs)


@pytest.mark.parametrize("method", ["soft-targets", "hints", "mutual"])
def test_students_learn_from_answers_and_maps(
    task: QuestionTask, space: Space, teacher: Teacher, cache: Path, method: str
) -> None:
    choice = space.smallest()
    outputs = compute_outputs(teacher, task, views=1, cache=cache)
    trained = train_student(
        space.build(choice),
        task,
        resolution=space.resolution(choice),
        distiller=load_distiller(method),
        teacher_outputs=outputs,
        schedule=Schedule(1, 32, 1e-3, views=1, optimiser="adamw"),
        seed=0,
        teacher=teacher,
        reference=outputs,
    )
    assert 0 <= trained.val_accuracy <= 1
    assert trained.agreement is not None


def test_what_is_for_others_is_refused(task: QuestionTask, space: Space) -> None:
    with pytest.raises(ConfigError, match="compares the tokens of texts"):
        check_answers(load_distiller("minilm"), task)
    with pytest.raises(ConfigError, match="compares the neighbourhoods of a graph"):
        check_answers(load_distiller("local-structure"), task)
    with pytest.raises(SpaceError, match="reads no questions: use --space answer"):
        load_space("mobile", **task.sizes)
    with pytest.raises(SpaceError, match="is for pictures with questions"):
        load_space("answer", channels=3, image_size=32, classes=3)


def test_the_built_in_teacher_takes_both_and_compiles(
    task: QuestionTask, teacher: Teacher, tmp_path: Path
) -> None:
    samples = task.images("val", np.arange(1), task.image_size)
    assert teacher.logits(samples).shape == (1, task.classes)
    assert teacher.module is not None
    compile_network(teacher.module, samples, PROFILE, tmp_path / "teacher.so")
    answer = CompiledStudent(tmp_path / "teacher.so", 1)(*as_tuple(as_arrays(samples)))
    compare(expected_outputs(teacher.module, *samples), answer)


def save_vilt(folder: Path, task: QuestionTask, answers: list[str]) -> Path:
    from transformers import ViltConfig, ViltForQuestionAnswering

    config = ViltConfig(
        vocab_size=task.questions.channels + 1,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        max_position_embeddings=40,
        id2label=dict(enumerate(answers)),
    )
    ViltForQuestionAnswering(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in task.questions.tokenizer.pieces))
    return folder


def test_a_vilt_teaches_the_answers_that_are_asked_for(task: QuestionTask, cache: Path, tmp_path: Path) -> None:
    from transformers import ViltForQuestionAnswering

    answers = ["unheard", *reversed(task.labels)]
    folder = save_vilt(tmp_path / "vilt", task, answers)
    with (folder / "vocab.txt").open("a") as stream:
        stream.write("##unseen\n")
    with pytest.raises(TeacherError, match="not the one that the questions were cut by"):
        load_teacher(str(folder), None, task)
    cut = load_task(str(cache / "shapes"), cache=cache, seed=0, teacher=str(folder))
    assert isinstance(cut, QuestionTask)
    teacher = load_teacher(str(folder), None, cut)
    images, ids = cut.images("val", np.arange(3), teacher.resolution)
    mean, std = (torch.tensor(figure).view(1, 3, 1, 1) for figure in (task.mean, task.std))
    whole = ViltForQuestionAnswering.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = whole(input_ids=ids, attention_mask=(ids != 0).long(), pixel_values=(images - mean) / std).logits
    expected = theirs[:, [answers.index(label) for label in task.labels]]
    torch.testing.assert_close(teacher.logits((images, ids)), expected, atol=1e-5, rtol=1e-4)
    assert teacher.module is not None
    import_network(teacher.module, (images[:1], ids[:1]))


def test_a_vilt_that_does_not_fit_is_refused(task: QuestionTask, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="does not know the answer"):
        load_teacher(str(save_vilt(tmp_path / "few", task, ["yes", "no"])), None, task)
    for name in ("teacher.pt2", "teacher.onnx"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(TeacherError, match="--teacher-model"):
            load_teacher(str(tmp_path / name), None, task)


def test_weights_of_a_users_network_teach(task: QuestionTask, tmp_path: Path, teacher: Teacher) -> None:
    code = (
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.see = torch.nn.Conv2d(3, 8, 3)\n"
        "        self.read = torch.nn.Embedding(1000, 8)\n"
        f"        self.say = torch.nn.Linear(8, {task.classes})\n"
        "    def forward(self, picture, question):\n"
        "        return self.say(self.see(picture).mean((2, 3)) * self.read(question).mean(1))\n"
    )
    (tmp_path / "own.py").write_text(code)
    own = load_teacher(f"{tmp_path / 'own.py'}:Net", None, task)
    assert own.logits(task.images("val", np.arange(2), own.resolution)).shape == (2, task.classes)
    assert isinstance(teacher.module, torch.nn.Module)
    assert isinstance(teacher.module.network, AnswerNet)

"""Students and teachers that go on with texts: one network asked in three ways, and GPT-2's weights in it."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from evaluators import candidate
from evaluators.distill.beginning import begin_from_teacher
from evaluators.distill.catalogue import load_distiller
from evaluators.distill.evaluate import predict_logits
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.load import load_task
from evaluators.teachers import language as teachers
from evaluators.teachers.builtin import builtin_teacher
from evaluators.teachers.load import load_teacher
from evaluators.workbench import Workbench
from spaces.catalogue import load_space
from spaces.decoder import Decoder
from spaces.space import random_choice
from understudy import ConfigError, SpaceError, TeacherError

TEXT = "".join(f"The {['cat', 'dog', 'cow'][n % 3]} sat on mat {n % 10}, then it slept.\n" for n in range(300))


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    path.write_text(TEXT)
    return path


def loaded(path: Path, **given: object) -> LanguageTask:
    task = load_task(str(path), cache=path.parent / "cache", seed=0, **{"image_size": 16, **given})  # type: ignore
    assert isinstance(task, LanguageTask)
    return task


def test_prompt_and_steps_give_what_the_whole_window_gives() -> None:
    torch.manual_seed(0)
    network = Decoder(50, 12, embedding=8, width=16, heads=2, feed=2, layers=2).eval()
    ids, start = torch.randint(50, (3, 12)), 5
    with torch.no_grad():
        whole = network(ids)
        torch.testing.assert_close(network(ids[:, :7]), whole[:, :7])
        logits, cache = network.prefill(ids, torch.tensor([start - 1]))
        torch.testing.assert_close(logits, whole[:, start - 1])
        cache[:, :, :, start:] = 7.0  # what is there must not be seen
        for place in range(start, 12):
            logits, new = network.step(ids[:, place], torch.tensor([place]), cache)
            torch.testing.assert_close(logits, whole[:, place])
            cache[:, :, :, place] = new


def test_the_space_builds_decoders_of_all_its_sizes() -> None:
    space = load_space("language", channels=300, image_size=16, classes=300, tokens=True, dense=True)
    for seed in range(3):
        choice = random_choice(space, random.Random(seed))
        network = space.build(choice)
        assert network(torch.zeros(2, 16, dtype=torch.int64)).shape == (2, 16, 300)
        assert space.resolution(choice) == 16
    assert dict(space.smallest()) == {"embedding": 32, "width": 64, "heads": 2, "feed": 1, "layers": 1}


def test_other_spaces_and_methods_are_refused(prose: Path) -> None:
    for spec in ("text", "mobile", "nni:AutoFormer", "own.py:Space"):
        with pytest.raises(SpaceError, match="use --space language"):
            load_space(spec, channels=300, image_size=16, classes=300, tokens=True, dense=True)
    with pytest.raises(SpaceError, match="is for plain text"):
        load_space("language", channels=300, image_size=16, classes=2, tokens=True)
    from evaluators.distill.places import check_answers

    for name, said in (("hints", "not for answers to each place"), ("channel-wise", "maps")):
        with pytest.raises(ConfigError, match=said):
            check_answers(load_distiller(name), loaded(prose))


def test_a_teacher_is_trained_once_and_a_student_learns_from_it(
    prose: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LAYERS", 1), ("WIDTH", 32)):
        monkeypatch.setattr(teachers, name, value)
    task = loaded(prose)
    cache = prose.parent / "cache"
    teacher = builtin_teacher(task, cache=cache, seed=0, epochs=6)
    assert teacher.name == "builtin-gpt"
    outputs = compute_outputs(teacher, task, views=0, cache=cache)
    taught = np.array(outputs.logits("test"))
    assert task.score(taught, task.targets("test")) > 0.2
    space = load_space("language", **task.sizes)
    with seeded(0):
        student = space.build(space.smallest())
    trained = train_student(
        student,
        task,
        resolution=16,
        distiller=load_distiller(task.distill),
        teacher_outputs=outputs,
        schedule=task.search_schedule(6),
        seed=0,
        reference=outputs,
    )
    assert trained.val_accuracy > 10 / task.classes
    assert trained.agreement is not None
    assert trained.agreement > 0.3
    begun = space.build(space.smallest())
    assert begin_from_teacher(begun, teacher, task)
    logits = predict_logits(begun, task, "val", 16)
    assert task.score(logits, task.targets("val")) > 5 / task.classes, "before it has learnt anything"
    assert not begin_from_teacher(torch.nn.Linear(2, 2), teacher, task)
    factorised = SimpleNamespace(module=space.build(space.smallest()))
    assert not begin_from_teacher(begun, factorised, task), "its table of tokens cannot be turned"


def test_students_of_labels_alone_begin_at_random(prose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[nn.Module] = []
    monkeypatch.setattr(candidate, "begin_from_teacher", lambda network, teacher, task: asked.append(network))
    monkeypatch.setattr(candidate, "train_student", lambda network, task, **given: None)
    bench = SimpleNamespace(
        **dict.fromkeys(Workbench.__dataclass_fields__), teacher=None, teacher_for=lambda _: None
    )
    bench.task, bench.working, bench.seed = loaded(prose), nullcontext, 0
    bench.space = space = load_space("language", **bench.task.sizes)
    network = space.build(space.smallest())
    for name in ("hard-labels", "self", "soft-targets", "gkd"):
        candidate.teach(bench, network, space.smallest(), 0, load_distiller(name), bench.task.search_schedule(2))  # type: ignore[arg-type]
    assert asked == [network] * 2, "once for each of the last two"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory, prose: Path) -> Path:
    """A GPT-2 with random weights and a tokenizer, as transformers save them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("teachers") / "gpt2"
    pieces = loaded(prose).tokenizer
    ids = {piece: number for number, piece in enumerate(pieces.pieces)}
    library = Tokenizer(models.BPE(ids, list(pieces.merges)))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.add_special_tokens(["<|endoftext|>"])
    torch.manual_seed(0)
    sizes = {"n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4}
    network = GPT2LMHeadModel(GPT2Config(vocab_size=len(ids) + 1, initializer_range=0.3, **sizes))
    network.save_pretrained(folder)
    library.save(str(folder / "tokenizer.json"))
    return folder


def test_a_gpt2_answers_as_transformers_has_it(prose: Path, gpt2: Path) -> None:
    from transformers import GPT2LMHeadModel

    task = loaded(prose, teacher=str(gpt2))
    assert task.tokenizer.end == task.channels - 1
    teacher = load_teacher(str(gpt2), None, task)
    ids = task.batch("test", [0, 1], 16)
    with torch.no_grad():
        expected = GPT2LMHeadModel.from_pretrained(gpt2).eval()(ids).logits
    torch.testing.assert_close(teacher.logits(ids), expected, rtol=1e-4, atol=1e-4)


def test_teachers_that_do_not_fit_are_refused(prose: Path, gpt2: Path) -> None:
    with pytest.raises(TeacherError, match="sees 24 tokens at once"):
        load_teacher(str(gpt2), None, loaded(prose, teacher=str(gpt2), image_size=32))
    with pytest.raises(TeacherError, match="not the one that the text was cut by"):
        load_teacher(str(gpt2), None, loaded(prose))
    with pytest.raises(TeacherError, match="no teacher folder"):
        load_teacher("nowhere/gpt2", None, loaded(prose))
    task = loaded(prose, teacher=str(gpt2))
    config = gpt2 / "config.json"
    kept = config.read_text()
    config.write_text(kept.replace('"gpt2"', '"bert"'))
    with pytest.raises(TeacherError, match="holds a bert"):
        load_teacher(str(gpt2), None, task)
    config.write_text(kept)

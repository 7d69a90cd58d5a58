"""Students of speech, from the waveform on: compiled, and as ONNX, they say what torch says; they are taught."""

from __future__ import annotations

import functools
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.compile.compiler import compile_network
from evaluators.distill.catalogue import load_distiller
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.onnx_twin import check_onnx, export_onnx
from evaluators.tasks.load import load_task
from evaluators.tasks.waveform_task import WaveformTask
from evaluators.teachers.builtin import builtin_teacher
from evaluators.teachers.load import load_teacher
from evaluators.teachers.teacher import Teacher
from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.space import VECTOR, Space, random_choice
from tests.wav_files import tones
from understudy import TeacherError

SAMPLES, RATE = 1600, 4000


@functools.cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="understudy-tests-")


@functools.cache
def task() -> WaveformTask:
    folder = Path(scratch().name)
    found = load_task(str(tones(folder / "words", 2, 20)), cache=folder / "cache", seed=0)
    assert isinstance(found, WaveformTask)
    return found


@functools.cache
def taught() -> tuple[Teacher, TeacherOutputs]:
    teacher = builtin_teacher(task(), cache=task().folder.parent, seed=0, epochs=6)
    return teacher, compute_outputs(teacher, task(), views=2, cache=task().folder.parent)


def space() -> Space:
    return load_space("speech", **task().sizes)


def test_the_built_in_teacher_learns_words_and_answers_to_each_view() -> None:
    teacher, outputs = taught()
    assert teacher.name == "builtin-residual-log-mel"
    assert task().score(np.array(outputs.logits("test")), task().targets("test")) == 1
    clean, view = (outputs.logits("train", each) for each in (0, 1))
    assert np.abs(clean - view).max() > 0.01
    asked = teacher.logits(task().images("train", np.arange(3), VECTOR, 1)).numpy()
    assert np.abs(view[:3] - asked).max() < 1e-3


@pytest.mark.parametrize("method", ["soft-targets", "hints", "attention:stages=all", "review", "relations"])
def test_maps_that_are_no_squares_are_compared(method: str) -> None:
    teacher, outputs = taught()
    for choice in (space().smallest(), random_choice(space(), random.Random(1))):
        with seeded(0):
            network = space().build(choice)
        trained = train_student(
            network,
            task(),
            resolution=VECTOR,
            distiller=load_distiller(method),
            teacher_outputs=outputs,
            schedule=Schedule(1, views=1, clean_share=0),
            seed=0,
            teacher=teacher,
        )
        assert np.isfinite(trained.val_accuracy)


@pytest.mark.parametrize("overlap", [0, 25, 50])
def test_compiled_and_onnx_students_agree_with_torch(overlap: int, tmp_path: Path) -> None:
    space = load_space("speech", channels=SAMPLES, image_size=VECTOR, classes=3, sample_rate=RATE)
    choice = Choice({**random_choice(space, random.Random(overlap)), "overlap": overlap})
    torch.manual_seed(0)
    network = space.build(choice)
    waveforms = torch.randn(8, SAMPLES).clip(-3, 3) / 10
    network(waveforms)
    network.eval()
    profile = load_profile("x86-host").with_threads(1)
    compiled = compile_network(network, waveforms[:1], profile, tmp_path / "student.so")
    student = CompiledStudent(compiled.library, 1)
    for waveform in (waveforms[:1], torch.zeros(1, SAMPLES)):
        with torch.no_grad():
            expected = network(waveform).numpy()
        assert np.abs(student(waveform.numpy()) - expected).max() < 1e-4
    export_onnx(network, waveforms[:1], tmp_path / "student.onnx")
    assert check_onnx(tmp_path / "student.onnx", network, waveforms) < 1e-4


def test_an_onnx_file_that_takes_waveforms_teaches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torch.nn.Linear(task().channels, 2)
    export_onnx(network, torch.zeros(1, task().channels), tmp_path / "teacher.onnx")
    heard = task().images("test", range(3), VECTOR)
    with torch.no_grad():
        expected = network(heard)
    teacher = load_teacher(str(tmp_path / "teacher.onnx"), None, task())
    assert (teacher.logits(heard) - expected).abs().max() < 1e-5
    export_onnx(torch.nn.Linear(9, 2), torch.zeros(1, 9), tmp_path / "other.onnx")
    with pytest.raises(TeacherError, match=r"\['batch', 9\], but the data are \(N, 800\)"):
        load_teacher(str(tmp_path / "other.onnx"), None, task())


def test_a_transformers_folder_that_takes_waveforms_teaches(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(8, 4),
        conv_kernel=(16, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        num_labels=2,
        id2label={0: "turn_off", 1: "low"},
    )
    network = transformers.Wav2Vec2ForSequenceClassification(config).eval()
    network.save_pretrained(tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True)
    extractor.save_pretrained(tmp_path)
    heard = task().images("test", range(3), VECTOR)
    prepared = extractor([*heard.numpy()], sampling_rate=RATE, return_tensors="pt").input_values
    with torch.no_grad():
        expected = network(prepared).logits[:, [1, 0]]
    teacher = load_teacher(str(tmp_path), None, task())
    assert (teacher.logits(heard) - expected).abs().max() < 1e-4
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match="hears 16000 samples a second, but the recordings have 4000"):
        load_teacher(str(tmp_path), None, task())

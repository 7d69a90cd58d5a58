"""Bundles: written whole, refused when they do not fit, and run with nothing of ours installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_run import make_run
from PIL import Image

from results.bundle import runner
from results.bundle.runner import Bundle, BundleProblem, CompiledStudent, measure_latency
from results.bundle.write import select_student, write_bundle
from results.candidate import Student
from results.measurement import Measurement
from results.store import RunStore
from results.view import read_view
from understudy import BundleError

SIDE, LABELS = 8, ["healthy", "rust", "spot"]
WITHOUT = (
    "torch ray nni optuna onnx onnxruntime pandas plotly rich click yaml results search evaluators understudy"
)


def weights() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((3, len(LABELS))).astype(np.float32)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """The mean colour of an image times a matrix, compiled for any x86-64."""
    import tvm
    from tvm import relax

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 3, SIDE, SIDE), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            mean = builder.emit(relax.op.mean(x, axis=[2, 3]))
            out = builder.emit_output(relax.op.matmul(mean, relax.const(weights())))
        builder.emit_func_output(out)
    target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64"})
    path = tmp_path_factory.mktemp("library") / "student.so"
    tvm.compile(relax.get_pipeline("zero")(builder.get()), target=target).export_library(str(path))
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory, library) -> RunStore:
    """A run whose students are all that library."""
    store = make_run(tmp_path_factory.mktemp("runs") / "beans", 30)
    students = [replace(each, preprocess={**each.preprocess, "size": SIDE}) for each in store.students()]
    store.write_students(students)
    for student in students:
        (store.path / student.files["onnx"]).parent.mkdir(parents=True)
        (store.path / student.files["onnx"]).write_bytes(b"stands for the twin")
        shutil.copyfile(library, store.path / student.files["library"])
    return store


@pytest.fixture
def bundle(tmp_path, store) -> Path:
    return write_bundle(read_view(store), store.path, store.students()[0], tmp_path / "bundle")


def expected_logits(pixels: np.ndarray) -> np.ndarray:
    return ((pixels / 255 - 0.5) / 0.25).mean(axis=(0, 1)) @ weights()


def edit_manifest(bundle: Path, **changes) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def run_alone(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``run.py`` in a process where importing anything of ours, or heavy, fails."""
    block = f"import sys; sys.modules.update(dict.fromkeys({WITHOUT.split()!r}))"
    start = f"import runpy; sys.argv = {['run.py', *arguments]!r}; runpy.run_path('run.py', run_name='__main__')"
    code = f"{block}; {start}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=bundle, capture_output=True, text=True, timeout=400, check=False
    )


def test_a_bundle_holds_all_it_needs_and_says_what_it_is(bundle, store):
    names = {path.name for path in bundle.iterdir()}
    manifest = json.loads((bundle / "manifest.json").read_text())
    student = store.students()[0]
    assert names == {"student.so", "student.onnx", "manifest.json", "run.py", "requirements.txt", "README.md"}
    assert set(manifest["files"]) == names - {"manifest.json"}
    assert [each["shape"] for each in manifest["inputs"]] == [[1, 3, SIDE, SIDE]]
    assert [each["shape"] for each in manifest["outputs"]] == [[1, 3]]
    assert manifest["labels"] == LABELS
    assert manifest["figures"]["latency"]["value"] == student.measurements["latency"].value
    assert "test split" in manifest["figures"]["test_accuracy"]["how"]
    assert "apache-tvm==0.27.0.post1" in (bundle / "requirements.txt").read_text().splitlines()
    assert (bundle / "run.py").read_bytes() == Path(runner.__file__).read_bytes()


def test_predict_and_bench_run_from_the_bundle_alone(bundle):
    pixels = np.random.default_rng(1).integers(0, 256, (11, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(bundle / "photo.png")
    np.save(bundle / "photo.npy", pixels)
    predicted = run_alone(bundle, "predict", "photo.png", "photo.npy")
    assert predicted.returncode == 0, predicted.stderr
    first, second = predicted.stdout.splitlines()
    logits = expected_logits(runner.resize(pixels, SIDE))
    assert first.split(":  ")[1] == second.split(":  ")[1]
    assert first.startswith(f"photo.png:  {LABELS[int(logits.argmax())]} ")
    measured = run_alone(bundle, "bench")
    assert measured.returncode == 0, measured.stderr
    assert "here:" in measured.stdout
    assert "manifest:" in measured.stdout
    assert "x86-host" in measured.stdout


def test_probabilities_are_the_softmax_of_the_logits(bundle):
    pixels = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    exact = np.exp(expected_logits(pixels))
    found = dict(Bundle(bundle).predict(pixels))
    assert [found[label] for label in LABELS] == pytest.approx(list(exact / exact.sum()), abs=1e-5)


def test_an_altered_bundle_is_refused(bundle):
    with (bundle / "student.so").open("ab") as file:
        file.write(b"!")
    refused = run_alone(bundle, "bench")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "student.so" in refused.stderr
    assert "altered" in refused.stderr


def test_an_incomplete_bundle_is_refused(bundle):
    (bundle / "student.onnx").unlink()
    with pytest.raises(BundleProblem, match=r"student\.onnx is missing"):
        Bundle(bundle)


@pytest.mark.parametrize("name", ["../student.so", "/etc/passwd", "..", "a/b"])
def test_names_outside_of_the_bundle_are_refused(bundle, name):
    edit_manifest(bundle, files={name: "0"})
    with pytest.raises(BundleProblem, match="outside"):
        Bundle(bundle)


def test_another_architecture_or_instruction_set_is_refused(bundle):
    target = json.loads((bundle / "manifest.json").read_text())["target"]
    edit_manifest(bundle, target={**target, "isa": "aarch64"})
    with pytest.raises(BundleProblem, match="is for aarch64"):
        Bundle(bundle)
    edit_manifest(bundle, target={**target, "features": ["sse2", "avx9000"]})
    with pytest.raises(BundleProblem, match="a processor with avx9000 "):
        Bundle(bundle)


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{", "damaged"), ("[]", "damaged"), ("{}", "damaged"), ('{"format": 99}', "format 99")],
)
def test_a_damaged_manifest_is_refused(bundle, content, problem):
    (bundle / "manifest.json").write_text(content)
    with pytest.raises(BundleProblem, match=problem):
        Bundle(bundle)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleProblem, match="not a bundle"):
        Bundle(tmp_path)


def test_a_bundle_is_not_written_over_a_folder(bundle, store):
    with pytest.raises(BundleError, match="exists"):
        write_bundle(read_view(store), store.path, store.students()[0], bundle)


def test_a_bundle_that_cannot_be_finished_leaves_nothing(tmp_path, store):
    lacking = replace(store.students()[0], files={})
    with pytest.raises(BundleError, match=r"no student\.so"):
        write_bundle(read_view(store), store.path, lacking, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_latency_has_quartiles_around_its_median(library):
    student = CompiledStudent(library, threads=1)
    found = measure_latency(student, np.zeros((1, 3, SIDE, SIDE), np.float32), limit_s=0.2)
    assert 0 < found["low_s"] <= found["median_s"] <= found["high_s"] < 0.1
    assert found["repeats"] >= 3


def test_outputs_outlive_the_next_call(library):
    student = CompiledStudent(library, threads=1)
    first = student(np.ones((1, 3, SIDE, SIDE), np.float32))
    kept = first.copy()
    student(np.zeros((1, 3, SIDE, SIDE), np.float32))
    assert np.array_equal(first, kept)


def test_on_a_gpu_inputs_go_to_memory_that_is_taken_once(library, monkeypatch):
    """A processor stands in for the GPU, which is not here; numpy before 2.1 gives only arrays to read."""
    import tvm

    plain = np.from_dlpack

    def read_only(tensor):
        array = plain(tensor)
        array.flags.writeable = False
        return array

    monkeypatch.setattr(np, "from_dlpack", read_only)
    monkeypatch.setattr(tvm, "cuda", tvm.cpu)
    monkeypatch.setattr("results.bundle.runner._PINNED", 1)
    here, there = CompiledStudent(library, threads=1), CompiledStudent(library, threads=1, on_gpu=True)
    for value in (1, 2):
        inputs = np.full((1, 3, SIDE, SIDE), value, np.float32)
        assert np.array_equal(there(inputs), here(inputs))
        taken = [tensor.numpy().max() for tensor in there._there]
        assert taken == [value]


def test_large_inputs_are_read_wherever_they_lie(tmp_path):
    import tvm
    from tvm import relax

    x = relax.Var("x", relax.TensorType((1, 3, 96, 96), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.negative(x)))
    path = tmp_path / "student.so"
    tvm.compile(builder.get(), target=tvm.target.Target({"kind": "llvm", "mcpu": "x86-64"})).export_library(
        str(path)
    )
    student = CompiledStudent(path, threads=1)
    room = np.random.default_rng(0).normal(size=3 * 96 * 96 + 16).astype(np.float32)
    for start in range(16):
        image = room[start : start + 3 * 96 * 96].reshape(1, 3, 96, 96)
        assert np.array_equal(student(image), -image)
        assert np.array_equal(student(image.swapaxes(2, 3)), -image.swapaxes(2, 3))


def test_an_input_of_another_shape_is_refused(library):
    with pytest.raises(BundleProblem, match=r"\(1, 3, 4, 4\)"):
        CompiledStudent(library, threads=1)(np.zeros((1, 3, 4, 4), np.float32))


def test_students_of_one_process_may_use_different_numbers_of_threads(library):
    import tvm

    count = tvm.get_global_func("runtime.NumThreads")
    for threads in (1, 2, 1):
        CompiledStudent(library, threads)
        assert count() == threads


def test_what_is_no_library_is_refused(tmp_path):
    (tmp_path / "student.so").write_bytes(b"no library")
    with pytest.raises(BundleProblem, match="cannot be loaded"):
        CompiledStudent(tmp_path / "student.so", threads=1)
    with pytest.raises(BundleProblem, match="no compiled library"):
        CompiledStudent(tmp_path / "absent.so", threads=1)


def finalist(number: int, accuracy: float, latency: float, on_front: bool = True) -> Student:
    figures = {
        "accuracy": Measurement(accuracy, "share"),
        "latency": Measurement(latency, "s", low=latency, high=1.1 * latency),
        "size": Measurement(1e6 * number, "byte"),
    }
    return Student(number, {}, str(number), figures, {}, on_front, "", {}, {})


STUDENTS = [finalist(1, 0.8, 1e-3), finalist(2, 0.9, 2e-3), finalist(3, 0.95, 5e-4, on_front=False)]


def test_the_most_accurate_student_of_the_front_within_the_limits_is_selected():
    assert select_student(STUDENTS).number == 2
    assert select_student(STUDENTS, max_latency=1.5e-3).number == 1
    assert select_student(STUDENTS, max_size=1.5e6).number == 1
    assert select_student(STUDENTS, number=3).number == 3


def test_when_none_fits_the_nearest_is_named():
    with pytest.raises(BundleError, match=r"within latency 1 ms: the nearest, #1, has latency 1.1 ms"):
        select_student(STUDENTS, max_latency=1e-3)
    with pytest.raises(BundleError, match=r"no student #9: choose one of #1, #2, #3"):
        select_student(STUDENTS, number=9)
    with pytest.raises(BundleError, match="no students yet"):
        select_student([])
    with pytest.raises(BundleError, match="name one of #3"):
        select_student(STUDENTS[2:])

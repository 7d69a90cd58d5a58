"""Bundles of students of speech: WAV files of any kind go in, with nothing of ours installed."""

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

from results.bundle import sound
from results.bundle.runner import Bundle, BundleProblem
from results.bundle.write import write_bundle
from results.store import RunStore
from results.view import read_view
from tests.wav_files import wav
from understudy import BundleError

RATE, SAMPLES = 4000, 800
SPEC = {"features": SAMPLES, "mean": [0.0], "std": [1.0], "sample_rate": RATE}


def weights() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((SAMPLES, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> RunStore:
    """A run whose students are the energy of a recording at each moment, times a matrix."""
    import tvm
    from tvm import relax

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, SAMPLES), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            energy = builder.emit(relax.op.multiply(x, x))
            out = builder.emit_output(relax.op.matmul(energy, relax.const(weights())))
        builder.emit_func_output(out)
    store = make_run(tmp_path_factory.mktemp("runs") / "words", 10)
    student = replace(store.students()[0], preprocess=SPEC)
    store.write_students([student])
    for name in ("onnx", "library"):
        (store.path / student.files[name]).parent.mkdir(parents=True, exist_ok=True)
    (store.path / student.files["onnx"]).write_bytes(b"stands for the twin")
    target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64"})
    built = tvm.compile(relax.get_pipeline("zero")(builder.get()), target=target)
    built.export_library(str(store.path / student.files["library"]))
    return store


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, store) -> Path:
    return write_bundle(
        read_view(store), store.path, store.students()[0], tmp_path_factory.mktemp("of") / "bundle"
    )


def spoken(folder: Path, name: str, seconds: float = 0.2, rate: int = RATE, **encoding: object) -> Path:
    times = np.arange(round(rate * seconds)) / rate
    path = folder / name
    path.write_bytes(wav((0.4 * np.sin(2 * np.pi * 300 * times)).astype(np.float32), rate, **encoding))
    return path


def test_the_bundle_carries_what_reads_recordings(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["preprocess"] == SPEC
    assert "sound.py" in manifest["files"]
    assert (bundle / "sound.py").read_bytes() == Path(sound.__file__).read_bytes()
    assert "predict word.wav" in (bundle / "README.md").read_text()


def test_recordings_of_any_rate_and_length_are_heard(bundle: Path, tmp_path: Path) -> None:
    opened = Bundle(bundle)
    for path in (
        spoken(tmp_path, "a.wav"),
        spoken(tmp_path, "b.WAV", 0.7, 44_100),
        spoken(tmp_path, "c.wav", 0.01),
    ):
        expected = sound.waveform(path, RATE, SAMPLES) ** 2 @ weights()
        assert np.abs(opened.logits(path) - expected).max() < 1e-4
    vector = np.linspace(-1, 1, SAMPLES)
    np.save(tmp_path / "vector.npy", vector)
    assert np.abs(opened.logits(tmp_path / "vector.npy") - opened.logits(vector)).max() == 0


def test_the_bundle_names_the_words_alone(bundle: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(bundle, tmp_path / "alone")
    files = [spoken(alone, "first.wav", bits=24), spoken(alone, "second.wav", 1.0, 22_050, floats=True, bits=32)]
    block = (
        "import sys; sys.modules.update(dict.fromkeys(['results', 'torch', 'evaluators', 'understudy', 'PIL']))"
    )
    start = "import runpy; sys.argv.insert(1, 'predict'); runpy.run_path('run.py', run_name='__main__')"
    command = [sys.executable, "-c", f"{block}; {start}", *(path.name for path in files)]
    done = subprocess.run(command, cwd=alone, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    for line, path in zip(done.stdout.splitlines(), files, strict=True):
        word, share = Bundle(bundle).predict(path)[0]
        assert line.startswith(f"{path.name}:  {word} {100 * share:.1f} %")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no recording", "cannot be read as a recording: it is no WAV file"),
        (None, r"cannot be read \(No such file"),
    ],
)
def test_what_is_no_recording_is_refused(
    bundle: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "word.wav").write_bytes(content)
    with pytest.raises(BundleProblem, match=message):
        Bundle(bundle).predict(tmp_path / "word.wav")
    with pytest.raises(BundleProblem, match=r"vectors of 800 finite numbers \(samples at 4000 Hz in -1..1\)"):
        Bundle(bundle).predict(np.zeros(7))


def test_the_program_without_python_hears_nothing(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="takes images, not recordings"):
        write_bundle(read_view(store), store.path, store.students()[0], tmp_path / "bundle", with_program=True)

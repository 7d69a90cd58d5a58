#!/usr/bin/env python3
"""Run a compiled network: what a bundle carries as ``run.py``, and what the search measures with.

    python run.py predict photo.jpg [more.png ...]     the three likeliest labels of each image
    python run.py predict nodes.npy                    ... of each vector, for a student of vectors (.npy, .csv)
    python run.py predict "a sentence" texts.txt       ... of each text, a line of a .txt file, for one of texts
    python run.py predict "Once upon"                  how a text goes on, for a student of plain text
    python run.py predict word.wav [more.wav ...]      ... of each recording, for a student of spoken words
    python run.py predict photo.jpg --to out/          the mask or the boxes of each image, for students of those
    python run.py predict photo.jpg "how many?" [...]  ... answers to questions about an image, for one of those
    python run.py predict inputs.npz [--to out.npz]    the outputs of a network that is no student of images
    python run.py bench                                the latency on this machine, beside the claimed one

or, from Python::

    from run import Bundle
    bundle = Bundle()
    bundle.predict("photo.jpg")        # [("cat", 0.87), ...]; of a student of questions with question="how many?"
    bundle.run(array)                  # (array, ...): inputs and outputs as manifest.json lists them

One file (more where ``sound.py`` reads WAV files, ``wordpiece.py`` or ``bytepair.py`` makes numbers of texts,
``continuation.py`` goes on with them, ``masks.py`` makes masks or ``boxes.py`` boxes of answers), so that
a bundle needs nothing else: numpy and the TVM runtime (apache-tvm,
apache-tvm-ffi), and Pillow to decode image files (``.npy`` arrays work without it).
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import hashlib
import importlib.util
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Array = NDArray[Any]
Inputs = Array | tuple[Array, ...]

FORMAT = 2
"""The version of ``manifest.json`` that this file writes; it reads 1 as well."""

MAIN = "main"
"""What a library calls its program, or of several the one that a call of the student is."""

MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}


class BundleProblem(Exception):  # noqa: N818
    """A bundle, image or library cannot be used; the text says what is wrong and what to do."""


# ---------------------------------------------------------------------------- from a file to an input


def decode_image(path: str | Path | BinaryIO, channels: int) -> Pixels:
    """The image of a file (or of an open one) as uint8 (height, width, channels), upright by its EXIF data.

    ``.npy`` files hold uint8 (height, width) or (height, width, channels); everything else is decoded by
    Pillow. Raises ``BundleProblem`` for a file that is no such image.
    """
    is_array = isinstance(path, str | Path) and Path(path).suffix == ".npy"
    try:
        image = np.load(path, allow_pickle=False) if is_array else _decode_with_pillow(path, channels)
    except (OSError, ValueError, SyntaxError) as error:
        raise BundleProblem(f"{path} cannot be read as an image ({error})") from error
    if image.ndim == 2:
        image = image[:, :, None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels or 0 in image.shape:
        raise BundleProblem(
            f"{path} must hold a uint8 image of {channels} channels (height, width, channels), "
            f"but got {image.dtype} {image.shape}"
        )
    return image


def _decode_with_pillow(path: str | Path | BinaryIO, channels: int) -> Pixels:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise BundleProblem(
            "decoding image files needs Pillow: `pip install pillow`, or pass .npy files"
        ) from error
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise BundleProblem(f"{path}: inputs of {channels} channels must be .npy files")
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8 instead of scaling
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert(modes[channels]))
    except Image.DecompressionBombError as error:
        raise BundleProblem(f"{path} is too large an image ({error})") from error


def resize(image: Pixels, size: int) -> Pixels:
    """Centre-cropped to a square, then scaled to ``size``: uint8 (H, W, C) -> uint8 (size, size, C).

    Antialiased bilinear, as Pillow's ``BILINEAR`` and torch's ``antialias=True`` (within one grey level).
    An image of that size already is returned as it is.
    """
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return stretch(image[top : top + side, left : left + side], size)


def stretch(image: Pixels, size: int) -> Pixels:
    """All of a picture, scaled as in ``resize`` by each side of its own: uint8 (H, W, C) -> (size, size, C)."""
    height, width, channels = image.shape
    if (height, width) == (size, size):
        return image
    rows = _weigh(image.reshape(height, width * channels), *_taps(height, size)).reshape(size, width, channels)
    both = _weigh(rows.swapaxes(0, 1).reshape(width, size * channels), *_taps(width, size))
    scaled: Pixels = np.rint(both.reshape(size, size, channels)).astype(np.uint8).swapaxes(0, 1)
    return scaled


@lru_cache(maxsize=64)
def _taps(source: int, target: int) -> tuple[NDArray[np.intp], Floats]:
    """Input lines and weights of every output line, each (taps, target).

    The filter is a triangle, as wide as the step when scaling down.
    """
    step = source / target
    reach = max(step, 1.0)
    centre = (np.arange(target) + 0.5) * step
    line = np.floor(centre - reach).astype(np.intp) + np.arange(math.ceil(2 * reach) + 1)[:, None]
    weight = np.maximum(0.0, 1 - np.abs(line + 0.5 - centre) / reach)
    weight[(line < 0) | (line >= source)] = 0
    weight /= weight.sum(axis=0)
    used = weight.any(axis=1)
    return line.clip(0, source - 1)[used], weight[used].astype(np.float32)


def _weigh(lines: NDArray[Any], taps: NDArray[np.intp], weights: Floats) -> Floats:
    """Weighted sums of lines, (source, K) -> (target, K); one pass a tap, since the filter is narrow."""
    total: Floats = np.zeros((taps.shape[1], lines.shape[1]), np.float32)
    for line, weight in zip(taps, weights, strict=True):
        total += lines[line] * weight[:, None]
    return total


def normalise(image: Pixels, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """uint8 (H, W, C) -> float32 (1, C, H, W): scaled to 0..1, less ``mean``, over ``std`` (by channel)."""
    scaled = image.astype(np.float32) / np.float32(255)
    centred = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    planes: Floats = _aligned((1, *centred.shape[2:], *centred.shape[:2]), centred.dtype)
    planes[...] = centred.transpose(2, 0, 1)
    return planes


def standardise(vector: Array, spec: Mapping[str, Any]) -> Floats:
    """Numbers (features,) -> float32 (1, features): less ``mean``, over ``std`` (by feature, or one for all).

    Raises ``BundleProblem`` for another shape and for what is no finite number.
    """
    size = spec["features"]
    if vector.shape != (size,) or vector.dtype.kind not in "fiub" or not np.isfinite(vector).all():
        kind = f" (samples at {spec['sample_rate']} Hz in -1..1)" if "sample_rate" in spec else ""
        raise BundleProblem(
            f"the student takes vectors of {size} finite numbers{kind}, but got {vector.dtype} {vector.shape}"
        )
    scaled: Floats = _aligned((1, size), np.dtype(np.float32))
    scaled[0] = (vector.astype(np.float32) - np.float32(spec["mean"])) / np.float32(spec["std"])
    return scaled


def read_vectors(path: str | Path) -> Array:
    """The feature vectors in a file, (N, features): one or many in ``.npy``, a row a line in text with commas.

    Raises ``BundleProblem`` for a file that holds none.
    """
    try:
        held = (
            np.load(path, allow_pickle=False) if Path(path).suffix == ".npy" else np.loadtxt(path, delimiter=",")
        )
    except (OSError, ValueError, EOFError) as error:
        raise BundleProblem(f"{path} cannot be read as vectors in .npy or lines of numbers ({error})") from error
    vectors = np.atleast_2d(held)
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise BundleProblem(f"{path} must hold vectors (N, features), but got {vectors.shape}")
    return vectors


def open_tokenizer(vocabulary: Path, lowercase: bool) -> Any:
    """The ``WordPiece`` of a vocabulary; raises ``BundleProblem`` when it cannot be had."""
    try:
        return _beside("wordpiece").WordPiece.read(vocabulary, lowercase)
    except (OSError, ValueError) as error:
        raise BundleProblem(f"the vocabulary {vocabulary} cannot be used ({error})") from error


def encode(text: str, tokenizer: Any, length: int) -> Array:
    """A text -> the network's input, int64 (1, length); raises ``BundleProblem`` for one without any words."""
    if not isinstance(text, str) or not tokenizer.ids(text, 1):
        raise BundleProblem(f"the student takes texts, but got {text!r}: give it words")
    ids: Array = _aligned((1, length), np.dtype(np.int64))
    ids[0] = tokenizer.encode(text, length)
    return ids


def ask(question: str | None, tokenizer: Any, length: int) -> Array:
    """A question -> int64 (1, length); raises ``BundleProblem`` where there is none, or too long a one."""
    if question is None:
        raise BundleProblem("the student answers questions about images: give it one with the image")
    tokens = len(tokenizer.ids(question)) + 2
    if tokens > length:
        raise BundleProblem(f"the student reads {length} tokens, but the question has {tokens}: ask a shorter one")
    return encode(question, tokenizer, length)


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file that are not empty; raises ``BundleProblem`` for a file that holds none."""
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise BundleProblem(f"{path} cannot be read as UTF-8 text ({error})") from error
    texts = [line for line in lines if line]
    if not texts:
        raise BundleProblem(f"{path} holds no texts: it needs one a line")
    return texts


def hear(path: str | Path, spec: Mapping[str, Any]) -> Floats:
    """The recording in a WAV file as a student takes it, (features,) at ``sample_rate`` Hz.

    See ``sound.waveform``. Raises ``BundleProblem`` for a file that holds none.
    """
    try:
        heard: Floats = _beside("sound").waveform(path, spec["sample_rate"], spec["features"])
    except OSError as error:
        raise BundleProblem(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise BundleProblem(f"{path} cannot be read as a recording: {error}") from error
    return heard


def is_table(path: str | Path) -> bool:
    """Whether a file should hold vectors as numbers, by its name."""
    return Path(path).suffix in (".npy", ".csv", ".txt")


@lru_cache
def _beside(name: str) -> ModuleType:
    """The module in a file beside this one, wherever that is."""
    if __package__:
        return importlib.import_module(f"{__package__}.{name}")
    found = importlib.util.spec_from_file_location(f"{__name__}_{name}", Path(__file__).with_name(f"{name}.py"))
    assert found is not None
    assert found.loader is not None
    module = sys.modules[found.name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def preprocess(source: str | Path | Array, spec: Mapping[str, Any]) -> Floats:
    """An image file or a uint8 array (H, W, C) -> the network's input, float32 (1, C, size, size).

    ``spec`` is the manifest's description: ``{"channels": int, "size": int, "mean": [...], "std": [...]}``,
    mean and std by channel for pixels in 0..1 (with a ``grid``, the places a side of answers, or a ``vocabulary``,
    of questions, nothing is cropped);
    or ``{"features": int, "mean": [...], "std": [...]}`` (lists of one number for all) for an array (features,),
    which becomes (1, features), with a ``sample_rate`` (Hz) also for a WAV file.
    """
    if "features" in spec:
        if isinstance(source, np.ndarray):
            return standardise(source, spec)
        heard = "sample_rate" in spec and not is_table(source)
        return standardise(hear(source, spec) if heard else read_vectors(source)[0], spec)
    image = source if isinstance(source, np.ndarray) else decode_image(source, spec["channels"])
    whole = "grid" in spec or "vocabulary" in spec
    scaled = stretch(image, spec["size"]) if whole else resize(image, spec["size"])
    return normalise(scaled, spec["mean"], spec["std"])


# ---------------------------------------------------------------------------- the compiled network


class CompiledStudent:
    """A student's library, ready to be called with arrays of the shapes and dtypes that it was compiled for.

    ``threads`` is how many of TVM's pool take part. The pool belongs to the calling thread, is made by its
    first call and cannot grow, so ``TVM_NUM_THREADS`` makes it as large as the machine (TVM itself would
    take half of the logical processors of an x86 machine); those that take no part sleep. The student made
    last decides for its thread. Threads are not bound to processors unless ``TVM_BIND_THREADS`` asks for
    it: TVM would put every process on processor 0 first.

    Inputs are copied into aligned buffers that are used again, so a student serves one thread at a time. Large
    ones that lie on a 64-byte boundary, as ``preprocess`` and torch make them, are read where they are.
    Raises ``BundleProblem`` when the library cannot be loaded, or the pool exists with fewer threads.
    """

    def __init__(self, library: str | Path, threads: int, on_gpu: bool = False) -> None:
        os.environ["TVM_NUM_THREADS"] = str(max(threads, os.cpu_count() or 1))
        os.environ.setdefault("TVM_BIND_THREADS", "0")
        import tvm
        from tvm.runtime.vm import VirtualMachine

        if not Path(library).is_file():
            raise BundleProblem(f"there is no compiled library {library}")
        try:
            module = tvm.runtime.load_module(str(Path(library).absolute()))
            self._gpu = tvm.cuda() if on_gpu else None
            self._machine = VirtualMachine(module, self._gpu or tvm.cpu())
            self._main = self._machine[MAIN]
        except (RuntimeError, ValueError, AttributeError) as error:
            raise BundleProblem(f"{library} cannot be loaded by TVM {tvm.__version__} ({_line(error)})") from error
        self._tvm = tvm
        self._buffers: list[Array] = []
        self._tensors: list[Any] = []
        self._there: list[Any] = []
        self.threads = threads
        self._library = library
        self._size_pool(threads)

    def program(self, name: str) -> CompiledStudent:
        """Another program of the same library, which reads the same weights.

        Raises ``BundleProblem`` where the library has none of that name.
        """
        other = copy.copy(self)
        other._buffers, other._tensors, other._there = [], [], []
        try:
            other._main = self._machine[name]
        except AttributeError as error:
            raise BundleProblem(
                f"{self._library} has no program {name!r}, so it is of another version: use the run.py beside it, "
                "or search again"
            ) from error
        return other

    def __call__(self, *inputs: Array) -> Any:
        """The network's output, or a tuple of them where it has several.

        Raises ``BundleProblem`` for inputs that do not fit.
        """
        try:
            if not _alike(inputs, self._buffers):
                self._make_buffers(inputs)
            output = self._main(*(self._filled(inputs) if self._gpu is None else self._uploaded(inputs)))
        except (RuntimeError, ValueError, TypeError) as error:
            shapes = ", ".join(f"{each.shape}" for each in inputs)
            raise BundleProblem(f"the student refused an input of shape {shapes} ({_line(error)})") from error
        if isinstance(output, self._tvm.runtime.Tensor):
            return self._array(output)
        return tuple(self._array(each) for each in output)

    def _make_buffers(self, inputs: tuple[Array, ...]) -> None:
        """For a GPU in memory that its driver reads directly, with room on the GPU beside it."""
        runtime = self._tvm.runtime
        if self._gpu is None:
            self._buffers = [_aligned(each.shape, each.dtype) for each in inputs]
            self._tensors = [runtime.from_dlpack(buffer) for buffer in self._buffers]
            return
        pinned = self._tvm.device(_PINNED, 0)
        self._tensors = [runtime.empty(each.shape, str(each.dtype), pinned) for each in inputs]
        self._there = [runtime.empty(each.shape, str(each.dtype), self._gpu) for each in inputs]
        self._buffers = [_over(tensor, each) for tensor, each in zip(self._tensors, inputs, strict=True)]

    def _filled(self, inputs: tuple[Array, ...]) -> list[Any]:
        tensors = list(self._tensors)
        for number, (buffer, each) in enumerate(zip(self._buffers, inputs, strict=True)):
            if each.nbytes >= LARGE and _is_aligned(each):
                tensors[number] = self._tvm.runtime.from_dlpack(each)
            else:
                buffer[...] = each
        return tensors

    def _uploaded(self, inputs: tuple[Array, ...]) -> list[Any]:
        for buffer, tensor, there, each in zip(self._buffers, self._tensors, self._there, inputs, strict=True):
            buffer[...] = each
            tensor.copyto(there)
        return self._there

    def _array(self, output: Any) -> Array:
        return np.from_dlpack(output if self._gpu is None else output.copyto(self._tvm.cpu()))

    def _size_pool(self, threads: int) -> None:
        pool = self._tvm.get_global_func("runtime.NumThreads")
        self._tvm.get_global_func("runtime.config_threadpool")(1, threads)
        if pool() != threads:
            raise BundleProblem(
                f"this thread's TVM pool has {pool()} threads and cannot grow to {threads}: "
                f"load the student in a new process, or with threads={pool()}"
            )


_PINNED = 3
"""DLPack's number of a computer's memory that CUDA has pinned (kDLCUDAHost)."""
_BOUNDARY = 64
"""Bytes on whose multiples arrays start that TVM's kernels read."""
LARGE = 65536
"""Bytes from which on looking where an array lies costs less than copying it."""


def _over(tensor: Any, like: Array) -> Array:
    """The memory of a tensor that this process can write, as an array; the tensor must outlive it.

    ``np.from_dlpack`` gives arrays that can only be read, before numpy 2.1.
    """
    memory = memoryview((ctypes.c_char * like.nbytes).from_address(tensor.data_ptr())).cast("B")
    return np.ndarray(like.shape, like.dtype, memory)


def _is_aligned(array: Array) -> bool:
    return array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % _BOUNDARY == 0


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array on a 64-byte boundary, which numpy does not promise."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.zeros(size + _BOUNDARY, np.uint8)
    start = -raw.ctypes.data % _BOUNDARY
    return raw[start : start + size].view(dtype).reshape(shape)


def _alike(inputs: tuple[Array, ...], buffers: list[Array]) -> bool:
    for each, buffer in zip(inputs, buffers, strict=False):
        if each.shape != buffer.shape or each.dtype != buffer.dtype:
            return False
    return len(inputs) == len(buffers)


def as_tuple(inputs: Inputs) -> tuple[Array, ...]:
    """The inputs of a network as a tuple, be it one array or several."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


SAMPLE_S = 2e-3
SPREAD = 0.02
FEWEST_SAMPLES = 15


def measure_latency(student: Callable[..., Any], inputs: Inputs, limit_s: float = 1.0) -> dict[str, float]:
    """Seconds that one call takes: ``{"median_s", "low_s", "high_s", "repeats"}``, low and high the quartiles.

    What is timed is ``student(*inputs)`` whole, numpy in and numpy out, as the one who deploys it calls it (on a
    network of 0.24 ms the copy in and the view out were 4 µs of it). After a warm-up, each of the
    ``repeats`` samples is the mean of as many calls as take 2 ms, so that the clock's grain does not
    matter. Sampling ends when 15 samples or more lie within an interquartile spread of 2 % of the median,
    or after ``limit_s`` seconds (then with 3 samples at least): read the quartiles to see which.
    """
    arrays = as_tuple(inputs)
    calls = max(1, math.ceil(SAMPLE_S / _warm_up(student, arrays, limit_s / 10)))
    samples: list[float] = []
    end = time.perf_counter() + limit_s
    while len(samples) < 3 or (time.perf_counter() < end and not _settled(samples)):
        samples.append(_time_calls(student, arrays, calls))
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75))
    return {"median_s": float(median), "low_s": float(low), "high_s": float(high), "repeats": len(samples)}


def _warm_up(student: Callable[..., Any], inputs: tuple[Array, ...], limit_s: float) -> float:
    """Seconds of the fastest of the first calls, which fill caches, pools and raise the clock."""
    fastest, end = math.inf, time.perf_counter() + limit_s
    for call in range(1000):
        fastest = min(fastest, _time_calls(student, inputs, 1))
        if call >= 2 and time.perf_counter() > end:
            break
    return fastest


def _settled(samples: list[float]) -> bool:
    if len(samples) < FEWEST_SAMPLES:
        return False
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75))
    return bool(high - low <= SPREAD * median)


def _time_calls(student: Callable[..., Any], inputs: tuple[Array, ...], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        student(*inputs)
    return (time.perf_counter() - start) / calls


# ---------------------------------------------------------------------------- the bundle


def read_manifest(folder: Path, anywhere: bool = False) -> dict[str, Any]:
    """The manifest of a bundle whose files are all as they were written and which this machine can run.

    With ``anywhere`` it need not run here.

    The sums guard against accidents, not against someone who alters the manifest too. Raises
    ``BundleProblem`` for a missing or altered file, another format, another architecture or a processor
    without an instruction set that the student was compiled for.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] not in (1, FORMAT):
            raise BundleProblem(
                f"{folder} is a bundle of format {manifest['format']}, but this reads formats 1 to {FORMAT}"
            )
        if manifest["format"] == 1:
            manifest["inputs"] = [{"name": "input", **manifest["input"]}]
            manifest["outputs"] = [{"name": "logits", **manifest["output"]}]
        check_files(folder, manifest["files"])
        if not anywhere:
            check_target(manifest["target"])
    except OSError as error:
        raise BundleProblem(f"{folder} is not a bundle (manifest.json: {error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleProblem(f"{folder / 'manifest.json'} is damaged ({error!r}): make the bundle again") from error
    return manifest


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Raise ``BundleProblem`` unless each file (name -> SHA-256) is in the folder, unaltered."""
    for name, expected in files.items():
        if Path(name).name != name or name in ("", ".", ".."):
            raise BundleProblem(f"the manifest of {folder} names a file outside of the bundle: {name!r}")
        path = folder / name
        if not path.is_file():
            raise BundleProblem(f"{name} is missing from the bundle {folder}: copy the whole folder again")
        if sha256(path) != expected:
            raise BundleProblem(f"{name} in the bundle {folder} was altered (its SHA-256 differs): copy it again")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_target(target: Mapping[str, Any]) -> None:
    """Raise ``BundleProblem`` unless this machine has the target's ``isa`` and ``features``.

    Features are named as in /proc/cpuinfo; without that file they cannot be checked.
    """
    machine = MACHINES.get(platform.machine().lower(), platform.machine())
    if machine != target["isa"]:
        raise BundleProblem(
            f"this bundle is for {target['isa']} ({target['profile']}), but this machine is {machine}: "
            "deploy a student of a search with this machine's profile"
        )
    present = cpu_features()
    missing = [name for name in target["features"] if present and name not in present]
    if missing:
        raise BundleProblem(
            f"this bundle needs a processor with {', '.join(missing)} (it is for {target['profile']}), "
            "which this one lacks: deploy a student of a search with this machine's profile"
        )


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The processor's instruction sets as the kernel names them; empty where it does not."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    heading = {"aarch64": "Features", "x86_64": "flags"}.get(platform.machine(), "flags")
    return frozenset(next((line.split()[1:] for line in lines if line.startswith(heading)), []))


TOKENS, TEMPERATURE = 100, 0.8
"""How far a text is gone on with, and how daringly, where nothing is asked for."""


class Bundle:
    """A bundle in a folder (by default the one this file lies in), checked and loaded."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(__file__).resolve().parent if folder is None else Path(folder)
        self.manifest = read_manifest(self.folder)
        target = self.manifest["target"]
        self.student = CompiledStudent(self.folder / "student.so", target["threads"], "gpu" in target)
        spec = self.manifest.get("preprocess", {})
        self._tokenizer = (
            open_tokenizer(self.folder / "vocab.txt", spec["lowercase"]) if "lowercase" in spec else None
        )
        if "window" in spec:
            self._open_continuation(spec)

    def logits(self, source: str | Path | Array, question: str | None = None) -> Floats:
        """The network's output (labels,) for an image file, a uint8 array (H, W, C), a vector or a text.

        A student of those wants a ``question`` about the image. Raises ``BundleProblem`` when the network is no
        student.
        """
        spec = self.manifest.get("preprocess")
        if spec is None:
            raise BundleProblem(f"{self.folder} takes arrays, not images: give it .npy or .npz files")
        inputs: Inputs
        if self._tokenizer is None:
            inputs = preprocess(source, spec)
        elif "size" in spec:
            inputs = preprocess(source, spec), ask(question, self._tokenizer, spec["length"])
        else:
            inputs = encode(source, self._tokenizer, spec["length"])  # type: ignore[arg-type]
        logits: Floats = self.student(*as_tuple(inputs))[0]
        return logits

    def predict(
        self, source: str | Path | Array, top: int = 3, question: str | None = None
    ) -> list[tuple[str, float]]:
        """The ``top`` likeliest labels with their probabilities, likeliest first; see ``logits``."""
        logits = self.logits(source, question).astype(np.float64)
        odds = np.exp(logits - logits.max())
        shares = odds / odds.sum()
        order = np.argsort(-shares, kind="stable")[:top]
        return [(str(self.manifest["labels"][index]), float(shares[index])) for index in order]

    def _open_continuation(self, spec: Mapping[str, Any]) -> None:
        """What goes on with texts: the pieces, and the program for prompts beside that for a token."""
        try:
            self._pieces = _beside("bytepair").BytePair.read(self.folder / "bytepair.json")
        except (OSError, ValueError) as error:
            raise BundleProblem(f"the vocabulary in {self.folder} cannot be used ({error})") from error
        figures = self.manifest["figures"]
        self._prefill = self.student.program("prefill")
        costs = [figures[name]["value"] for name in ("first_token", "latency") if name in figures]
        few = int(costs[0] / costs[1]) if len(costs) == 2 else 0
        cache = _aligned(tuple(spec["cache"]), np.dtype(np.float32))
        self._continuation = _beside("continuation").Continuation(self._prefill, self.student, cache, few)

    def generate(
        self, prompt: str, tokens: int = TOKENS, temperature: float = TEMPERATURE, seed: int = 0
    ) -> Iterator[str]:
        """How a text goes on, in pieces as they come: ``tokens`` of them, or fewer where it comes to its end.

        ``temperature`` 1 draws each by its probability, 0 takes the likeliest. Of a long text the latest half of
        the window is kept in sight (``continuation.py``). Raises ``BundleProblem`` for an empty prompt, settings
        out of range, and a student that is not one of plain text.
        """
        if "window" not in self.manifest.get("preprocess", {}):
            raise BundleProblem(f"{self.folder} goes on with no texts: use predict")
        if tokens < 1 or not 0 <= temperature < math.inf or seed < 0:
            raise BundleProblem(
                f"tokens must be at least 1, temperature and seed at least 0, but got {tokens}, {temperature} and "
                f"{seed}"
            )
        try:
            read = self._pieces.encode(prompt)
        except ValueError as error:
            raise BundleProblem(f"the prompt has characters that cannot be written ({error})") from error
        if not read:
            raise BundleProblem("the prompt is empty: give it the beginning of a text")
        more = self._continuation.go_on(read, tokens, temperature, seed, self._pieces.end)
        return self._pieces.stream(more)  # type: ignore[no-any-return]

    def first_token(self, limit_s: float = 3.0) -> dict[str, float]:
        """As ``bench``, of the program that reads a prompt: the time to the first token, of a full window."""
        spec = self.manifest["preprocess"]
        prompt = {"dtype": "int64", "shape": (1, spec["window"]), "below": spec["vocabulary"]}
        place = {"dtype": "int64", "shape": (1,), "below": spec["window"]}
        return measure_latency(self._prefill, random_inputs([prompt, place]), limit_s)

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of the network's outputs."""
        return [str(label) for label in self.manifest["labels"]]

    def mask(self, source: str | Path | Pixels) -> Pixels:
        """The class of each pixel of an image, uint8 (H, W) numbers of ``labels``, by a student of masks."""
        spec = self.manifest.get("preprocess", {})
        if "grid" not in spec or "boxes" in spec:
            raise BundleProblem(f"{self.folder} makes no masks: use predict")
        picture = source if isinstance(source, np.ndarray) else decode_image(source, spec["channels"])
        mask: Pixels = _beside("masks").mask_of(self.logits(picture), *picture.shape[:2])
        return mask

    def boxes(self, source: str | Path | Pixels) -> Floats:
        """What is in an image, (n, 6): class, score, left, top, right, bottom in shares; by a student of boxes."""
        spec = self.manifest.get("preprocess", {})
        if "boxes" not in spec:
            raise BundleProblem(f"{self.folder} finds no boxes: use predict")
        if isinstance(spec["grid"], int):
            raise BundleProblem(
                f"{self.folder} is of an earlier version, with all boxes on one map: run its own run.py"
            )
        picture = source if isinstance(source, np.ndarray) else decode_image(source, spec["channels"])
        found: Floats = _beside("boxes").boxes_of(self.logits(picture), tuple(spec["grid"]))
        return found

    def run(self, *inputs: Array) -> tuple[Array, ...]:
        """The network's outputs for its inputs, in the order of the manifest.

        Raises ``BundleProblem`` naming an input of another shape, or whose values its dtype cannot hold.
        """
        return as_tuple(self.student(*fitted(inputs, self.manifest["inputs"])))

    def bench(self, limit_s: float = 3.0) -> dict[str, float]:
        """The latency on this machine, as ``measure_latency`` gives it, for random inputs."""
        return measure_latency(self.student, random_inputs(self.manifest["inputs"]), limit_s)


def random_inputs(specs: Sequence[Mapping[str, Any]], seed: int = 0) -> tuple[Array, ...]:
    """Seeded inputs: normal where they are real, else whole numbers below ``below`` (2 where not known)."""
    generator = np.random.default_rng(seed)
    return tuple(_random_input(spec, generator) for spec in specs)


def _random_input(spec: Mapping[str, Any], generator: np.random.Generator) -> Array:
    dtype = np.dtype(spec["dtype"])
    drawn: Array
    if dtype.kind == "f":
        drawn = generator.standard_normal(spec["shape"], np.float32)
    else:
        drawn = generator.integers(0, spec.get("below") or 2, spec["shape"])
    return drawn.astype(dtype)


def fitted(inputs: Sequence[Array], specs: Sequence[Mapping[str, Any]]) -> tuple[Array, ...]:
    """The inputs in the dtypes that a network takes.

    Raises ``BundleProblem`` naming one of another shape, or whose values would not survive the change of dtype.
    """
    if len(inputs) != len(specs):
        names = ", ".join(spec["name"] for spec in specs)
        raise BundleProblem(f"the network takes {len(specs)} inputs ({names}), but got {len(inputs)}")
    return tuple(_fitted(array, spec) for array, spec in zip(inputs, specs, strict=True))


def _fitted(array: Array, spec: Mapping[str, Any]) -> Array:
    shape, dtype = tuple(spec["shape"]), np.dtype(spec["dtype"])
    if array.shape != shape:
        raise BundleProblem(f"{spec['name']} must have the shape {shape}, but got {array.shape}")
    if not np.can_cast(array.dtype, dtype, "same_kind") and not np.array_equal(array, array.astype(dtype)):
        raise BundleProblem(f"{spec['name']} must be {dtype}, but got {array.dtype} that it cannot hold")
    return array.astype(dtype, copy=False)


def read_arrays(path: str | Path, specs: Sequence[Mapping[str, Any]]) -> tuple[Array, ...]:
    """The inputs in a file: ``.npy`` holds the only one, ``.npz`` all of them by name.

    Raises ``BundleProblem`` when the file cannot be read or lacks one.
    """
    names = [spec["name"] for spec in specs]
    try:
        held = np.load(path, allow_pickle=False)
        if isinstance(held, np.ndarray):
            return fitted((held,), specs)
        with held:
            missing = [name for name in names if name not in held]
            if missing:
                raise BundleProblem(f"{path} must hold {', '.join(names)}, but lacks {', '.join(missing)}")
            return fitted([held[name] for name in names], specs)
    except (OSError, ValueError, EOFError) as error:
        raise BundleProblem(f"{path} cannot be read as .npy or .npz ({_line(error)})") from error


def print_predictions(
    bundle: Bundle, files: Sequence[str], to: str | None = None, how: Mapping[str, Any] | None = None
) -> None:
    """Print the three likeliest labels of each image, vector or text; of a network that takes arrays, its outputs.

    A text to go on with (or a ``.txt`` file of it) is printed, and how it goes on as it comes; ``how`` are the
    settings of ``generate`` that are asked for.

    The outputs of one file of arrays can be written ``to`` an ``.npz`` file, by name; masks or boxes, and images
    with them, into the folder ``to``. Raises ``BundleProblem`` for what cannot be read or written.
    """
    if "window" in bundle.manifest.get("preprocess", {}):
        if to is not None:
            raise BundleProblem("--to writes the outputs of networks that take arrays, not of students")
        for number, prompt in enumerate(map(_prompt, files)):
            print("\n" * (number > 0) + prompt, end="", flush=True)
            for piece in bundle.generate(prompt, **(how or {})):
                print(piece, end="", flush=True)
            print()
        return
    if how:
        raise BundleProblem(f"{', '.join(f'--{name}' for name in how)} is for students that go on with texts only")
    if "grid" in bundle.manifest.get("preprocess", {}):
        _print_maps(bundle, files, to)
        return
    if "preprocess" in bundle.manifest:
        if to is not None:
            raise BundleProblem("--to writes the outputs of networks that take arrays, not of students")
        for name, source, question in _samples(files, bundle.manifest["preprocess"]):
            found = bundle.predict(source, question=question)
            print(f"{name}:  " + "   ".join(f"{label} {100 * share:.1f} %" for label, share in found))
        return
    if to is not None and len(files) != 1:
        raise BundleProblem(f"--to takes the outputs of one file, but got {len(files)} files")
    for file in files:
        outputs = bundle.run(*read_arrays(file, bundle.manifest["inputs"]))
        named = dict(zip((spec["name"] for spec in bundle.manifest["outputs"]), outputs, strict=True))
        for name, array in named.items():
            print(f"{file}:  {name} {array.dtype} {array.shape}  {_values(array)}")
        if to is not None:
            _write_arrays(to, named)


def _prompt(text: str) -> str:
    """The text that is meant: of a file, what it holds."""
    if not (text.endswith(".txt") and os.path.isfile(text)):
        return text
    try:
        return Path(text).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise BundleProblem(f"{text} cannot be read as UTF-8 text ({error})") from error


def _print_maps(bundle: Bundle, files: Sequence[str], to: str | None) -> None:
    """What is in each image: the share of each class, or its boxes; as pictures, where they are asked for."""
    spec, labels = bundle.manifest["preprocess"], bundle.labels
    for file in files:
        picture = decode_image(file, spec["channels"])
        if "boxes" in spec:
            module, found = _beside("boxes"), bundle.boxes(picture)
            told = module.described(found, labels, *picture.shape[:2])
            said = "   ".join(f"{each['label']} {100 * each['score']:.1f} % at {each['box']}" for each in told)
            write = partial(module.write_boxes, file, picture, found, labels)
        else:
            module, mask = _beside("masks"), bundle.mask(picture)
            said = "   ".join(f"{label} {100 * share:.1f} %" for label, share in module.shares(mask, labels))
            write = partial(module.write_pictures, file, picture, mask)
        print(f"{file}:  {said or 'nothing'}")
        if to is None:
            continue
        try:
            print("  ->  " + ", ".join(map(str, write(Path(to)))))
        except (OSError, ImportError) as error:
            raise BundleProblem(f"cannot write into {to} ({error})") from error


def _samples(files: Sequence[str], spec: Mapping[str, Any]) -> Iterator[tuple[str, str | Array, str | None]]:
    """What to predict of, with its name: each image or recording, vector of a file, or text and line of a file.

    And the question about it, where the student wants one.
    """
    if "vocabulary" in spec and "size" in spec:
        yield from _questions(files, spec["channels"])
        return
    for file in files:
        if "vocabulary" in spec:
            named = file.endswith(".txt") and len(file.split()) == 1
            for text in read_lines(file) if named or os.path.isfile(file) else [file]:
                yield _shortened(text), text, None
            continue
        if "features" not in spec or ("sample_rate" in spec and not is_table(file)):
            yield file, file, None
            continue
        held = read_vectors(file)
        for number, vector in enumerate(held):
            yield f"{file}[{number}]" if len(held) > 1 else file, vector, None


def _questions(given: Sequence[str], channels: int) -> Iterator[tuple[str, Array, str]]:
    """Each question with the image that was named last before it; a question is what is no file's name.

    Raises ``BundleProblem`` for a question without an image, and an image without questions.
    """
    image, asked, picture = "", True, np.empty(0, np.uint8)
    for each in given:
        if os.path.isfile(each) or (Path(each).suffix.lower() in _IMAGES and len(each.split()) == 1):
            if not asked:
                break
            image, asked, picture = each, False, decode_image(each, channels)
        elif not image:
            raise BundleProblem(f"{each!r} is no file: name an image first, and then questions about it")
        else:
            asked = True
            yield f"{image}, {_shortened(each)}", picture, each
    if not asked:
        raise BundleProblem(f"there is no question about {image}: name one after it, in quotes")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".npy")
"""Endings by which a file that is not there is not taken for a question."""


_SHOWN = 60
"""Characters of a text that are printed."""


def _values(array: Array, count: int = 6) -> str:
    """The first values of an array in one line."""
    shown = " ".join(f"{value:.5g}" for value in array.ravel()[:count].tolist())
    return shown + " ..." * (array.size > count)


def _write_arrays(path: str, named: Mapping[str, Array]) -> None:
    try:
        np.savez(path, allow_pickle=False, **named)
    except OSError as error:
        raise BundleProblem(f"cannot write {path} ({error.strerror})") from error


def print_latency(bundle: Bundle) -> None:
    """Measure the latency here and print it beside the manifest's; of a student of plain text both of its own."""
    if "window" not in bundle.manifest.get("preprocess", {}):
        _print_beside(bundle, bundle.bench(), "latency")
        return
    print("a token:")
    _print_beside(bundle, bundle.bench(), "latency")
    print("to the first token, of a prompt that fills the window:")
    _print_beside(bundle, bundle.first_token(), "first_token")


def _print_beside(bundle: Bundle, here: Mapping[str, float], figure: str) -> None:
    claimed, count = bundle.manifest["figures"].get(figure), bundle.student.threads
    print(
        f"here:      {1e3 * here['median_s']:.4g} ms a call (quartiles {1e3 * here['low_s']:.4g} to "
        f"{1e3 * here['high_s']:.4g} ms, {here['repeats']} samples, {count} thread{'s' * (count != 1)})"
    )
    if claimed is not None:
        low, high = (claimed[end] if claimed[end] is not None else claimed["value"] for end in ("low", "high"))
        print(
            f"manifest:  {1e3 * claimed['value']:.4g} ms a call (quartiles {1e3 * low:.4g} to "
            f"{1e3 * high:.4g} ms, {claimed['repeats']} samples, {claimed['source']} on "
            f"{bundle.manifest['target']['profile']})"
        )


CONTINUED: Mapping[str, tuple[type, str]] = {
    "tokens": (int, f"how far a text is gone on with ({TOKENS})"),
    "temperature": (float, f"0 takes the likeliest token, 1 draws by probabilities ({TEMPERATURE})"),
    "seed": (int, "of what is drawn (0)"),
}
"""Options of ``predict`` for students of plain text."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (0, or 1 after one sentence on standard error)."""
    parser = argparse.ArgumentParser(prog="run.py", description="Run the compiled network of this bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser(
        "predict", help="print the three likeliest labels of each sample, or the outputs"
    )
    predict.add_argument(
        "files",
        nargs="+",
        metavar="file",
        help="an image or WAV file; an image and then questions about it; a sentence, or a .txt file of a text a "
        "line; the beginning of a text; or a .npy or .npz file of inputs",
    )
    predict.add_argument(
        "--to",
        metavar="PATH",
        help="write the outputs of a network that takes arrays (.npz), or masks and boxes (a folder)",
    )
    for name, (kind, said) in CONTINUED.items():
        predict.add_argument(f"--{name}", type=kind, help=said)
    commands.add_parser("bench", help="measure the latency on this machine")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")  # the compiler (260 MB) is not needed to run
    if options.command == "predict":  # TVM's threads would yield for a next call: seconds, where cores are busy
        os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "0")
    try:
        bundle = Bundle()
        if options.command == "predict":
            how = {name: getattr(options, name) for name in CONTINUED if getattr(options, name) is not None}
            print_predictions(bundle, options.files, options.to, how)
        else:
            print_latency(bundle)
    except BundleProblem as problem:
        print(f"run.py: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A task from what the user names: a folder, a file, a data set, or code of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.graphs.prepare import Graph, create_graph_task
from evaluators.graphs.read import from_arrays, holds_vectors
from evaluators.graphs.tables import is_graph_folder, read_graph, read_vectors
from evaluators.tasks.augment import POLICIES, augment_policy
from evaluators.tasks.box_folder import Boxed, boxed_folder
from evaluators.tasks.bytepairs import read_bytepairs
from evaluators.tasks.detection import create_detection_task
from evaluators.tasks.folder import folder_samples
from evaluators.tasks.hub import hub_samples, is_dataset_folder
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.images import ArrayImages
from evaluators.tasks.language import Prose, create_language_task, is_prose, read_prose
from evaluators.tasks.mask_folder import Masked, is_masked, masked_folder
from evaluators.tasks.npz import npz_samples, read_npz
from evaluators.tasks.prepare import OnBad, Samples, create_task
from evaluators.tasks.question_folder import is_question_folder, read_questions
from evaluators.tasks.questions import Questions, create_question_task
from evaluators.tasks.recordings import Recordings, create_waveform_task, holds_recordings, recordings_in
from evaluators.tasks.segmentation import create_segmentation_task
from evaluators.tasks.task import Task
from evaluators.tasks.text_tables import is_text_folder, is_text_table, read_texts
from evaluators.tasks.texts import Texts, create_text_task
from evaluators.tasks.user_code import user_function
from evaluators.tasks.variation import with_augment
from evaluators.tasks.vectors import Vectors, create_vector_task
from evaluators.tasks.vocabulary import read_vocabulary
from results.bundle.wordpiece import WordPiece
from understudy import DataError, UnderstudyError


def load_task(
    spec: str,
    *,
    cache: Path,
    seed: int,
    image_size: int | None = None,
    augment: str | None = None,
    on_bad: OnBad = "refuse",
    least_classes: int = 2,
    teacher: str | None = None,
) -> Task:
    """The task of the data that ``spec`` names, prepared under ``cache`` (once).

    ``spec``: ``digits``; a folder of class folders, with or without train/val/test above them, of pictures or of
    WAV files (also see ``recordings_in``); an
    ``.npz`` file; a Hugging Face data set (folder or id); or ``file.py:function``, which runs the user's
    function with ``cache``, ``seed`` and ``image_size`` (and ``on_bad``, where it takes that) and uses the
    task that it returns. Vectors are in an ``.npz`` file (see ``evaluators.graphs.read``) or a ``.csv`` table, and
    the nodes of a graph there or in a folder of ``nodes.csv`` and ``edges.csv``. Texts are in a ``.tsv`` or
    ``.csv`` table, a folder of such (train, dev, test), or a Hugging Face data set; a text to go on with is a
    ``.txt`` file or a folder of such. Pictures with masks are in
    folders side by side (see ``evaluators.tasks.mask_folder``), with boxes as COCO, Pascal VOC or YOLO keep them;
    with questions in a folder of both (see ``evaluators.tasks.question_folder``).
    ``image_size``: pixels, or tokens of a text, by default from the data; ``augment``: a policy's name, by default
    what suits the kind of data; ``least_classes``: 1 for data that are added to others; ``teacher``: a folder of a
    ``transformers`` model whose tokens texts become, by default those of a vocabulary learnt from them. Raises
    ``DataError`` when the data cannot be used, ``ConfigError`` for an unknown policy, ``TeacherError`` for a
    tokenizer that is of no use.
    """
    policy = None if augment is None else augment_policy(augment)
    source = _from_code(spec, cache, seed, image_size, on_bad) if ".py:" in spec else _source(spec, seed, on_bad)
    if isinstance(source, ImageTask):
        return source if policy is None else with_augment(source, policy)
    if isinstance(source, Samples):
        return create_task(
            source,
            cache=cache,
            seed=seed,
            image_size=image_size,
            augment=policy,
            on_bad=on_bad,
            least_classes=least_classes,
        )
    if isinstance(source, Boxed):
        return create_detection_task(
            source, cache=cache, seed=seed, image_size=image_size, augment=policy, on_bad=on_bad
        )
    if isinstance(source, Masked):
        return create_segmentation_task(
            source, cache=cache, seed=seed, image_size=image_size, augment=policy, on_bad=on_bad
        )
    if isinstance(source, Recordings):
        if image_size is not None or policy is not None:
            raise DataError(f"{spec} holds recordings, not images: leave out --image-size and --augment")
        return create_waveform_task(source, cache=cache, seed=seed, on_bad=on_bad)
    if isinstance(source, Questions):
        return create_question_task(
            source,
            cache=cache,
            seed=seed,
            image_size=image_size,
            augment=policy,
            on_bad=on_bad,
            tokenizer=_tokens_of(teacher),
        )
    if isinstance(source, Texts | Prose):
        if policy is not None:
            raise DataError(f"{spec} holds texts, of which there are no augmented views: leave out --augment")
        if isinstance(source, Prose):
            pieces = None if teacher is None else read_bytepairs(Path(teacher).expanduser())
            return create_language_task(source, cache=cache, seed=seed, window=image_size, tokenizer=pieces)
        return create_text_task(
            source,
            cache=cache,
            seed=seed,
            length=image_size,
            tokenizer=_tokens_of(teacher),
            least_classes=least_classes,
        )
    if image_size is not None or policy is not None or on_bad == "skip":
        raise DataError(f"{spec} holds vectors, not images: leave out --image-size, --augment and --skip-bad")
    if isinstance(source, Vectors):
        return create_vector_task(source, cache=cache, seed=seed)
    return create_graph_task(source, cache=cache, seed=seed) if isinstance(source, Graph) else source


def _source(
    spec: str, seed: int, on_bad: OnBad
) -> Samples | Vectors | Graph | Recordings | Texts | Prose | Questions | Masked | Boxed:
    path = Path(spec).expanduser()
    if spec == "digits":
        return digits()
    if path.suffix == ".npz":
        arrays = read_npz(path)
        return from_arrays(path, arrays) if holds_vectors(arrays) else npz_samples(path, arrays)
    if is_prose(path):
        return read_prose(path, on_bad)
    if path.suffix in (".csv", ".tsv") and path.is_file():
        return read_texts(path, on_bad) if is_text_table(path) else read_vectors(path)
    if path.is_dir():
        if is_graph_folder(path):
            return read_graph(path)
        if is_dataset_folder(path):
            return hub_samples(spec, on_bad)
        if is_question_folder(path):
            return read_questions(path, on_bad)
        if is_text_folder(path):
            return read_texts(path, on_bad)
        boxed = boxed_folder(path)
        if boxed is not None and is_masked(path):
            raise DataError(
                f"{path} holds both masks and boxes: name a folder that links to the images and to one of these"
            )
        if boxed is not None:
            return boxed
        if is_masked(path):
            return masked_folder(path)
        return recordings_in(path, seed) if holds_recordings(path) else folder_samples(path)
    if path.exists():
        raise DataError(
            f"{spec} is neither a folder of images or recordings nor an .npz, .csv, .tsv or .txt file: name one "
            "of these"
        )
    return hub_samples(spec, on_bad)


def _tokens_of(teacher: str | None) -> WordPiece | None:
    """Those of a teacher's folder; None where they are to be learnt."""
    return None if teacher is None else read_vocabulary(Path(teacher).expanduser())


def digits() -> Samples:
    """scikit-learn's digits: 1,797 grey pictures of 8x8, taken at 16x16."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    return Samples(
        ArrayImages(pictures),
        data.target.astype(np.int64),
        tuple(str(name) for name in data.target_names),
        augment=replace(POLICIES["shift"], border="zeros"),
        image_size=16,
    )


def _from_code(spec: str, cache: Path, seed: int, image_size: int | None, on_bad: OnBad) -> Task:
    function = user_function(spec, DataError)
    more = {"on_bad": on_bad} if _takes(function, "on_bad") else {}
    if on_bad == "skip" and not more:
        raise DataError(
            f"--skip-bad does not reach {spec}: let the function take on_bad ('refuse' or 'skip') and pass it to "
            "create_task, or leave the option out"
        )
    try:
        task = function(cache=cache, seed=seed, image_size=image_size, **more)
    except UnderstudyError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise DataError(f"{spec} failed with {type(error).__name__}: {error}") from error
    if not isinstance(task, Task):
        raise DataError(f"{spec} must return a task (see create_task), but returned {type(task).__name__}")
    return task


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of that name, or takes any."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())

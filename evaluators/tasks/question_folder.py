"""Questions about pictures as people keep them: a table ``questions`` beside the pictures, or VQA's pairs of JSON.

``questions.csv``, ``.tsv``, ``.json`` (a list of objects) or ``.jsonl`` (an object a line) give for each question
its ``image``, a file of the folder or of ``images`` in it, ``question``, ``answer`` and, if they like, ``split``.
VQA v2 (Goyal et al., 2017, arXiv:1612.00837) keeps ``*questions.json`` and ``*annotations.json`` for each split.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.tasks.folder import SPLIT_NAMES
from evaluators.tasks.prepare import LISTED, OnBad
from evaluators.tasks.questions import Asked, Questions
from evaluators.tasks.table_lines import is_unicode, table_lines
from understudy import DataError, unknown_name

_NAME, _TABLES, _JSON = "questions", (".csv", ".tsv"), (".json", ".jsonl")
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "picture", "img", "file", "filename", "file_name", "image_path", "path"),
    "question": ("question", "text", "query"),
    "answer": ("answer", "label", "multiple_choice_answer"),
}
"""What people call the three."""
_SPLIT = "split"


@dataclass(frozen=True)
class _Row:
    image: str
    question: str
    answer: str
    split: str
    where: str
    problem: str = ""


def is_question_folder(folder: Path) -> bool:
    """Whether a folder holds questions about pictures in one of the forms."""
    return bool(_tables(folder) or _pairs(folder))


def read_questions(folder: Path, on_bad: OnBad) -> Questions:
    """The questions of a folder.

    Raises ``DataError`` for a file that cannot be read, and for a row without picture, question or answer or whose
    picture is not there (``on_bad="skip"`` leaves such rows out and notes them).
    """
    tables = _tables(folder)
    if len(tables) > 1:
        raise DataError(f"{folder} holds {' and '.join(path.name for path in tables)}: keep one of them")
    rows = _of_pairs(_pairs(folder)) if not tables else _of_table(tables[0])
    asked, bad, known = [], [], dict[str, Path | None]()
    for row in rows:
        if row.image not in known:
            known[row.image] = _picture(folder, row.image)
        picture, answer = known[row.image], " ".join(row.answer.lower().split())
        problem = row.problem or _problem(row, picture)
        if not problem and picture is not None:
            asked.append(Asked(picture, row.question.strip(), answer, row.split, row.where))
        elif on_bad == "refuse":
            raise DataError(f"{row.where} {problem}: mend or remove it, or leave such out with --skip-bad")
        else:
            bad.append(f"{row.where} {problem}")
    if not asked:
        raise DataError(f"{folder} holds no questions that can be used: each needs its image, question and answer")
    listed = "; ".join(bad[:LISTED]) + ("; ..." if len(bad) > LISTED else "")
    return Questions(tuple(asked), str(folder), (f"{len(bad)} questions were left out: {listed}",) if bad else ())


def _tables(folder: Path) -> list[Path]:
    paths = (folder / f"{_NAME}{suffix}" for suffix in (*_TABLES, *_JSON))
    return [path for path in paths if path.is_file()]


def _problem(row: _Row, picture: Path | None) -> str:
    for what in _COLUMNS:
        if not getattr(row, what).strip():
            return f"has no {what}"
    return "" if picture is not None else f"names the image {row.image}, which is not there"


def _picture(folder: Path, name: str) -> Path | None:
    """The file of that name in the folder or in ``images``; None where none is there, or it lies elsewhere."""
    if not name.strip() or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    return next((path for path in (folder / name, folder / "images" / name) if path.is_file()), None)


def _of_table(path: Path) -> Iterator[_Row]:
    if path.suffix in _TABLES:
        first, *lines = table_lines(path)
        names = [value.strip().lower() for value in first.values]
        places = _places(path, names)
        for line in lines:
            where = f"line {line.number} of {path}"
            if len(line.values) != len(names):
                problem = f"has {len(line.values)} values where {len(names)} were expected"
                yield _Row("", "", "", "", where, problem)
                continue
            yield _row({what: line.values[place] for what, place in places.items()}, where)
        return
    for where, held in _objects(path):
        names = [name.lower() for name in held]
        places = _places(path, names)
        values = list(held.values())
        yield _row({what: values[place] for what, place in places.items()}, where)


def _places(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Where image, question, answer and, if it is there, split are among names."""
    places = {}
    for what, known in _COLUMNS.items():
        found = next((names.index(name) for name in known if name in names), None)
        if found is None:
            raise DataError(f"{path} has no column {what!r}: it has {', '.join(names)}; rename one")
        places[what] = found
    return places | ({_SPLIT: names.index(_SPLIT)} if _SPLIT in names else {})


def _row(held: Mapping[str, Any], where: str) -> _Row:
    values = {what: "" if value is None else _text(value) for what, value in held.items()}
    given = values.pop(_SPLIT, "").strip().lower()
    if given and given not in SPLIT_NAMES:
        raise DataError(f"{where}: {unknown_name('split', given, SPLIT_NAMES)}")
    problem = "" if all(map(is_unicode, values.values())) else "is not UTF-8 text"
    return _Row(**values, split=SPLIT_NAMES.get(given, ""), where=where, problem=problem)


def _text(value: Any) -> str:
    """A value of JSON as a table would hold it."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _objects(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The objects of a JSON list or of lines, each with where it is."""
    if path.suffix == ".json":
        held = _json(path)
        if not isinstance(held, list):
            raise DataError(f"{path} must hold a list of objects with image, question and answer")
        named = [(f"entry {number} of {path}", each) for number, each in enumerate(held, 1)]
    else:
        lines = enumerate(_read(path).splitlines(), 1)
        named = [
            (f"line {number} of {path}", _parsed(line, number, path)) for number, line in lines if line.strip()
        ]
    for where, each in named:
        if not isinstance(each, Mapping):
            raise DataError(f"{where} is no object with image, question and answer: mend or remove it")
    return named


def _parsed(line: str, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError(f"line {number} of {path} is no JSON ({error}): mend it") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}): mend it, or check the path") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise DataError(f"{path} cannot be read as JSON ({error}): mend it, or get it again") from error


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """VQA's files of questions, each with the annotations of the same split."""
    pairs = []
    for questions in sorted(folder.glob("*_questions.json")):
        subtype = questions.stem.removesuffix("_questions").rpartition("_")[2]
        found = sorted(folder.glob(f"*{subtype}_annotations.json"))
        pairs += [(questions, each) for each in found[:1]]
    return pairs


def _of_pairs(pairs: Sequence[tuple[Path, Path]]) -> Iterator[_Row]:
    for questions, answered in pairs:
        held, told = _json(questions), _json(answered)
        try:
            subtype = str(held["data_subtype"])
            answers = {each["question_id"]: each["multiple_choice_answer"] for each in told["annotations"]}
            for each in held["questions"]:
                number = each["question_id"]
                name = f"{subtype}/COCO_{subtype}_{int(each['image_id']):012d}.jpg"
                where = f"question {number} of {questions}"
                split = subtype.rstrip("0123456789") if len(pairs) > 1 else ""
                yield _row(
                    {"image": name, "question": each["question"], "answer": answers.get(number), _SPLIT: split},
                    where,
                )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{questions} and {answered.name} are not in the form of VQA v2 ({error!r}): get them again"
            ) from error

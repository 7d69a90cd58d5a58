"""From questions about pictures as a user has them to a prepared ``QuestionTask`` on disk."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.augment import Augment
from evaluators.tasks.dense import lay_out_pictures, parted
from evaluators.tasks.images import FileImages, Look
from evaluators.tasks.prepare import LISTED, OnBad, default_size, survey
from evaluators.tasks.question_task import Pictures, QuestionTask
from evaluators.tasks.task import SPLITS, UNLABELLED
from evaluators.tasks.text_task import TextTask
from evaluators.tasks.texts import LONGEST, SHORTEST, STEP, Texts, create_text_task
from evaluators.tasks.vocabulary import learn_vocabulary
from evaluators.tasks.whole_folder import whole_folder
from results.bundle.wordpiece import WordPiece
from understudy import DataError

FEWEST, MOST = 2, 3000
"""An answer is learnt when training gives it so often, and is among so many of the commonest."""
SHIFTED = Augment(shift=1 / 16)
"""Views of a picture on which what is left stays left, and nothing turns."""


@dataclass(frozen=True)
class Asked:
    """A question about a picture with its answer, in small letters; ``split`` is train, val, test or nothing;
    ``where`` says in a message where it is."""

    picture: Path
    question: str
    answer: str
    split: str
    where: str


@dataclass(frozen=True)
class Questions:
    """Questions about pictures; ``source`` is what to call them, ``notes`` what the user should know of them."""

    asked: tuple[Asked, ...]
    source: str
    notes: tuple[str, ...] = ()


def create_question_task(
    questions: Questions,
    *,
    cache: Path,
    seed: int,
    image_size: int | None = None,
    augment: Augment | None = None,
    on_bad: OnBad = "refuse",
    tokenizer: WordPiece | None = None,
) -> QuestionTask:
    """Prepare questions as a task in a folder of ``cache``, or open it there if it was prepared before.

    No picture is in two splits: undivided data are divided by their pictures. The answers are the commonest of
    training (``FEWEST``, ``MOST``); training questions with others are left out, later ones count as wrong, and
    both is noted. ``image_size`` is as of ``create_task``; without a ``tokenizer`` a vocabulary is learnt from the
    training questions. Raises ``DataError`` for a picture that cannot be read (``on_bad="skip"`` leaves it out
    with its questions, and notes it) or is in two splits, for fewer than two answers, and for mirroring views.
    """
    if augment is not None and augment.flip:
        raise DataError(
            "--augment standard mirrors pictures, and what a question calls left would be right: leave it out, or "
            "use --augment shift"
        )
    paths = tuple(dict.fromkeys(each.picture for each in questions.asked))
    images = FileImages(paths)
    readable, looks, unreadable = survey(images, on_bad)
    places = {paths[number]: place for place, number in enumerate(readable.tolist())}
    asked = [each for each in questions.asked if each.picture in places]
    left_out = len(questions.asked) - len(asked)
    given = _given(asked, len(places), places)
    parts = parted(given, len(places), seed)
    split_of = {place: name for name, part in zip(SPLITS, parts, strict=True) for place in part.tolist()}
    asked = [replace(each, split=split_of[places[each.picture]]) for each in asked]
    labels = _answers(asked, questions.source)
    learnt = frozenset(labels)
    known = [each for each in asked if each.split != "train" or each.answer in learnt]
    ordered = [each for name in SPLITS for each in known if each.split == name]
    read = _questions(ordered, labels, questions.source, tokenizer, cache, seed)
    within = {place: number for part in parts for number, place in enumerate(part.tolist())}
    picture_of = np.array([within[places[each.picture]] for each in ordered], np.int64)
    pictures = _pictures(images, looks, readable, parts, image_size, augment or SHIFTED, seed, cache)
    digest = hashlib.blake2b(f"{pictures.fingerprint} {read.fingerprint}".encode(), digest_size=12)
    digest.update(picture_of.data)
    folder = cache / f"{digest.hexdigest()}-{pictures.folder.name[-8:]}"
    if not (folder / "task.json").exists():
        with whole_folder(folder) as draft:
            np.save(draft / "pictures.npy", picture_of)
            np.save(draft / "targets.npy", np.concatenate([read.targets(name) for name in SPLITS]))
        notes = [
            *questions.notes,
            *unreadable,
            *([f"{left_out} questions about these were left out, too"] if unreadable else []),
            *pictures.notes,
            *_notes(asked, labels, read),
        ]
        QuestionTask.of(folder, pictures, read, digest.hexdigest(), notes).save()
    return QuestionTask.open(folder)


def _given(asked: Sequence[Asked], count: int, places: dict[Path, int]) -> NDArray[np.str_] | None:
    """The split of each picture where the data are divided; raises ``DataError`` for a picture in two."""
    if not any(each.split for each in asked):
        return None
    given = np.full(count, "", "<U5")
    for each in asked:
        place = places[each.picture]
        if not each.split:
            raise DataError(f"{each.where} names no split, but others do: give one to all questions, or to none")
        if given[place] not in ("", each.split):
            raise DataError(
                f"{each.where} has the picture {each.picture.name} in the {each.split} split, but earlier "
                f"questions have it in the {given[place]} split: keep all questions about a picture in one"
            )
        given[place] = each.split
    return given


def _answers(asked: Sequence[Asked], source: str) -> tuple[str, ...]:
    """The answers that are learnt, in alphabetical order; raises ``DataError`` for fewer than two."""
    counts = Counter(each.answer for each in asked if each.split == "train")
    kept = [answer for answer, count in counts.most_common(MOST) if count >= FEWEST]
    if len(kept) < 2:
        raise DataError(
            f"{source} has fewer than two answers that {FEWEST} training questions or more share: answers are "
            "chosen among those seen before, so give more questions with short answers such as yes, red or 3"
        )
    return tuple(sorted(kept))


def _questions(
    asked: Sequence[Asked],
    labels: tuple[str, ...],
    source: str,
    tokenizer: WordPiece | None,
    cache: Path,
    seed: int,
) -> TextTask:
    texts = tuple(each.question for each in asked)
    given = np.array([each.split for each in asked], "<U5")
    tokenizer = tokenizer or learn_vocabulary(
        [text for text, split in zip(texts, given, strict=True) if split == "train"]
    )
    longest = max(len(tokenizer.ids(text)) + 2 for text in texts)
    numbers = {label: number for number, label in enumerate(labels)}
    targets = np.array([numbers.get(each.answer, UNLABELLED) for each in asked], np.int64)
    length = min(LONGEST, max(SHORTEST, STEP * -(-longest // STEP)))
    held = Texts(texts, targets, labels, source, given)
    return create_text_task(held, cache=cache, seed=seed, length=length, tokenizer=tokenizer)


def _pictures(
    images: FileImages,
    looks: list[Look],
    readable: NDArray[np.int64],
    parts: tuple[NDArray[np.int64], ...],
    image_size: int | None,
    augment: Augment,
    seed: int,
    cache: Path,
) -> Pictures:
    return lay_out_pictures(
        Pictures,
        images,
        looks,
        readable,
        parts,
        {},
        labels=("picture",),
        size=image_size or default_size([look.shorter_side for look in looks]),
        augment=augment,
        seed=seed,
        notes=(),
        cache=cache,
    )


def _notes(asked: Sequence[Asked], labels: tuple[str, ...], read: TextTask) -> Iterator[str]:
    """What the user should know: answers that are not learnt or that a split lacks, questions that are cut."""
    for name in SPLITS:
        answers = Counter(each.answer for each in asked if each.split == name)
        others = sorted(answers.keys() - set(labels))
        count = sum(answers[answer] for answer in others)
        if count and name == "train":
            yield (
                f"{count} of {answers.total()} training questions were left out, whose answers are seen once only "
                f"or are beyond the {MOST} commonest: {_listed(others)}"
            )
        elif count:
            yield (
                f"{count} of {answers.total()} questions of the {name} split count as wrong, whose answers are "
                f"not learnt: {_listed(others)}"
            )
        if absent := [label for label in labels if label not in answers]:
            yield (
                f"the {name} split has no question with the answer {_listed(absent)}: its accuracy says nothing "
                "of those"
            )
    cut = [each for each in asked if len(read.tokenizer.ids(each.question)) + 2 > read.image_size]
    if cut:
        yield f"{len(cut)} questions have more than {read.image_size} tokens: their ends are not read"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")

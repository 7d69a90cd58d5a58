"""Texts become the ids that the ``tokenizers`` library gives, awkward ones too, and come back byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from evaluators.tasks.bytepairs import learn_bytepairs, read_bytepairs
from results.bundle.bytepair import ALPHABET, END, BytePair
from understudy import TeacherError

TEXTS = (
    "The café's crème brûlée — naïve, déjà vu; isn't it? They'll, we've, I'm, you'd, 'SAY'",
    "我喜欢这部电影 and 東京タワー 한국어 영화  two  spaces   and three",
    "emoji 😀😀 👩‍👩‍👧 ❤️ flags 🇩🇪 ½ ² Ⅷ x² 12ab34",
    "zero\u200bwidth \xa0 space\u3000wide \x00\x07\x1c tab\t\tnew\n\n\nline\r\n  end ",
    "x=1+2^3~`$5.00 #hash @user http://a.b/c?d=e&f 100%",
    "हिन्दी العربية עברית ไทย",
    "",
    " ",
    "\n",
)


def both() -> tuple[BytePair, Tokenizer]:
    ours = learn_bytepairs("".join(TEXTS) + "the then there's another other mother " * 20)
    ids = {piece: number for number, piece in enumerate(ours.pieces)}
    library = Tokenizer(models.BPE(ids, list(ours.merges)))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return ours, library


def test_same_ids_as_the_library_and_back(tmp_path: Path) -> None:
    ours, library = both()
    ours.write(tmp_path / "pieces.json")
    read = BytePair.read(tmp_path / "pieces.json")
    assert (read.pieces, read.merges) == (ours.pieces, ours.merges)
    assert len(ours.merges) > 50
    for text in TEXTS:
        assert read.encode(text) == library.encode(text).ids, text
        assert read.decode(read.encode(text)) == text.encode(), text


def test_same_ids_of_any_text() -> None:
    ours, library = both()

    @given(
        st.text(
            st.characters(codec="utf-8", max_codepoint=0x2FFF, categories=["L", "M", "N", "P", "S", "Z", "Cc"])
        )
    )
    def check(text: str) -> None:
        assert ours.encode(text) == library.encode(text).ids
        assert ours.text(ours.encode(text)) == text

    check()


def test_unfinished_characters_are_held_back() -> None:
    bare = BytePair(ALPHABET, ())
    said = list(bare.stream(bare.encode("a😀é")))
    assert said == ["a", "😀", "é"]
    assert list(bare.stream(bare.encode("é")[:1])) == ["\ufffd"]
    assert bare.decode(bare.encode("caf\udce9")) == b"caf\xe9", "an argument that was no UTF-8 keeps its bytes"


def test_learning_does_not_depend_on_chance() -> None:
    text = "one two three two one, a rose is a rose " * 30
    first, again = learn_bytepairs(text), learn_bytepairs(text)
    assert (first.pieces, first.merges) == (again.pieces, again.merges)


def test_damaged_vocabularies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks"):
        BytePair(ALPHABET[1:], ())
    with pytest.raises(ValueError, match="twice"):
        BytePair((*ALPHABET, "a"), ())
    (tmp_path / "pieces.json").write_text("{}")
    with pytest.raises(ValueError, match="lacks pieces"):
        BytePair.read(tmp_path / "pieces.json")


def test_a_folder_of_gpt2_is_read_in_both_forms(tmp_path: Path) -> None:
    ours, library = both()
    library.add_special_tokens([END])
    library.model.save(str(tmp_path))
    apart = read_bytepairs(tmp_path)
    library.save(str(tmp_path / "tokenizer.json"))
    whole = read_bytepairs(tmp_path)
    assert apart.pieces == ours.pieces
    assert whole.pieces == (*ours.pieces, END)
    assert whole.merges == apart.merges == ours.merges
    assert whole.end == len(ours.pieces)
    assert whole.text([*whole.encode(f"a {END}"), whole.end]) == f"a {END}"
    with pytest.raises(TeacherError, match="holds no tokenizer"):
        read_bytepairs(tmp_path / "none")
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TeacherError, match="not GPT-2's"):
        read_bytepairs(tmp_path)

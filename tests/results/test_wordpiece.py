"""Texts become the ids that the ``tokenizers`` library gives, awkward ones too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from evaluators.tasks.vocabulary import learn_vocabulary
from results.bundle.wordpiece import LONGEST_WORD, WordPiece, words

TEXTS = (
    "The café's crème brûlée — naïve, déjà vu; isn't it?",
    "Ünïcödé ÅNGSTRÖM İstanbul straße ΣΊΣΥΦΟΣ ǅ",
    "我喜欢这部电影 and 東京タワー 한국어 영화",
    "emoji 😀😀 👩‍👩‍👧 ❤️ \U0001f9ff flags 🇩🇪",
    "zero\u200bwidth \ufeffbom\xa0space\u3000wide \x00\x07 tab\tnew\nline\r\n",
    "a" * (LONGEST_WORD + 1) + " " + "b" * LONGEST_WORD + " word",
    "x=1+2^3~`$5.00 #hash @user http://a.b/c?d=e&f 100%",
    "हिन्दी العربية עברית ไทย",
    "",
    "   ",
    "ﬁne ½ ① ｆｕｌｌ \ufffd",
)


def both(tmp_path: Path, lowercase: bool) -> tuple[WordPiece, BertWordPieceTokenizer]:
    ours = WordPiece(
        learn_vocabulary([*TEXTS[:4] * 3, "The movie was great", "movies are greatest"]).pieces, lowercase
    )
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in ours.pieces), encoding="utf-8")
    read = WordPiece.read(tmp_path / "vocab.txt", lowercase)
    assert read.pieces == ours.pieces
    return read, BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=lowercase)


@pytest.mark.parametrize("lowercase", [True, False])
def test_same_ids_as_the_library(tmp_path: Path, lowercase: bool) -> None:
    ours, library = both(tmp_path, lowercase)
    for text in (*TEXTS, *map(str.upper, TEXTS)):
        expected = library.encode(text).ids
        assert ours.encode(text, len(expected) + 3) == [*expected, 0, 0, 0], text
        library.enable_truncation(7)
        short = library.encode(text).ids
        library.no_truncation()
        assert ours.encode(text, 7) == short + [0] * (7 - len(short)), text


def test_same_ids_of_any_text(tmp_path: Path) -> None:
    ours, library = both(tmp_path, lowercase=True)

    @given(st.text(st.characters(codec="utf-8", max_codepoint=0x2FFF, categories=["L", "N", "Sm", "Zs", "Cc"])))
    def check(text: str) -> None:
        assert [ours.pieces[piece] for piece in ours.ids(text)] == library.encode(text).tokens[1:-1]

    check()


def test_ascii_has_the_words_of_any_text() -> None:
    text = "".join(map(chr, range(1, 128))) + " It's 2+2=4_ok\tx\x0by\x7fz"
    assert list(words(text, True)) == [word for word in words(f"{text} é", True) if word != "e"]


def test_names_of_special_tokens_are_plain_text(tmp_path: Path) -> None:
    ours, _ = both(tmp_path, lowercase=True)
    start, end = ours.encode("", 2)
    assert not {0, start, end} & set(ours.ids("[CLS] great [SEP] [PAD]"))


@pytest.mark.parametrize("pieces", [["[UNK]", "[PAD]", "[CLS]", "[SEP]"], ["[PAD]", "a"], ["[PAD]"] * 2])
def test_unfit_vocabularies_are_refused(pieces: list[str]) -> None:
    with pytest.raises(ValueError, match="the vocabulary"):
        WordPiece(pieces)

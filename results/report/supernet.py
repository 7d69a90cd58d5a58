"""What the report says of a run's supernet."""

from __future__ import annotations

from html import escape

from results.measurement import Measurement
from results.supernet import supernet_sentences
from results.view import RunView


def supernet_html(view: RunView) -> str:
    """What the supernet cost and bought, and the sample that says how well it ranks; "" where there is none."""
    facts = view.facts.get("supernet")
    if not facts:
        return ""
    said = supernet_sentences(view.facts, view.candidates)
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
    taught = [each for each in facts["sample"].values() if each is not None]
    best_first = sorted(taught, key=lambda each: -each["trained"])
    columns = {"inherited": "inherited", "fine_tuned": "fine-tuned", "trained": "taught from scratch"}
    known = {name: head for name, head in columns.items() if any(each.get(name) is not None for each in taught)}
    rows = "".join(f"<tr>{''.join(_share(each.get(name)) for name in known)}</tr>" for each in best_first)
    heads = "".join(f'<th class="number">{head}</th>' for head in known.values())
    return f'{text}<table class="figures"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


SUPERNET = (
    "Accuracy on the validation split of sub-networks at random: as their weights are in the supernet, where that "
    "was tried after a third of the search's training from there, and after training from scratch. The better "
    "the first ranks as the last does, the better the search."
)


def _share(value: float | None) -> str:
    shown = "" if value is None else escape(str(Measurement(value, "share")))
    return f'<td class="number">{shown}</td>'

"""What a run's facts say of its supernet, in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from results.candidate import Candidate
from results.units import format_time


def supernet_sentences(run_facts: Mapping[str, Any], candidates: Sequence[Candidate]) -> list[str]:
    """What there is to say of a run's supernet; nothing where it has none."""
    facts = run_facts.get("supernet")
    return (
        []
        if not facts
        else [said for said in (supernet_sentence(facts), bought_sentence(facts, candidates)) if said]
    )


def supernet_sentence(facts: Mapping[str, Any]) -> str:
    """Where a supernet comes from, what it cost, and whether its scores rank students."""
    made = f"taken from {facts['from']}" if "from" in facts else "trained here"
    way = ", block by block," if facts.get("origin", {}).get("supervision") == "blocks" else ""
    workers = "1 worker" if facts["workers"] == 1 else f"{facts['workers']} workers"
    cost = f"{facts['epochs']} epochs{way} in {format_time(facts['seconds'])} on {workers}"
    taught = [each for each in facts["sample"].values() if each is not None]
    ranks = (
        f"on {len(taught)} sub-networks at random, inherited scores rank as trained accuracies with Kendall "
        f"{facts['kendall']:.2f}, Spearman {facts['spearman']:.2f}"
    )
    follows = (
        "candidates are scored with inherited weights" if facts["trusted"] else _otherwise(facts.get("tuned"))
    )
    return f"Supernet {made} ({cost}): {ranks}: {follows}."


def _otherwise(tuned: Mapping[str, Any] | None) -> str:
    """What is done where inherited scores are too little to go by."""
    little, full = "that is too little to go by", "candidates are taught, beginning with inherited weights"
    if tuned is None:
        return f"{little}, so {full}"
    ranks = f"{little}; fine-tuned for a third of the epochs they rank with Kendall {tuned['kendall']:.2f}"
    if tuned["trusted"]:
        return f"{ranks}, so candidates are fine-tuned"
    return f"{ranks}, too little as well: {full}"


def bought_sentence(facts: Mapping[str, Any], candidates: Sequence[Candidate]) -> str:
    """What the scores of the supernet spared the search, against teaching as its sample was; "" where nothing."""
    scores = [candidate.seconds["score"] for candidate in candidates if "score" in candidate.seconds]
    taught = [each["train_seconds"] for each in facts["sample"].values() if each is not None]
    if not scores or not taught:
        return ""
    apiece = statistics.fmean(taught)
    spent = facts["seconds"] * facts["workers"] + sum(taught)
    return (
        f"{len(scores)} candidates were scored in {format_time(sum(scores))}; to teach them would have taken "
        f"~{format_time(len(scores) * apiece)} of a worker (estimate: {format_time(apiece)} each in the sample), "
        f"against {format_time(spent)} for the supernet and its sample."
    )

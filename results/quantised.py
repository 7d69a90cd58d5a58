"""What is said of a student of whole numbers."""

from __future__ import annotations

from results.candidate import Student


def note_of(student: Student) -> str:
    """Why a student fell off the front, if it did, and what integers bought it."""
    return "; ".join(filter(None, (student.note, quantised_text(student))))


def quantised_text(student: Student) -> str:
    """In a few words: how fast and how large against the same network in float32; empty for one of floats.

    The student's figures are those of one target (``Goal.seen``).
    """
    if not student.quantised:
        return ""
    figures = student.measurements
    said = []
    if "latency" in figures and "float_latency" in figures:
        ratio = figures["float_latency"].value / figures["latency"].value
        said.append(
            f"{ratio:.2f} x as fast as in float32" if ratio >= 1 else f"SLOWER than in float32 ({ratio:.2f} x)"
        )
    if "size" in figures and "float_size" in figures:
        said.append(f"{figures['size'].value / figures['float_size'].value:.2f} of its size")
    facts = student.quantised
    how = f"weights of {facts['weight_bits']} bits" if facts.get("weights_only") else "in integers"
    return ", ".join([f"{how}: {said[0]}", *said[1:]] if said else [how])

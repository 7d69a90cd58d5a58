"""What a container allows its processes: processor time and memory (Linux control groups, both versions)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processors' worth of time the process may use, or None without a limit."""
    shares = [float(quota) / float(period) for quota, period in _quotas(root) if quota.isdigit() and float(period)]
    return min(shares, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes of memory the process may use, or None without a limit."""
    texts = [_text(folder / "memory.max") for folder in _folders(root, "")]
    texts += [_text(folder / "memory.limit_in_bytes") for folder in _folders(root, "memory")]
    limits = [int(text) for text in texts if text.isdigit()]
    return min(limits, default=None)


def _quotas(root: Path) -> Iterator[tuple[str, str]]:
    for folder in _folders(root, ""):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        yield quota, period or "0"
    for folder in _folders(root, "cpu"):
        yield _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us") or "0"


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The group of this process and all above it: each may set a limit. ``""`` is the unified hierarchy."""
    mount = root / "sys/fs/cgroup" / controller
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inside = Path(path.lstrip("/"))
            yield from (mount / group for group in (inside, *inside.parents))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

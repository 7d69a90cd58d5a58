from __future__ import annotations
from dataclasses import dataclass
from hw_profiles.profile import Profile
DIRECT={"m":0}
@dataclass(frozen=True)
class Sizes:
    batch: int
    inputs: int
    channels: int
    height: int
    width: int
import os
def options(sizes, profile):
    e=os.environ.get("WG")
    if e is None: return [DIRECT]
    return [dict((k,int(v)) for k,v in (x.split("=") for x in e.split()))]

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from space_contract import (
    CHECKS,
    QUICK_CHECKS,
    Case,
    price,
    signatures,
    signatures_elsewhere,
)

from spaces.catalogue import load_space, space_names
from spaces.scales import resolutions
from spaces.space import VECTOR, random_choice
from understudy import SpaceError

OWN_FILE = Path(__file__).parent / "own_space.py"
DIGITS = Case("mobile", channels=1, image_size=16)
OURS = (
    DIGITS,
    Case("mobile", channels=3, image_size=32, mutations=3),
    Case("mobile", channels=3, image_size=64, mutations=2),
    Case("mobile", channels=3, image_size=224, classes=100, mutations=3),
    Case("residual", channels=1, image_size=16, mutations=8),
    Case("residual", channels=1, image_size=28, mutations=3),
    Case("residual", channels=3, image_size=224, mutations=3),
)
SPEECH = Case("speech", channels=1600, image_size=VECTOR, sample_rate=4000, mutations=4)
USERS = (
    Case(f"{OWN_FILE}:Own", channels=3, image_size=12),
    Case(f"{OWN_FILE}:Sized", channels=1, image_size=16),
    Case(f"{OWN_FILE}:NeedsNumbers", channels=1, image_size=16),
)
HUB = (
    Case("nni:AutoFormer", channels=1, image_size=16, mutations=3),
    Case("nni:MobileNetV3Space", channels=1, image_size=32, mutations=3),
    Case("nni:NasBench201", channels=2, image_size=16, mutations=1),
    Case("nni:ProxylessNAS", channels=3, image_size=32, mutations=3),
    Case("nni:ShuffleNetSpace", channels=1, image_size=32, mutations=1),
)
TEXTS = Case("text", channels=500, image_size=32, classes=3, mutations=4, tokens=True)
MASKS = Case("segment", channels=3, image_size=64, classes=3, mutations=2, dense=True)
BOXES = Case("detect", channels=3, image_size=144, classes=7, mutations=2, dense=True, boxes=True)
LANGUAGE = Case("language", channels=300, image_size=16, classes=300, mutations=4, tokens=True, dense=True)
QUESTIONS = Case("answer", channels=3, image_size=48, classes=5, mutations=4, question=(50, 8))
NOT_OF_IMAGES = (TEXTS, LANGUAGE, SPEECH, MASKS, BOXES, QUESTIONS)
OF_IMAGES = [name for name in space_names() if name not in [case.spec for case in NOT_OF_IMAGES]]
EVERY = (*OURS, *USERS, *HUB)


def shown(case: Case) -> str:
    return f"{Path(case.spec).name}-{case.image_size}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", [*OURS, *NOT_OF_IMAGES, *USERS], ids=shown)
def test_contract(case, check):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("check", QUICK_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", HUB, ids=shown)
def test_contract_of_hub_spaces(case, check):
    check(case)


def test_signatures_and_the_smallest_are_the_same_in_another_process():
    cases = (DIGITS, OURS[4], TEXTS, *USERS)
    assert signatures(cases) == signatures_elsewhere(cases)
    assert DIGITS.space.smallest() == load_space(DIGITS.spec, **DIGITS.sizes).smallest()


def test_names_and_errors_need_no_nni():
    code = (
        "import sys, spaces.choice, spaces.space; from spaces.catalogue import space_names, load_space\n"
        "print(*space_names())\n"
        "try: load_space('mobil', channels=1, image_size=16, classes=10)\n"
        "except Exception as error: print(error)\n"
        "assert not {'torch', 'nni', 'tvm'} & sys.modules.keys()"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[0].split() == list(space_names())
    assert "did you mean 'mobile'?" in run.stdout


@pytest.mark.parametrize("case", OURS, ids=shown)
def test_our_spaces_range_from_tiny_to_large(case):
    least, most = {16: (6e3, 500e3), 28: (1e4, 2e6), 32: (1e4, 2e6), 64: (2e4, 4e6), 224: (1e5, 15e6)}[
        case.image_size
    ]
    large = {label: values[-1] for label, values in case.space.domain.items()}
    sizes = [
        sum(parameter.numel() for parameter in case.space.build(choice).parameters())
        for choice in (case.space.smallest(), large)
    ]
    assert sizes[0] <= least
    assert most / 5 < sizes[1] <= most
    assert price(case, large) > 20 * price(case, case.space.smallest())


@pytest.mark.parametrize("name", OF_IMAGES)
def test_our_layers_suit_vector_registers(name):
    """Multiples of 8 channels, batch norm after every convolution but the gates, no ReLU6."""
    space = load_space(name, channels=3, image_size=32, classes=10)
    for seed in range(5):
        network = space.build(random_choice(space, random.Random(seed)))
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                assert module.out_channels % 8 == 0
            assert not isinstance(module, torch.nn.ReLU6)
        assert [layer for layer, _ in network.named_children()] == ["stem", "stages", "head"]


@pytest.mark.parametrize("name", OF_IMAGES)
def test_signals_keep_their_scale_through_untrained_networks(name):
    space = load_space(name, channels=1, image_size=16, classes=10)
    for seed in range(5):
        torch.manual_seed(seed)
        choice = random_choice(space, random.Random(seed))
        network, size = space.build(choice), space.resolution(choice)
        logits = network(torch.rand(32, 1, size, size))
        assert 0.05 < logits.std() < 5
        logits.square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_inert_choices_change_neither_signature_nor_weights():
    space = load_space("residual", channels=1, image_size=16, classes=10)
    base = {**space.smallest(), "stages.2.block": "basic"}
    built = []
    for hidden in space.domain["stages.2.hidden"]:
        torch.manual_seed(0)
        built.append(space.build({**base, "stages.2.hidden": hidden}).state_dict())
    signed = {space.signature({**base, "stages.2.hidden": hidden}) for hidden in space.domain["stages.2.hidden"]}
    assert len(signed) == 1
    assert all(torch.equal(built[0][key], other[key]) for other in built for key in built[0])
    used = {**base, "stages.2.block": "bottleneck"}
    assert len({space.signature({**used, "stages.2.hidden": h}) for h in space.domain["stages.2.hidden"]}) > 1


def test_a_signature_is_fast():
    space = DIGITS.space
    choices = DIGITS.choices(20, seed=11)
    started = time.process_time()
    for choice in choices:
        space.signature(choice)
    assert (time.process_time() - started) / len(choices) < 0.1


def test_resolutions_of_small_and_large_images():
    assert resolutions(16) == (8, 16)
    assert resolutions(28) == (16, 24, 28)
    assert resolutions(32) == (16, 24, 32)
    assert resolutions(224) == (96, 128, 160, 192, 224)
    for image_size in range(8, 600):
        assert resolutions(image_size)[-1] == image_size


def test_a_space_with_and_without_a_resolution():
    sized, fixed = USERS[1].space, USERS[0].space
    assert sized.resolutions == (8, 16)
    assert [sized.resolution({**sized.smallest(), "resolution": r}) for r in (8, 16)] == [8, 16]
    assert fixed.resolution(fixed.smallest()) == 12


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mobil", "unknown space 'mobil': did you mean 'mobile'"),
        ("nni:MobileNetV3", "did you mean 'MobileNetV3Space'"),
        ("nni:DARTS", "unknown NNI hub space 'DARTS'"),
        ("nowhere.py:Own", r"there is no file nowhere.py: name the Python file"),
        ("{file}:Onw", "unknown class 'Onw': did you mean 'Own'"),
        ("{file}:NotASpace", "must derive from nni.nas.nn.pytorch.ModelSpace"),
        ("{file}:Raises", "its constructor raised KeyError: 'no such layer'"),
        ("{file}:Greedy", "constructor of Greedy needs secret, but is given channels, image_size, classes only"),
        ("{file}:Choiceless", "has no choices: declare some with"),
        ("{file}:Unlabelled", "Label must be specified manually"),
        ("{file}:WrongShape", r"must give \(2, 10\) logits for 2 samples, but gave \(2, 3\)"),
        ("{file}:WrongForward", "its forward raised RuntimeError"),
    ],
)
def test_what_is_no_space_is_refused(spec, message):
    with pytest.raises(SpaceError, match=message):
        load_space(spec.format(file=OWN_FILE), channels=1, image_size=16, classes=10)


@pytest.mark.parametrize("text", ["import no_such_module", "class X(:", "raise SystemError('x')"])
def test_a_file_that_cannot_run_is_refused(tmp_path, text):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(
        SpaceError, match=r"broken.py cannot be run: it raised (ModuleNotFound|Syntax|System)Error"
    ):
        load_space(f"{path}:X", channels=1, image_size=16, classes=10)


NEIGHBOUR = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from beside_the_space import WIDTH
@dataclass
class Sizes:
    width: int = WIDTH
class Near(ModelSpace):
    def __init__(self, channels: int, classes: int):
        super().__init__()
        from beside_the_space import layer
        self.first = LayerChoice([torch.nn.ReLU(), torch.nn.GELU()], label="act")
        self.last = layer(channels, Sizes().width, classes)
    def forward(self, x):
        return self.last(self.first(x))
"""


def test_a_file_imports_its_neighbours_and_keeps_its_dataclasses(tmp_path):
    (tmp_path / "near.py").write_text(NEIGHBOUR)
    (tmp_path / "beside_the_space.py").write_text(
        "from torch import nn\nWIDTH = 4\n"
        "def layer(c, w, n): return nn.Sequential(nn.Conv2d(c, w, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(w, n))\n"
    )
    before = list(sys.path)
    space = load_space(f"{tmp_path}/near.py:Near", channels=1, image_size=8, classes=3)
    assert space.build(space.smallest())(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert sys.path == before


def test_impossible_sizes_are_refused():
    for wrong in ({"channels": 0}, {"image_size": 4}, {"classes": 1}):
        with pytest.raises(SpaceError, match="of at least"):
            load_space("mobile", **{"channels": 1, "image_size": 16, "classes": 10, **wrong})
    with pytest.raises(SpaceError, match="even image size"):
        load_space("nni:AutoFormer", channels=1, image_size=15, classes=10)

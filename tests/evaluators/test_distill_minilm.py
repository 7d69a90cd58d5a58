"""MiniLM: what it compares, where it finds it, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from distiller_contract import ConvNet
from distiller_contract import teacher as teacher_of_images
from torch import nn

from evaluators.distill.catalogue import load_distiller
from evaluators.distill.features import FeatureCapture
from evaluators.distill.methods.minilm import MiniLM, relation_divergence
from evaluators.distill.signals import Signals
from evaluators.teachers.teacher import ModuleTeacher
from spaces.catalogue import load_space
from understudy import ConfigError

PIECES, LENGTH = 50, 12


def network(**choice: int) -> nn.Module:
    space = load_space("text", channels=PIECES, image_size=LENGTH, classes=3, tokens=True)
    torch.manual_seed(len(choice))
    return space.build({**space.smallest(), "resolution": LENGTH, **choice})


def teacher(module: nn.Module) -> ModuleTeacher:
    return ModuleTeacher(module, name="t", classes=3, channels=PIECES, resolution=LENGTH, fingerprint="t")


def ids(length: int = LENGTH) -> torch.Tensor:
    drawn = torch.randint(1, PIECES, (4, length), generator=torch.Generator().manual_seed(0))
    drawn[1, 5:] = 0
    return drawn


def test_divergence_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    ours, theirs, kept = torch.randn(2, 4, 6), torch.randn(2, 5, 8), torch.ones(2, 4, dtype=torch.bool)
    kept[1, 3] = False
    expected = []
    for sample, count in ((0, 4), (1, 3)):
        for token in range(count):
            by_head = []
            for head in range(2):
                shares = []
                for vectors, size in ((ours, 3), (theirs, 4)):
                    part = vectors[sample, :count, head * size : (head + 1) * size]
                    shares.append(torch.softmax(part @ part[token] / size**0.5, 0))
                by_head.append((shares[1] * (shares[1] / shares[0]).log()).sum())
            expected.append(torch.stack(by_head).mean())
    torch.testing.assert_close(relation_divergence(ours, theirs, kept, 2), torch.stack(expected).mean())
    assert relation_divergence(ours, ours, kept, 2).abs() < 1e-6


def test_it_finds_the_last_attention_and_teaches_it() -> None:
    student, wise = network(depth=2, width=32), network(depth=3, width=64, heads=4)
    attached = load_distiller("minilm").attached(student, teacher(wise), ids())
    assert attached.student_layers == tuple(f"stages.1.attention.{each}" for each in ("query", "key", "value"))
    assert attached.teacher_layers[0] == "stages.2.attention.query"
    signals = []
    for each, layers in ((student, attached.student_layers), (wise, attached.teacher_layers)):
        with FeatureCapture(each, layers) as capture:
            logits = each(ids())
            signals.append(Signals(logits, dict(capture.features), ids(), torch.arange(4)))
    loss = attached.loss(*signals, torch.tensor([0, 1, 2, 0]))
    for name in attached.student_layers:
        (gradient,) = torch.autograd.grad(loss.distillation, signals[0].features[name], retain_graph=True)
        assert gradient.abs().sum() > 0
    assert attached.loss(*signals, None).task == 0


def test_layers_of_transformers_are_found() -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(vocab_size=PIECES, dim=16, n_layers=2, n_heads=2, hidden_dim=16)
    distilbert = DistilBertForSequenceClassification(config)
    attached = MiniLM().attached(network(), teacher(distilbert), ids())
    assert attached.teacher_layers[2] == "distilbert.transformer.layer.1.attention.v_lin"


def test_what_it_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="tokens of texts"):
        MiniLM().attached(ConvNet(1, 8, 10), teacher_of_images(), torch.rand(1, 1, 8, 8))
    with pytest.raises(ConfigError, match="teacher t has no layers named query"):
        MiniLM().attached(network(), teacher(nn.Linear(3, 3)), ids())
    with pytest.raises(ConfigError, match="no 5 equal parts"):
        MiniLM(heads=5).attached(network(), teacher(network()), ids())
    with pytest.raises(ConfigError, match="1 or more heads"):
        load_distiller("minilm:heads=0")

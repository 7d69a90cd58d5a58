"""Vectors and graphs: from files to tasks, a graph network as teacher, students that need no graph."""

from __future__ import annotations

import functools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.distill.evaluate import predict_logits
from evaluators.distill.methods.response import HardLabels, SoftTargets
from evaluators.distill.schedule import Schedule
from evaluators.distill.signals import Signals
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.graphs.graph_task import GraphTask, WholeGraph
from evaluators.graphs.networks import KINDS, GraphNet, geometric
from evaluators.graphs.structure import LocalStructure
from evaluators.graphs.teacher import graph_teacher
from evaluators.tasks.load import load_task
from evaluators.tasks.opening import open_task
from evaluators.tasks.task import UNLABELLED
from evaluators.tasks.vector_task import VectorTask
from evaluators.teachers.builtin import builtin_teacher
from evaluators.teachers.teacher import Teacher
from results.bundle.runner import BundleProblem, preprocess, read_vectors
from spaces.catalogue import load_space
from spaces.space import VECTOR
from understudy import ConfigError, DataError, SpaceError, TeacherError

NODES, CLASSES, FEATURES = 240, 3, 40


def block_model(seed: int = 0) -> dict[str, np.ndarray]:
    """A stochastic block model: neighbours are mostly of one class, words hint at it only weakly."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, CLASSES, NODES)
    same = label[:, None] == label[None, :]
    edge = np.argwhere(np.triu(generator.random((NODES, NODES)) < np.where(same, 0.08, 0.005), 1)).T
    favoured = np.arange(FEATURES)[None, :] % CLASSES == label[:, None]
    features = (generator.random((NODES, FEATURES)) < np.where(favoured, 0.13, 0.05)).astype(np.float32)
    train = np.concatenate([np.flatnonzero(label == each)[:6] for each in range(CLASSES)])
    rest = np.setdiff1d(np.arange(NODES), train)
    parts = {"train": train, "val": rest[:60], "test": rest[60:160]}
    return {"features": features, "label": label, "edge": edge, **parts}


def saved(folder: Path, **changed: np.ndarray) -> Path:
    """The block model in a file, with some arrays replaced (None: left out)."""
    arrays = {name: array for name, array in (block_model() | changed).items() if array is not None}
    np.savez(folder / "graph.npz", **arrays)
    return folder / "graph.npz"


def load(path: Path, cache: Path) -> VectorTask:
    task = load_task(str(path), cache=cache / "cache", seed=0)
    assert isinstance(task, VectorTask)
    return task


@functools.cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="understudy-tests-")


@functools.cache
def graph() -> GraphTask:
    folder = Path(scratch().name)
    task = load(saved(folder), folder)
    assert isinstance(task, GraphTask)
    return task


@functools.cache
def taught() -> tuple[Teacher, TeacherOutputs]:
    cache = Path(scratch().name)
    teacher = graph_teacher("gcn", graph(), cache=cache, seed=0, width=16, epochs=30)
    return teacher, compute_outputs(teacher, graph(), views=1, cache=cache)


def test_every_node_trains_and_few_with_their_label():
    task, arrays = graph(), block_model()
    assert task.counts == {"train": NODES, "val": 60, "test": 100}
    rows, targets = task.rows("train", np.arange(NODES)), task.targets("train")
    assert sorted(rows) == list(range(NODES))
    labelled = targets != UNLABELLED
    assert set(rows[labelled]) == set(arrays["train"])
    for split in ("val", "test"):
        np.testing.assert_array_equal(task.targets(split), arrays["label"][arrays[split]])
        np.testing.assert_array_equal(task.images(split, [0, 1], VECTOR), arrays[split][:2])
    np.testing.assert_array_equal(targets[labelled], arrays["label"][rows[labelled]])


def test_sparse_features_keep_their_zeros_and_have_one_scale():
    task = graph()
    batch, given = (
        task.batch("train", np.arange(NODES), VECTOR),
        task.features[task.rows("train", np.arange(NODES))],
    )
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, torch.from_numpy(given / given.std()))
    assert task.preprocess(VECTOR) == {"features": FEATURES, "mean": [0.0], "std": [task.std[0]]}


def test_other_features_are_standardised(tmp_path):
    features = np.random.default_rng(0).normal(5, 3, (NODES, 4)).astype(np.float32)
    features[:, 3] = 7
    task = load(saved(tmp_path, features=features), tmp_path)
    batch = task.batch("train", np.arange(NODES), VECTOR)
    torch.testing.assert_close(batch.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.std(0, correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-4, rtol=0)
    given = task.features[task.rows("val", [3])[0]]
    np.testing.assert_array_equal(preprocess(given, task.preprocess(VECTOR)), task.batch("val", [3], VECTOR))


def test_edges_go_both_ways_once_each():
    edges = graph().edges
    pairs = set(map(tuple, edges.T.tolist()))
    assert len(pairs) == edges.shape[1]
    assert {(b, a) for a, b in pairs} == pairs
    assert not any(a == b for a, b in pairs)


def test_the_task_opens_elsewhere_and_is_prepared_once(tmp_path):
    path = saved(tmp_path)
    first, again = load(path, tmp_path), load(path, tmp_path)
    assert first == again
    assert open_task(first.folder) == first
    other = load(saved(tmp_path, features=block_model(1)["features"]), tmp_path)
    assert other.fingerprint != first.fingerprint


def test_sparse_features_are_the_same(tmp_path):
    features = block_model()["features"]
    row, column = np.nonzero(features)
    sparse = {"feature_row": row, "feature_col": column, "feature_value": features[row, column]}
    task = load(saved(tmp_path, features=None, shape=np.array(features.shape), **sparse), tmp_path)
    np.testing.assert_array_equal(task.features, features)


def tables(folder: Path, nodes: str, edges: str = "source,target\na,b\n") -> Path:
    (folder / "nodes.csv").write_text(nodes)
    (folder / "edges.csv").write_text(edges)
    return folder


def test_tables_of_nodes_and_edges(tmp_path):
    lines = [f"n{index},{'hot' if index % 2 else 'cold'},{index % 2 + 0.5},1" for index in range(12)]
    text = "id,label,warmth,one\n" + "\n".join([*lines, "x,,7,1"])
    task = load(tables(tmp_path, text, "weight,target,source\n9,n1,n0\n9,n3,x\n"), tmp_path)
    assert isinstance(task, GraphTask)
    assert task.labels == ("cold", "hot")
    assert task.features.shape == (13, 2)
    assert task.edges.T.tolist() == [[0, 1], [1, 0], [3, 12], [12, 3]]
    assert "9 nodes have no neighbour" in task.notes
    (tmp_path / "rows.csv").write_text(text)
    vectors = load(tmp_path / "rows.csv", tmp_path)
    assert not isinstance(vectors, GraphTask)
    assert (vectors.targets("train") == UNLABELLED).sum() == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"edge": np.array([[0, 1], [1, 999]])},
            r"edge 1 of .* goes from node 1 to node 999, .* 0 to 239 \(1 ",
        ),
        ({"edge": np.zeros((3, 2), int)}, r"edges of .* int64 \(3, 2\): save integers \(2, E\)"),
        ({"features": np.full((NODES, 2), np.nan, np.float32)}, r"node 0 of .* NaN or infinite \(240 such"),
        ({"features": np.zeros(5)}, r"features of .* \(5,\): they are numbers \(N, D\)"),
        ({"features": None}, "has no features: save"),
        ({"label": None}, "has no labels"),
        ({"label": np.zeros(NODES, int)}, "fewer than two classes"),
        ({"label": np.zeros(3, int)}, r"one for each of 240 nodes"),
        ({"train": np.flatnonzero(block_model()["label"] == 1)[:5]}, "no node that trains in .* is of class 0, 2"),
        ({"train": block_model()["val"]}, r"is in 'val' and in 'train'"),
        ({"test": np.array([NODES])}, r"'test' of .* must be rows, 0 to 239"),
        ({"class_names": np.array(["a"])}, "names 1 classes, but labels reach 2"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        load(saved(tmp_path, **changed), tmp_path)


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("id,label,x\na,p,1\nb,q,one\n", "", "line 3 of .* has 'one' as 'x'"),
        ("id,label,x\na,p,1\nb,q\n", "", "line 3 of .* has 2 values, but there are 3 columns"),
        ("id,class,x\na,p,1\n", "", "has no column 'label'"),
        ("id,label\na,p\n", "", "has no features"),
        ("id,label,x\n", "", "holds no rows"),
        ("id,label,split,x\na,p,dev,1\n", "", "line 2 of .*unknown split 'dev'"),
        ("id,label,x\na,p,1\na,q,2\n", "source,target\na,a\n", "the same id to several nodes"),
        ("id,label,x\na,p,1\nb,q,2\n", "source,target\na,c\n", "line 2 of .*edges.csv names node 'c'"),
        ("id,label,x\na,p,1\nb,q,2\n", "from,to\na,b\n", "edges.csv has no column 'source'"),
        ("id,label,x\na,p,1\nb,q,2\n", "source\na\n", "edges.csv has no column 'target'"),
        ("id,label,x\na,p,1\nb,q,2\n", "source,target\na,b\n", "few to split"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, nodes, edges, message):
    with pytest.raises(DataError, match=message):
        load(tables(tmp_path, nodes, edges), tmp_path)


def test_options_of_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds vectors, not images: leave out --image-size"):
        load_task(str(saved(tmp_path)), cache=tmp_path, seed=0, image_size=8)


def test_spaces_of_images_take_no_vectors():
    with pytest.raises(SpaceError, match="is for images, but the data are vectors: use --space mlp"):
        load_space("mobile", channels=9, image_size=VECTOR, classes=3)


@pytest.mark.parametrize("kind", KINDS)
def test_graph_networks_answer_for_nodes(kind):
    pytest.importorskip("torch_geometric")
    with seeded(0):
        network = GraphNet(WholeGraph.open(graph().folder), kind, 16).eval()
    every = network(torch.arange(NODES))
    assert every.shape == (NODES, CLASSES)
    torch.testing.assert_close(network(torch.tensor([7, 3])), every[[7, 3]])


def test_a_graph_network_uses_the_graph():
    pytest.importorskip("torch_geometric")
    teacher, outputs = taught()
    score = graph().score(np.array(outputs.logits("test")), graph().targets("test"))
    assert score > 0.8
    again = graph_teacher("gcn", graph(), cache=Path(scratch().name), seed=0, width=16, epochs=30)
    assert again.fingerprint == teacher.fingerprint
    nodes = torch.arange(5)
    torch.testing.assert_close(again.logits(nodes), teacher.logits(nodes))


def test_a_student_without_the_graph_learns_what_the_graph_tells():
    pytest.importorskip("torch_geometric")
    scores = {}
    for distiller in (SoftTargets(temperature=1.0, weight=1.0), HardLabels()):
        space = load_space("mlp", channels=FEATURES, image_size=VECTOR, classes=CLASSES)
        with seeded(0):
            student = space.build({"width": 64, "depth": 0, "activation": "relu", "dropout": "no"})
        trained = train_student(
            student,
            graph(),
            resolution=VECTOR,
            distiller=distiller,
            teacher_outputs=taught()[1],
            schedule=Schedule(12, views=0),
            seed=0,
        )
        logits = predict_logits(student, graph(), "test", VECTOR)
        scores[distiller.name] = graph().score(logits, graph().targets("test"))
        assert trained.val_accuracy > 1 / CLASSES
    assert scores["soft-targets"] > scores["hard-labels"] + 0.05


def test_what_is_no_teacher_of_a_graph_is_refused(monkeypatch):
    with pytest.raises(TeacherError, match=r"unknown teacher of a graph 'gcm': did you mean 'gcn'\?"):
        graph_teacher("gcm", graph(), cache=Path(scratch().name), seed=0)
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(TeacherError, match=r"need PyTorch Geometric .*: pip install 'understudy\[graph\]'"):
        geometric()


def test_vectors_have_a_teacher_of_their_own(tmp_path):
    path = saved(tmp_path, edge=None, train=None, val=None, test=None)
    task = load(path, tmp_path)
    assert not isinstance(task, GraphTask)
    teacher = builtin_teacher(task, cache=tmp_path, seed=0, epochs=2)
    assert teacher.name == "builtin-perceptron"
    answers = teacher.logits(task.images("val", [0, 1, 2], VECTOR))
    assert answers.shape == (3, CLASSES)
    again = replace(task, mean=(0.0,) * FEATURES, std=(1.0,) * FEATURES)
    assert not torch.allclose(again.batch("val", [0], VECTOR), task.batch("val", [0], VECTOR))


def test_a_student_without_the_graph_learns_the_structure_of_neighbourhoods():
    pytest.importorskip("torch_geometric")
    divergences = {}
    for weight in (0.0, 10.0):
        space = load_space("mlp", channels=FEATURES, image_size=VECTOR, classes=CLASSES)
        with seeded(0):
            student = space.build({"width": 16, "depth": 0, "activation": "relu", "dropout": "no"})
        trained = train_student(
            student,
            graph(),
            resolution=VECTOR,
            distiller=LocalStructure(weight=weight),
            teacher_outputs=taught()[1],
            teacher=taught()[0],
            schedule=Schedule(8, views=0),
            seed=0,
        )
        last = trained.history[-1]
        divergences[weight] = (last.loss - last.distillation_loss) / (weight - 1)
    assert 0 < divergences[10.0] < 0.9 * divergences[0.0]


def test_the_loss_of_a_structure_is_that_of_the_paper():
    """Against sums over a node's neighbours, written out; those that the student did not see do not count."""
    pytest.importorskip("torch_geometric")
    teacher, outputs = taught()
    student = torch.nn.Sequential(torch.nn.Linear(FEATURES, 4), torch.nn.Linear(4, CLASSES))
    attached = LocalStructure(sigma=0.5).attached(student, teacher, graph().batch("train", [0], VECTOR))
    samples = np.arange(NODES)[: NODES // 2]
    features = torch.randn(len(samples), 4)
    ours = Signals(
        torch.zeros(len(samples), CLASSES),
        {attached.student_layers[0]: features},
        ids=torch.from_numpy(samples),
    )
    theirs = Signals(torch.tensor(outputs.logits("train")[samples]))
    loss = attached.prepared(ours, theirs).loss(ours, theirs, None)

    said = dict(zip(graph().rows("train", samples).tolist(), features, strict=True))
    hidden, edges = teacher.module.hidden(), [tuple(edge) for edge in graph().edges.T.tolist()]
    mean_theirs = torch.stack([(hidden[a] - hidden[b]).square().sum() for a, b in edges]).mean()
    seen = [(a, b) for a, b in edges if a in said and b in said]
    mean_ours = torch.stack([(said[a] - said[b]).square().sum() for a, b in seen]).mean()
    expected = torch.zeros(())
    for node in said:
        others = [b for a, b in seen if a == node]
        if others:
            shares = [
                torch.softmax(
                    torch.stack([torch.exp(-(of[node] - of[b]).square().sum() / mean) for b in others]), 0
                )
                for of, mean in ((hidden, mean_theirs), (said, mean_ours))
            ]
            expected += (shares[0] * (shares[0] / shares[1]).log()).sum() / len(samples)
    answers = SoftTargets(1.0, 1.0).loss(ours, theirs, None)
    torch.testing.assert_close(loss.total, answers.total + 10 * expected)


def test_structure_needs_a_teacher_that_knows_the_graph():
    pytest.importorskip("torch_geometric")
    rows = torch.zeros(1, FEATURES)
    with pytest.raises(ConfigError, match="which this teacher does not know"):
        LocalStructure().attached(torch.nn.Linear(FEATURES, 2), None, rows)
    with pytest.raises(ConfigError, match="for students that see no graph"):
        LocalStructure().attached(taught()[0].module, taught()[0], rows)


def test_vectors_for_a_bundle(tmp_path):
    rows = np.arange(6, dtype=np.float64).reshape(2, 3)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "one.npy", rows[0])
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",")
    for name, expected in (("rows.npy", rows), ("one.npy", rows[:1]), ("rows.csv", rows)):
        np.testing.assert_array_equal(read_vectors(tmp_path / name), expected)
    spec = {"features": 3, "mean": [1.0], "std": [2.0]}
    np.testing.assert_array_equal(preprocess(tmp_path / "one.npy", spec), [[-0.5, 0, 0.5]])
    (tmp_path / "text.csv").write_text("a,b\n")
    for wrong, message in ((np.zeros(4), "vectors of 3 finite numbers, but got"), (np.full(3, np.nan), "finite")):
        with pytest.raises(BundleProblem, match=message):
            preprocess(wrong, spec)
    with pytest.raises(BundleProblem, match="cannot be read as vectors"):
        read_vectors(tmp_path / "text.csv")

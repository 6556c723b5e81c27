"""A user's router is one file: it is trained, compared, saved and loaded back."""

import json

import pytest
import torch
from pruning_nets import Residual
from test_cascade import ladder, study  # noqa: F401  (fixtures)

from cascade.building import check_routed
from cascade.choose import as_choice, candidates
from cascade.cli import main as command
from cascade.folder import load_cascade, save_cascade
from cascade.routers import (
    ROUTERS,
    Router,
    find_router,
    kind_and_tap,
    name_at,
    router_names,
    systems,
)
from cascade.routers.files import read_router, save_router
from cascade.study import Study
from eyeriss_sim.registry import import_plugin

PLUGIN = '''
import torch
from cascade.routers import ROUTERS, Router


class Entropy(Router):
    def of_inputs(self, logits):
        chances = logits.float().softmax(1)
        return -(chances * chances.clamp_min(1e-9).log()).sum(1) / torch.tensor(
            float(logits.shape[1])).log()


class Linear(Router):
    at_taps, needs_logits, settings = "each", False, ("channels", "note")

    def __init__(self, channels, note):
        super().__init__()
        self.channels, self.note = channels, note
        self.layer = torch.nn.Linear(2 * channels, 1)

    @classmethod
    def trained(cls, lesson):
        router = cls(lesson.summary.shape[1] // 2, "one of two")
        gap = (lesson.next_logits.softmax(1) - lesson.logits.softmax(1)).gather(
            1, lesson.labels[:, None])
        ones = torch.ones(len(gap), 1)
        found = torch.linalg.lstsq(torch.cat([lesson.summary, ones], 1), gap).solution
        with torch.no_grad():
            router.layer.weight.copy_(found[:-1].T)
            router.layer.bias.copy_(found[-1])
        return router.requires_grad_(False)

    def of_inputs(self, summary):
        return self.layer(summary)[:, 0].sigmoid()

    def charged_layers(self):
        return self.layer


ROUTERS.add("entropy", Entropy)
ROUTERS.add("linear", Linear)
'''


def forget(*kinds):
    for kind in kinds:
        ROUTERS._things.pop(kind, None)


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "my_routers.py"
    file.write_text(PLUGIN)
    yield file
    forget("entropy", "linear")


def test_the_packages_own_routers_are_in_the_order_of_its_tables():
    assert list(ROUTERS) == [
        "selector", "selector+logits", "gain", "max_softmax", "margin"]
    assert systems() == ["cascade", "gain", "max_softmax", "margin"]
    assert router_names(["a", "b"]) == [
        "selector@a", "selector@b", "selector@b+logits", "gain@a", "gain@b",
        "max_softmax", "margin"]
    for name in router_names(["a", "b"]):
        kind, tap = kind_and_tap(name)
        assert ROUTERS[kind] is find_router(name)
        assert name == (kind if tap is None else name_at(kind, tap))


def test_a_users_router_is_trained_compared_kept_and_loaded_back(
        study, plugin, tmp_path, monkeypatch):  # noqa: F811
    import_plugin(plugin)
    own = Study(study.levels[::2], study.parts, cache=tmp_path / "cache")
    table = candidates(own)
    assert {"entropy", "linear"} < set(table.system)
    assert {name for name in table.router if name.startswith("linear")} == {
        f"linear@{tap.name}" for tap in own.taps[1]}
    name = f"linear@{own.taps[1][0].name}"
    uJ, ms = own.router_cost(1, 0, name)
    assert uJ > 0 and ms > 0 and own.router_cost(1, 0, "entropy") == (0, 0)
    again = Study(study.levels[::2], study.parts, cache=tmp_path / "cache")
    assert (again.scores(1, 0, name, "test") == own.scores(1, 0, name, "test")).all()
    for router in ("entropy", name):
        rows = table[(table.router == router) & table.share.between(0.1, 0.9)]
        choice = as_choice(rows.iloc[len(rows) // 2])
        save_cascade(tmp_path / router, own, choice, "residual", {})
        routed, differences = check_routed(
            tmp_path / router, study.parts["test"][0][:40], Residual())
        assert differences["routes"] == 0 and 0 < routed.routes.sum() < 40
    assert load_cascade(tmp_path / name, Residual()).routers[0].note == "one of two"
    forget("entropy", "linear")
    for router in ("entropy", name):
        with pytest.raises(ValueError, match=r"is not registered.*--plugin") as one:
            load_cascade(tmp_path / router, Residual())
        assert "\n" not in str(one.value)


def test_a_plugin_that_changes_is_trained_again(study, plugin, tmp_path):  # noqa: F811
    name = f"linear@{study.taps[2][0].name}"
    scores = []
    for file, text in ((plugin, PLUGIN), (plugin.with_name("other.py"), PLUGIN.replace(
            "lesson.next_logits.softmax(1) - lesson", "1 - lesson"))):
        file.write_text(text)
        forget("entropy", "linear")
        import_plugin(file)
        own = Study(study.levels[::2], study.parts, cache=tmp_path / "cache")
        scores.append(own.scores(1, 0, name, "test"))
    assert (scores[0] != scores[1]).any()


def test_a_command_runs_the_plugin_before_it_reads_a_folder(plugin, tmp_path, capsys):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "cascade.json").write_text(json.dumps({
        "network": "resnet20", "image_shape": [3, 8, 8], "router": "entropy",
        "tap": "relu", "threshold": 0.5,
        "total_uJ_per_image": dict.fromkeys(("front", "router", "back", "mild"), 1),
        "latency_ms": dict.fromkeys(("front", "router", "back", "mild"), 1)}))
    words = ["export", str(tmp_path / "c"), "--out", str(tmp_path / "p")]
    told = []
    for more in ([], ["--plugin", str(plugin)]):
        with pytest.raises(SystemExit) as stopped:
            command(words + more)
        assert stopped.value.code == 2
        told += capsys.readouterr().err.splitlines()
    assert "router 'entropy' is not registered" in told[0] and "--plugin" in told[0]
    assert "config.json: no result file" in told[1] and len(told) == 2


def test_scores_outside_0_to_1_are_refused(study):  # noqa: F811
    class Wild(Router):
        def of_inputs(self, logits):
            return 1 + logits[:, 0] ** 2

    ROUTERS.add("wild", Wild)
    try:
        with pytest.raises(ValueError, match=r"router wild: scores .* in 0 to 1"):
            study.scores(2, 0, "wild", "test")
    finally:
        forget("wild")


def test_a_damaged_or_other_router_is_told_in_one_line(tmp_path):
    torch.manual_seed(0)
    router = ROUTERS["selector"](4, 8)
    save_router(tmp_path / "r.safetensors", router)
    again = read_router(tmp_path / "r.safetensors", ROUTERS["selector"])
    features = torch.rand(5, 4, 3, 3)
    assert torch.equal(again(features), router(features))
    for kind, content in ((ROUTERS["margin"], None), (ROUTERS["selector"], b"x" * 50)):
        if content:
            (tmp_path / "r.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"r\.safetensors: no .* damaged") as one:
            read_router(tmp_path / "r.safetensors", kind)
        assert "\n" not in str(one.value)

"""Registries of named things, and plugin files that add to them."""

import sys

import pytest

from eyeriss_sim import registry
from eyeriss_sim.registry import Registry, import_plugin
from eyeriss_sim.terminal import OneLineParser, add_plugin_option, run_command


def test_a_name_is_taken_once():
    shapes = Registry("shape", "tests.shapes")
    shapes.add("circle", 1)
    with pytest.raises(ValueError, match="shape 'circle' is there already"):
        shapes.add("circle", 2)
    assert shapes["circle"] == 1


def test_an_unknown_name_is_refused_with_the_nearest_and_all_known():
    shapes = Registry("shape", "tests.shapes")
    shapes.add("circle", 1)
    shapes.add("square", 2)
    with pytest.raises(ValueError) as told:
        shapes.find("sqare")
    assert str(told.value) == ("unknown shape 'sqare'; did you mean square? known: "
                               "circle, square")


def test_installed_packages_are_asked_once_and_only_where_the_name_is_unknown(
        monkeypatch):
    shapes, asked = Registry("shape", "tests.shapes"), []

    class Point:
        def load(self):
            shapes.add("star", 5)

    def points(group):
        asked.append(group)
        return [Point()]
    monkeypatch.setattr(registry, "entry_points", points)
    shapes.add("circle", 1)
    assert shapes.find("circle") == 1 and asked == []
    assert shapes.find("star") == 5 and list(shapes) == ["circle", "star"]
    assert "moon" not in shapes and len(shapes) == 2
    assert asked == ["tests.shapes"]


def test_a_plugin_is_run_once(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("import sys\nsys.runs_of_own = getattr(sys, 'runs_of_own', 0) + 1")
    import_plugin(file)
    import_plugin(str(file))
    assert sys.runs_of_own == 1
    del sys.runs_of_own


@pytest.mark.parametrize("text, told", [
    ("a = 1\nb = a / 0\n", ", line 2: the plugin fails with ZeroDivisionError: "),
    ("def (:\n", ": the plugin fails with SyntaxError: ")])
def test_a_plugin_that_fails_is_told_in_one_line(tmp_path, text, told):
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(ValueError) as problem:
        import_plugin(file)
    assert str(problem.value).startswith(f"{file}{told}")
    assert "\n" not in str(problem.value)
    # A mended file is run anew.
    file.write_text("")
    import_plugin(file)


def test_a_plugin_is_a_python_file(tmp_path):
    with pytest.raises(ValueError, match="a plugin is a Python file"):
        import_plugin(tmp_path / "own.txt")
    with pytest.raises(OSError):
        import_plugin(tmp_path / "missing.py")


def test_a_command_runs_the_plugins_that_it_is_given_before_itself(tmp_path, capsys):
    seen = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            "import sys\n"
            f"sys.plugins_run = [*getattr(sys, 'plugins_run', ()), {name!r}]\n")
    parser = OneLineParser(prog="eyeriss-sim")
    add_plugin_option(parser)
    parser.set_defaults(action=lambda args: seen.extend(sys.plugins_run))
    run_command(parser, ["--plugin", str(tmp_path / "one.py"),
                         "--plugin", str(tmp_path / "two.py")])
    del sys.plugins_run
    assert seen == ["one", "two"]
    with pytest.raises(SystemExit) as stopped:
        run_command(parser, ["--plugin", str(tmp_path / "three.py")])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "three.py: No such file" in error

"""Closed folders, full disks, closed pipes, two runs at once: one line each."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import eyeriss_sim
from cascade.cli import main as eyeriss_cascade
from cascade.export import save_programs
from eyeriss_sim.atomic import only_writer, only_writer_of, replacing
from eyeriss_sim.cli import main
from eyeriss_sim.terminal import OneLineParser, run_command
from pruning.result import begun

PACKAGE = Path(eyeriss_sim.__file__).parent
ROOT = PACKAGE.parent


@pytest.fixture
def closed_package(tmp_path):
    """A copy of the package and a home where nothing can be written, root or not."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "eyeriss_sim",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (tmp_path / "site").rglob("*"):
        if folder.is_dir():
            (folder / "__pycache__").write_text("no folder")
    (tmp_path / "home").write_text("no folder")
    (tmp_path / "tmp").mkdir()
    return {key: value for key, value in os.environ.items()
            if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")} | {
        "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_closed_package_and_home_compile_into_a_temporary_folder(
        closed_package, tmp_path):
    code = ("from eyeriss_sim.dataflows.rs_kernels import ceil_div;"
            "print(ceil_div(5, 2))")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=closed_package,
                              cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "3\n"
        assert done.stderr.count("\n") == 1 and "compiled kernels are" in done.stderr
    (folder,) = (tmp_path / "tmp").glob("eyeriss_sim_kernels_*")
    assert list(folder.rglob("*.nbi")) and folder.stat().st_mode & 0o077 == 0


def test_a_temporary_folder_that_others_can_write_to_is_left_alone(
        closed_package, tmp_path):
    taken = tmp_path / "tmp" / f"eyeriss_sim_kernels_{os.getuid()}"
    taken.mkdir(mode=0o777)
    taken.chmod(0o777)
    code = "from eyeriss_sim.dataflows.rs_kernels import ceil_div; ceil_div(5, 2)"
    subprocess.run([sys.executable, "-c", code], env=closed_package, cwd=tmp_path,
                   check=True, capture_output=True)
    assert not list(taken.iterdir())


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("out, broken", [
    ("table.csv", "pandas.DataFrame.to_csv"), ("table.json", "pathlib.Path.write_text"),
    ("table.parquet", "pyarrow.parquet.write_table"),
    ("page.html", "pathlib.Path.write_text")])
def test_a_full_disk_names_the_file(out, broken, tmp_path, monkeypatch, capsys):
    path = tmp_path / out
    path.write_text("old")
    monkeypatch.setattr(broken, full_disk)
    with pytest.raises(SystemExit) as end:
        main(["simulate", "alexnet", "--out", str(path)])
    assert end.value.code == 2
    # Kernels may have been compiled, which takes a line too.
    assert capsys.readouterr().err.endswith(
        f"eyeriss-sim: {path}: No space left on device\n")
    monkeypatch.undo()
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_whatever_fails_on_the_way_the_old_file_stays(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError) as problem, replacing(path) as fresh:
        fresh.write_text("new")
        full_disk()
    assert problem.value.filename == str(path)
    with pytest.raises(FileNotFoundError, match=r"another\.csv"), replacing(path):
        (tmp_path / "another.csv").read_text()
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def but_for_compiling(said):
    """Lines on standard error; the first to run a kernel is told that it takes long."""
    return [line for line in said.splitlines() if "compiling the kernels" not in line]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("package, words", [
    ("eyeriss_sim", ["validate", "--help"]), ("eyeriss_sim", ["simulate", "alexnet"]),
    ("pruning", ["run", "--help"]), ("cascade", ["--help"])])
def test_standard_output_that_is_full_or_closed_ends_quietly(package, words):
    command = [sys.executable, "-m", f"{package}.cli", *words]
    environment = {key: value for key, value in os.environ.items()
                   if key != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True,
                              env=environment)
    assert done.returncode == 2
    (told,) = but_for_compiling(done.stderr)
    assert told.endswith("standard output: No space left on device")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True,
                          env=environment)
    os.close(write)
    assert but_for_compiling(done.stderr) == []
    assert done.returncode == 141       # as of programs that SIGPIPE ends


def run(action):
    parser = OneLineParser(prog="eyeriss-sim")
    parser.set_defaults(action=action)
    run_command(parser, [])


@pytest.mark.parametrize("problem", [
    ValueError("two\nlines"), OverflowError("int too large"), ZeroDivisionError("by 0"),
    EOFError(), RecursionError(), MemoryError(), ImportError("No module named 'onnx'"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"), OSError("odd"),
    PermissionError(13, "Permission denied", "here")])
def test_a_command_ends_with_a_line_whatever_the_input_makes_python_say(
        problem, capsys):
    def action(args):
        raise problem

    with pytest.raises(SystemExit) as end:
        run(action)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("eyeriss-sim: ") and said.count("\n") == 1


def test_a_bug_shows_its_traceback():
    def action(args):
        raise AttributeError("'NoneType' object has no attribute 'x'")

    with pytest.raises(AttributeError):
        run(action)


def test_the_second_of_two_runs_into_one_folder_is_refused(tmp_path):
    folder = tmp_path / "new" / "runs"
    with only_writer(folder), pytest.raises(
            ValueError, match="another run is writing there"), only_writer(folder):
        pass
    with only_writer(folder):
        (folder / "result").write_text("1")
    assert [one.name for one in folder.iterdir()] == ["result"]
    with only_writer(tmp_path / "unused" / "runs"):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["new"]


def test_the_second_of_two_prunings_into_one_folder_is_refused(tmp_path):
    folder = tmp_path / "rung"
    with begun(folder, {"method": "magnitude"}):
        with pytest.raises(ValueError, match="another run is writing there"), begun(
                folder, {"method": "magnitude"}):
            pass
        with begun(folder, {"method": "magnitude"}, "pruning.json"):
            pass                        # what the first one itself asks for
        assert (folder / "config.json").exists()
    assert not folder.exists()


@pytest.mark.parametrize("words, out", [
    (["build", "--accuracy-loss", "1"], "built"), (["bench"], "curves.png")])
def test_the_second_of_two_runs_of_a_cascade_is_refused_before_any_work(
        tmp_path, capsys, words, out):
    # There is no ladder and no data: whoever began to work would name those.
    out = tmp_path / "new" / out
    with only_writer_of(out), pytest.raises(SystemExit) as end:
        eyeriss_cascade([*words, "--network", "resnet20", "--data", "none",
                         "--ladder", "none", "--out", str(out)])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert f"{out}: another run is writing there; wait for it" in said
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_exports_into_one_folder_is_refused(tmp_path):
    with only_writer(tmp_path), pytest.raises(
            ValueError, match="another run is writing there"):
        save_programs(None, torch.zeros(1, 3, 8, 8), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_validations_into_one_folder_is_refused(tmp_path, capsys):
    with only_writer(tmp_path, "_validate.lock"), pytest.raises(SystemExit) as end:
        main(["validate", "--out", str(tmp_path)])
    assert end.value.code == 2
    assert "another run is writing there" in capsys.readouterr().err

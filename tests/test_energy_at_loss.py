"""Energies at a loss are read off ladders as one would with a ruler."""

import pandas as pd
import pytest

from benchmarks.energy_at_loss import bound, energy_at, main, verdicts


def rows(method, rungs, seed=0, network="resnet20", floor=0.3):
    return pd.DataFrame([{
        "network": network, "method": method, "target": target, "seed": seed,
        "accuracy": accuracy, "batch": batch, "energy_rel_eap_tool": energy + 0.1 * (
            batch == 16), "floor_rel": floor}
        for target, accuracy, energy in rungs for batch in (1, 16)])


def board():
    return pd.concat([
        rows("dense", [("dense", 0.90, 1.0), ("density=1", 0.88, 1.0)]),
        rows("magnitude_global",
             [("energy=0.7", 0.895, 0.7), ("energy=0.5", 0.885, 0.5)]),
        rows("magnitude_uniform",
             [("energy=0.7", 0.88, 0.7), ("energy=0.5", 0.8, 0.5)]),
        rows("energy_aware", [("energy=0.5", 0.90, 0.5), ("energy=0.4", 0.88, 0.4)]),
        rows("energy_aware", [("energy=0.5", 0.89, 0.5), ("energy=0.4", 0.87, 0.4)], 1),
        rows("channels", [("energy=0.25", 0.89, 0.25)]),
        rows("psconv", [("support=2", 0.89, 0.6)])], ignore_index=True)


def test_energy_lies_on_the_line_between_the_rungs_around_the_loss():
    ladder = pd.DataFrame({"accuracy": [0.88, 0.90], "energy": [0.3, 0.5]})
    assert energy_at(ladder, 0.9, 1) == (pytest.approx(0.4), False)
    assert energy_at(ladder, 0.9, 3) == (pytest.approx(0.3), True)
    # From the dense network at 1 where the first rung has lost more.
    assert energy_at(ladder[:1], 0.9, 1) == (pytest.approx(0.65), False)


def test_rungs_that_a_cheaper_one_equals_do_not_count():
    ladder = pd.DataFrame({"accuracy": [0.90, 0.80, 0.90, 0.87],
                           "energy": [0.7, 0.5, 0.3, 0.1]})
    energy, open_end = energy_at(ladder, 0.9, 1)
    assert energy == pytest.approx(0.3 - 0.2 / 3) and not open_end
    assert energy_at(ladder[:3], 0.9, 1) == (0.3, True)


def test_methods_are_held_against_the_better_magnitude_and_dense_network():
    found = verdicts(board()).set_index("method")
    assert "psconv" not in found.index and "dense" not in found.index
    one = found.loc["energy_aware"]     # one point below 0.90, of the two dense rows
    assert one.seeds == 2
    assert (one.least, one.most) == (pytest.approx(0.45), pytest.approx(0.5))
    rival = found.loc["magnitude_global"]
    assert rival.energy == pytest.approx(0.6) and rival.ratio == 1
    assert one.ratio == pytest.approx(0.6 / 0.475)
    assert one.ratio_above_floor == pytest.approx(0.3 / 0.175)
    assert pd.isna(found.loc["channels"].ratio_above_floor)
    assert found.loc["channels"].open_ends == 1
    assert not found.rival_open.any()
    assert bound(found.loc["channels"].to_dict() | {"method": "channels"}) == ">"
    # At three points the better magnitude has rungs that it was not asked for.
    more = verdicts(board(), points=3).set_index("method", drop=False)
    assert more.rival_open.all() and more.loc["energy_aware"].open_ends == 2
    assert [bound(more.loc[name].to_dict()) for name in (
        "magnitude_global", "energy_aware")] == ["", "~"]
    sixteen = verdicts(board(), batch=16).set_index("method")
    assert sixteen.loc["energy_aware"].energy == pytest.approx(0.575)


def test_above_the_floor_is_above_the_dense_networks_and_channels_have_their_own():
    whole = board()
    whole.loc[whole.method == "magnitude_global", "floor_rel"] = 0.31
    whole.loc[whole.method == "channels", "floor_rel"] = 0.2
    # Whatever comes first in the table.
    found = verdicts(whole[::-1]).set_index("method")
    assert found.floor.to_dict() == {
        "channels": 0.2, **dict.fromkeys(
            ("energy_aware", "magnitude_global", "magnitude_uniform"), 0.3)}
    assert found.ratio_above_floor["energy_aware"] == pytest.approx(0.3 / 0.175)


def test_a_loss_needs_the_dense_network_and_accuracies():
    whole = board()
    with pytest.raises(ValueError, match="no row of resnet20's dense network"):
        verdicts(whole[whole.method != "dense"])
    with pytest.raises(ValueError, match="-1 points: a loss"):
        verdicts(whole, points=-1)
    whole.loc[whole.method == "channels", "accuracy"] = float("nan")
    with pytest.raises(ValueError, match=r"energy=0\.25 seed 0: accuracy is nan"):
        verdicts(whole)


@pytest.mark.parametrize("column, value, told", [
    ("accuracy", 87.5, "accuracy is 87.5, no share"),
    ("accuracy", "x", "accuracy is x"),
    ("energy_rel_eap_tool", float("nan"), "eap_tool is nan")])
def test_a_figure_that_is_no_share_is_named(column, value, told):
    whole = board()
    whole[column] = whole[column].astype(object)
    whole.loc[whole.method == "energy_aware", column] = value
    with pytest.raises(ValueError, match=told):
        verdicts(whole)


def test_the_table_on_screen_fits_a_terminal(tmp_path, capsys):
    board().to_csv(tmp_path / "board.csv", index=False)
    main([str(tmp_path / "board.csv")])
    lines = capsys.readouterr().out.splitlines()
    assert any("energy_aware" in line and "1.71x*" in line for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("content, told", [
    (b"a,b\n1,2\n", "no column accuracy"), (None, "board.csv: no such table"),
    (b"", "board.csv: no table of"), (b"\x89PNG\xff\x00", "board.csv: no table of")])
def test_what_is_no_leaderboard_is_refused_in_one_line(tmp_path, capsys, content, told):
    path = tmp_path / "board.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        main([str(path)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert told in error and len(error.splitlines()) == 1

"""Hardware files: presets, variants, units, and what is refused."""

from dataclasses import replace

import pytest
from test_cli import run as run_command

from eyeriss_sim.hardware import Hardware, load_hardware, preset_names
from eyeriss_sim.hardware_fields import FIELDS, TOP_FIELDS
from eyeriss_sim.hardware_toml import default_text, read_by, toml_text
from eyeriss_sim.sweep.axes import changes_to


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(name):
    assert load_hardware(name).name == name


def test_chip_has_the_published_storage():
    chip = load_hardware("eyeriss_chip")
    assert (chip.pes, chip.glb_banks, chip.glb_bank_words) == (168, 25, 2048)
    assert (chip.spad_ifmap_words, chip.spad_filter_words, chip.spad_psum_words) == (
        12, 224, 24)
    assert chip.glb_filter_words == 4096
    assert chip.cycles_per_dram_word == pytest.approx(200 / (60 * 4))


def test_variant_says_only_what_differs(tmp_path):
    (tmp_path / "big.toml").write_text(
        'extends = "eyeriss_chip"\n[array]\nrows = 16\ncols = 16\n')
    (tmp_path / "bigger.toml").write_text(
        'name = "mine"\nextends = "big.toml"\n[glb]\nifmap_psum_KB = 200\n')
    hardware = load_hardware(str(tmp_path / "bigger.toml"))
    assert (hardware.name, hardware.pes, hardware.glb_ifmap_psum_B) == (
        "mine", 256, 204800)
    assert hardware.spad_filter_words == 224


def test_other_units_of_a_family_are_converted(tmp_path):
    path = tmp_path / "fast.toml"
    path.write_text('extends = "eyeriss_chip"\n[array]\nclock_GHz = 0.4\n')
    assert load_hardware(str(path)).clock_MHz == 400


def test_measured_energies_replace_the_ratio(tmp_path):
    path = tmp_path / "measured.toml"
    path.write_text('extends = "eyeriss_chip"\n[energy_per_word_pJ]\nglb = 12.5\n')
    hardware = load_hardware(str(path))
    assert hardware.cost_pJ("glb") == 12.5
    assert hardware.cost_pJ("noc") == pytest.approx(2 * hardware.mac_pJ)


@pytest.mark.parametrize("change, dram_pJ", [
    ("static_mW = 5", 500), ("clock_pJ_per_PE_cycle = 0.1", 500), ("mac_pJ = 2", 500),
    ("[energy_per_word_MAC]\nglb = 3", 500), ("[energy_per_word_MAC]\ndram = 100", 144),
    ("[energy_per_word_pJ]\ndram = 7", 7)])
def test_a_measured_energy_stays_unless_its_level_is_said_anew(
        tmp_path, change, dram_pJ):
    (tmp_path / "measured.toml").write_text(
        'extends = "eyeriss_chip"\n[energy_per_word_pJ]\ndram = 500\n')
    path = tmp_path / "variant.toml"
    path.write_text('extends = "measured.toml"\n'
                    + ("" if change.startswith("[") else "[energy]\n") + change)
    assert load_hardware(str(path)).cost_pJ("dram") == pytest.approx(dram_pJ)
    key, _, value = change.rpartition("\n")[2].partition(" = ")
    unit = "pJ" if "_pJ]" in change else "MAC"
    field = f"{key}_{unit}" if change.startswith("[") else key
    machine = replace(load_hardware(str(tmp_path / "measured.toml")),
                      **changes_to({field: float(value)}))
    assert machine.cost_pJ("dram") == pytest.approx(dram_pJ)


def test_a_ratio_in_a_nearer_file_wins_over_a_measured_energy_and_the_reverse(tmp_path):
    files = {"a": 'extends = "eyeriss_chip"\n[energy_per_word_pJ]\ndram = 500\n'
                  'glb = 9\nrf_psum = 3',
             "b": 'extends = "a.toml"\n[energy_per_word_MAC]\ndram = 100\nrf = 2',
             "c": 'extends = "b.toml"\n[energy_per_word_pJ]\ndram = 50'}
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    a, b, c = (load_hardware(str(tmp_path / f"{name}.toml")) for name in files)
    assert [one.cost_pJ("dram") for one in (a, b, c)] == [500, 144, 50]
    assert [one.cost_pJ("glb") for one in (a, b, c)] == pytest.approx([9, 9, 9])
    # The price of all spads takes the place of the one that an older file gave one.
    assert [one.cost_pJ("rf", "psum") for one in (a, b, c)] == pytest.approx(
        [3, 2 * 1.44, 2 * 1.44])
    assert a.cost_MAC("rf", "filter") == 1


def test_hardware_needs_no_ratio_of_a_level_whose_energy_is_measured(tmp_path):
    own = """accounting = "isca16"
[array]
rows = 8
cols = 8
clock_MHz = 100
[rf]
words = 128
[glb]
ifmap_psum_KB = 64
[energy]
mac_pJ = 2
[energy_per_word_pJ]
alu = 2
rf = 3
noc = 4
glb = 10
"""
    path = tmp_path / "own.toml"
    path.write_text(own + "dram = 400\n")
    assert load_hardware(str(path)).cost_MAC("dram") == 200
    path.write_text(own)
    with pytest.raises(ValueError, match="the price of dram is missing; give"):
        load_hardware(str(path))


def test_supply_voltage_scales_what_is_on_the_chip_and_nothing_else():
    chip = load_hardware("eyeriss_chip")
    low = replace(chip, voltage_V=0.5, static_mW=3, glb_pJ=12.0)
    for level in ("alu", "rf", "noc"):
        assert low.cost_pJ(level) == chip.cost_pJ(level) / 4
    assert low.cost_pJ("glb") == pytest.approx(3)
    assert low.cost_pJ("dram") == chip.cost_pJ("dram")
    assert low.clock_pJ == chip.clock_pJ / 4
    assert (low.static_mW, low.clock_MHz) == (3, 200)
    assert replace(chip, voltage_V=1.0) == chip


def test_a_machine_whose_cycles_cost_energy_is_searched_for_joules(tmp_path):
    chip, paper = load_hardware("eyeriss_chip"), load_hardware("isca16_256")
    assert chip.objective == "joules" and paper.objective == "energy"
    assert {load_hardware(name).objective for name in ("dense", "eyeriss_rtl")} == {
        "joules"}
    unsaid = replace(chip, search_objective=None)
    assert unsaid.objective == "joules"
    free = replace(unsaid, clock_pJ_per_PE_cycle=0)
    assert free.objective == "energy"
    assert replace(free, static_mW=1).objective == "joules"
    path = tmp_path / "mine.toml"
    path.write_text('extends = "eyeriss_chip"\n[search]\nobjective = "edp"')
    assert load_hardware(str(path)).objective == "edp"
    # What is searched for is no part of the machine: counts are shared.
    other = replace(chip, search_objective="cycles")
    assert other == chip and hash(other) == hash(chip) and other.objective == "cycles"


@pytest.mark.parametrize("text, words", [
    ('extends = "eyeriss_chip"\n[search]\nobjective = "speed"',
     "unknown objective 'speed'; known: energy, cycles, edp, joules, edp_normalised"),
    ('extends = "eyeriss_chip"\n[search]\nobjective = 3', "unknown objective 3"),
    ('extends = "eyeris"', "'eyeris'; did you mean eyeriss_rtl? presets are dense"),
    ('extends = "eyeriss_chip"\n[arrays]\nrows = 1', "unknown table or key 'arrays'"),
    ('extends = "eyeriss_chip"\n[array]\nrow = 1', "unknown key 'row' in [array]"),
    ('extends = "eyeriss_chip"\n[array]\nrow = 1', "did you mean rows? known: rows"),
    ('extends = "eyeriss_chip"\n[aray]\nrows = 1', "did you mean array? known: name"),
    ('rows = 12', "unknown table or key 'rows'; it stands in [array]; known: name"),
    ('extends = "eyeriss_chip"\n[array]\nbank_B = 1', "it stands in [glb]; known: "),
    ('extends = "eyeriss_chip"\n[zeros]\nhandling = "gate"', "unknown zeros 'gate'; "),
    ('extends = "eyeriss_chip"\n[zeros]\nhandling = "gate_fmap"', "mean gate_ifmap?"),
    ('extends = "eyeriss_chip"\n[array]\nclock_THz = 1', "unknown unit 'THz'"),
    ('extends = "eyeriss_chip"\n[glb]\nifmap_psum_parsec = 1', "ifmap_psum_KB"),
    ('extends = "eyeriss_chip"\n[array]\nrows = 0', "[array] rows must be positive"),
    ('extends = "eyeriss_chip"\n[array]\nrows = -2', "[array] rows must be positive"),
    ('extends = "eyeriss_chip"\n[array]\nrows = 2.5', "must be a whole number"),
    ('extends = "eyeriss_chip"\n[array]\nrows = "12"', "must be a whole number"),
    ('extends = "eyeriss_chip"\n[array]\nclock_MHz = nan', "must be a number"),
    ('extends = "eyeriss_chip"\n[array]\nclock_GHz = nan', "number, got nan"),
    ('extends = "eyeriss_chip"\n[glb]\nifmap_psum_KB = inf', "number, got inf"),
    ('extends = "eyeriss_chip"\n[array]\nrows = 10000000000', "in 1e-09..1e+09"),
    ('extends = "eyeriss_chip"\n[energy]\nmac_pJ = 1e-300', "is the unit right?"),
    ('extends = "eyeriss_chip"\n[glb]\nfilter_B = 4\nfilter_KB = 8', "drop one"),
    ('extends = "eyeriss_chip"\n[array]\nrows = ' + "[" * 10**5, "not a TOML file"),
    ('extends = "eyeriss_chip"\n[zeros]\nhandling = "x"', "known: dense, gate_ifmap"),
    ('extends = "eyeriss_chip"\n[glb]\nbank_B = 999999', "[glb] bank_B = 999999"),
    ('extends = "isca16_256"\naccounting = "chip"', "[spad_words] ifmap is missing"),
    ('accounting = "chip"', "[array] rows is missing"),
    ('extends = "eyeriss_chip"\n[rf]\nwords = 100', "[rf] words has no effect"),
    ('extends = "isca16_256"\n[dram]\nlink_MHz = 1', "[dram] link_MHz has no effect, "
     'because accounting = "isca16"'),
    ('extends = "eap_tool"\n[machine]\nglb_ports = 2', "[machine] glb_ports has no"),
    ('extends = "eyeriss_chip"\n[energy_per_word_pJ]\nglb = 9\n[energy_per_word_MAC]\n'
     'glb = 6', "[energy_per_word_pJ] glb says again, in another unit, what "
     "[energy_per_word_MAC] glb is; drop one"),
    ('extends = "isca16_256"\n[energy_per_word_pJ]\nrf_psum = 1',
     "[energy_per_word_pJ] rf_psum has no effect"),
    ('extends = "eyeriss_chip"\n[chip]\nvoltage_V = 0', "[chip] voltage_V must be pos"),
    ('extends = "eyeriss_chip"\n[chip]\nvoltage_kV = 1', "unknown unit 'kV'"),
    ('[array', "not a TOML file"),
    ('extends = "self.toml"', "extends itself"),
])
def test_bad_hardware_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "self.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        load_hardware(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_one_name_in_two_folders_may_extend_each_other(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "chip.toml").write_text(
        'extends = "eyeriss_chip"\n[array]\nrows = 16\n')
    (tmp_path / "base" / "wide.toml").write_text('extends = "chip.toml"\n')
    (tmp_path / "chip.toml").write_text('extends = "base/wide.toml"\n')
    assert load_hardware(str(tmp_path / "chip.toml")).rows == 16
    (tmp_path / "base" / "chip.toml").write_text('extends = "../chip.toml"\n')
    with pytest.raises(ValueError, match="extends itself through"):
        load_hardware(str(tmp_path / "chip.toml"))


def test_hardware_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "windows.toml"
    path.write_bytes(b'\xef\xbb\xbfextends = "eyeriss_chip"\r\n')
    assert load_hardware(str(path)).name == "windows"


def test_a_problem_of_sizes_names_the_file_not_only_the_machine(tmp_path):
    path = tmp_path / "own.toml"
    for text in ("[glb]\nbank_B = 3\n", "[array]\nrows = 0\n"):
        path.write_text(f'name = "chip_of_mine"\nextends = "eyeriss_chip"\n{text}')
        with pytest.raises(ValueError) as caught:
            load_hardware(str(path))
        assert str(caught.value).startswith(f"{path}: [")


def test_a_table_where_a_word_is_asked_for_is_refused(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('extends = "eyeriss_chip"\n[zeros]\nhandling = {a = 1}\n')
    with pytest.raises(ValueError, match=r"unknown zeros \{'a': 1\}; known: dense"):
        load_hardware(str(path))


# ------------------------------------------------------------------ fields and files


def test_the_table_of_fields_has_every_field_of_hardware_once():
    named = [field.name for field in (*TOP_FIELDS, *FIELDS) if field.name != "extends"]
    # A file says no widths of operands, and prices hold at the sizes that it says.
    unsaid = {"priced_sizes", "ifmap_bits", "filter_bits", "ofmap_bits"}
    assert sorted(named) == sorted({*Hardware.__dataclass_fields__} - unsaid)
    for field in (*TOP_FIELDS, *FIELDS):
        assert field.meaning and field.meaning[0].islower() == (
            field.meaning.split()[0] not in ("FIFO", "MACs", "PEs")), field
        kind = Hardware.__dataclass_fields__.get(field.name)
        if kind and kind.type in (int, float):
            assert field.unit, field


def test_what_is_said_of_a_field_is_what_holds_where_a_file_leaves_it_out():
    by_name = {field.name: field for field in FIELDS}
    assert default_text(by_name["rows"]) == "needed"
    assert default_text(by_name["rf_words"]) == "needed"
    assert read_by(by_name["rf_words"]) == "isca16"
    assert default_text(by_name["psum_in_fifo_words"]) == "32"
    assert default_text(by_name["price_by_size"]) == "false"
    assert default_text(by_name["rf_psum_pJ"]) == "its level's"
    assert default_text(by_name["fmap_code"]) == "none"
    assert by_name["clock_MHz"].units == ("MHz", "kHz", "GHz")
    assert read_by(by_name["clock_MHz"]) == ""


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_printed_and_read_back_is_the_same_hardware(
        capsys, tmp_path, name):
    code, out, _ = run_command(capsys, "hardware", name)
    assert code == 0 and "extends" not in out
    path = tmp_path / "printed.toml"
    path.write_text(out)
    again = load_hardware(str(path))
    assert again == load_hardware(name)
    # Nothing is left to a default that could change.
    assert all(f"\n{field.key} = " in out for field in FIELDS
               if getattr(again, field.name) is not None
               and field.name not in again.dataflow.ignores)


def test_a_file_with_prices_of_a_presets_sizes_is_printed_with_that_preset(tmp_path):
    path = tmp_path / "large.toml"
    path.write_text('name = "l\\"arge"\nextends = "isca16_512"\n[glb]\n'
                    'ifmap_psum_KB = 512\n[energy]\nprice_by_size = true\n'
                    '[energy_per_word_pJ]\nrf = 2\n')
    large = load_hardware(str(path))
    text = toml_text(large)
    assert 'extends = "isca16_512"' in text
    path.write_text(text)
    assert load_hardware(str(path)) == large
    odd = replace(large, priced_sizes=(None, None, None, 7, 8, None))
    with pytest.raises(ValueError, match="sizes that no preset has; print the file"):
        toml_text(odd)


def test_the_command_lists_presets_and_fields(capsys):
    code, out, _ = run_command(capsys, "hardware")
    assert code == 0 and all(name in out for name in preset_names())
    code, out, _ = run_command(capsys, "hardware", "--fields")
    assert code == 0 and max(map(len, out.splitlines())) <= 100
    words = out.split()
    assert all(field.key in words for field in (*TOP_FIELDS, *FIELDS))
    assert all(f"[{field.table}]" in words for field in FIELDS)
    code, out, err = run_command(capsys, "hardware", "eyeriss_chop")
    assert code == 2 and "did you mean eyeriss_chip?" in err and err.count("\n") == 1
    code, out, err = run_command(capsys, "hardware", "dense", "--fields")
    assert code == 2 and "leave dense out" in err

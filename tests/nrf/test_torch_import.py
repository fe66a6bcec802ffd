"""Parameters under torch's names arrive in their places and layouts, from arrays and from `.pt` checkpoints."""

import re

import jax
import numpy as np
import pytest

from nrf.architecture import Architecture
from nrf.energy import make_energy
from nrf.initializer import make_initializer
from nrf.torch_import import check_matches, energy_variables, initializer_variables, read_checkpoint
from runtime.config import ConfigError

FIELDS = {
    "state_sizes": [(2, 8, 8), (4, 8, 8), (2, 3, 3)],
    "connect": [(0, 1), (0, 2), (1, 0)],
    "kind": [(1, 2), (0, 3), (1, 3)],
    "base_kernel_padding": [((3, 1), (5, 0)), ((3, 1), ()), ((3, 0), ())],
    "main_kernel": [3, 7, 1],
    "num_layers": [0, 1, 0],
    "num_ch_base": 4,
    "growth_rate": 2,
    "num_ch_initter": 4,
}
ARCHITECTURE = Architecture.from_lists("example", **FIELDS)
NORMED = Architecture.from_lists("normed", **FIELDS, spec_norm_reg=True)


def flat(tree, path=()):
    if not isinstance(tree, dict):
        return {path: np.asarray(tree)}
    return {k: v for key, value in tree.items() for k, v in flat(value, (*path, key)).items()}


def torch_name(path, weight):
    """Torch's name of a parameter, and what brings our array into torch's layout; `weight`: its name for kernels."""
    *where, leaf = path
    where = "/".join(where)
    rules = [
        (r"()net_(\d+)/base_(\d+)/(conv|transposed)", "quadratic_nets.{1}.densecctblock.base_cctls.{2}.0.{3}"),
        (r"()net_(\d+)/block_(\d+)/cct/(conv|transposed)",
         "quadratic_nets.{1}.densecctblock.top_net.0.cctb_blocks.{2}.cct_layer.{3}"),
        (r"()net_(\d+)/main()/(conv)", "quadratic_nets.{1}.densecctblock.top_net.1.{3}"),
        (r"encoder_(\d+)/cct()()/(conv|transposed)", "enc.cctb_blocks.{0}.cct_layer.{3}"),
        (r"side_(\d+)_(first|second)()/cct/(conv|transposed)", "sides.{0}.{1}.cct_layer.{3}"),
    ]
    if leaf in ("conv_bias", "transposed_bias"):
        where, leaf = f"{where}/{leaf.removesuffix('_bias')}", "bias"
    for pattern, name in rules:
        if match := re.fullmatch(pattern, where):
            groups = [g or "" for g in match.groups()]
            groups[1] = {"first": "0", "second": "2"}.get(groups[1], groups[1])
            transposed = groups[3] == "transposed"
            groups[3] = "conv_T" if transposed else "conv"
            main_or_none = weight == "weight" or "/main/" in where
            ending = {"bias": "bias", "scale": "weight_g", "u": "weight_u"}.get(leaf)
            ending = ending or ("weight" if main_or_none and weight != "weight_orig" else weight)

            order = (2, 3, 0, 1) if transposed else (3, 2, 0, 1)
            values = {"kernel": lambda a, order=order: a.transpose(order), "scale": lambda a: a.reshape(-1, 1, 1, 1)}
            return f"{name.format(*groups)}.{ending}", values.get(leaf, lambda a: a)
    if match := re.fullmatch(r"bias_(\d+)", leaf):
        if not where:
            return f"biases.{match[1]}.weight", lambda a: a.transpose(2, 0, 1).reshape(1, -1)
        net = re.fullmatch(r"net_(\d+)/dense", where)
        return f"quadratic_nets.{net[1]}.fc_net.net.{2 * int(match[1])}.bias", lambda a: a
    if match := re.fullmatch(r"net_(\d+)/dense/layer_(\d+)", where):
        last = leaf == "kernel" and (weight != "weight_v" or int(match[2]) == 1 + FIELDS["num_layers"][int(match[1])])
        ending = "weight_g" if leaf == "scale" else "weight" if last else "weight_v"
        return (f"quadratic_nets.{match[1]}.fc_net.net.{2 * int(match[2])}.{ending}",
                lambda a: a.T if a.ndim == 2 else a.reshape(-1, 1))
    points = [
        (r"net_(\d+)/merge", "quadratic_nets.{0}.densecctblock.top_net.0"),
        (r"net_(\d+)/out", "quadratic_nets.{0}.densecctblock.top_net.1"),
        (r"net_(\d+)/block_(\d+)/squeeze",
         "quadratic_nets.{0}.densecctblock.top_net.0.cctb_blocks.{1}.one_by_one_conv"),
        (r"encoder_(\d+)/squeeze", "enc.cctb_blocks.{0}.one_by_one_conv"),
        (r"side_(\d+)_first/squeeze", "sides.{0}.0.one_by_one_conv"),
        (r"side_(\d+)_second/squeeze", "sides.{0}.2.one_by_one_conv"),
        (r"side_(\d+)_out", "sides.{0}.3"),
    ]
    for pattern, name in points:
        if match := re.fullmatch(pattern, where):
            ending = "weight" if leaf == "kernel" else "bias"
            return f"{name.format(*match.groups())}.{ending}", lambda a: a.T[:, :, None, None] if a.ndim == 2 else a
    raise AssertionError(path)


def torch_table(variables, weight="weight_v"):
    table = {}
    for collection in variables.values():
        for path, array in flat(collection).items():
            name, value = torch_name(path, weight)
            table[name] = value(array)
    return table


def numbered(init):
    """Variables of the right shapes, every number another, so that none can take another's place unseen."""
    leaves, structure = jax.tree.flatten(jax.eval_shape(init, jax.random.key(0)))
    leaves = [np.arange(leaf.size, dtype=np.float32).reshape(leaf.shape) + 1000 * i for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, leaves)


def model_variables(norm="weight"):
    architecture = NORMED if norm == "spectral" else ARCHITECTURE
    return numbered(make_energy(architecture, weight_norm=norm == "weight").init)


def guide_variables():
    return numbered(make_initializer(ARCHITECTURE).init)


def assert_same(found, expected):
    found, expected = flat(found), flat(expected)
    assert set(found) == set(expected)
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array, err_msg="/".join(path))


@pytest.mark.parametrize(("norm", "weight"), [("weight", "weight_v"), ("none", "weight"), ("spectral", "weight_orig")])
def test_energy_parameters_find_their_places(norm, weight):
    expected = model_variables(norm)
    table = torch_table(expected, weight)
    assert len(table) == len(jax.tree.leaves(expected))
    assert_same(energy_variables(ARCHITECTURE, table), expected)


def test_layouts_written_out():
    table = {
        "biases.0.weight": np.arange(128.0).reshape(1, 128),
        "quadratic_nets.0.densecctblock.base_cctls.0.0.conv.weight_v": np.arange(72.0).reshape(4, 2, 3, 3),
        "quadratic_nets.0.densecctblock.base_cctls.1.0.conv_T.weight_v": np.arange(400.0).reshape(4, 4, 5, 5),
        "quadratic_nets.0.densecctblock.base_cctls.1.0.conv_T.weight_g": np.arange(4.0).reshape(4, 1, 1, 1),
        "quadratic_nets.1.fc_net.net.0.weight_v": np.arange(1152.0).reshape(64, 18),
    }
    params = energy_variables(ARCHITECTURE, table)["params"]
    assert params["bias_0"][3, 4, 1] == 64 + 3 * 8 + 4  # channel 1, row 3, column 4
    assert params["net_0"]["base_0"]["conv"]["kernel"][2, 1, 0, 3] == 3 * 18 + 0 * 9 + 2 * 3 + 1
    assert params["net_0"]["base_1"]["transposed"]["kernel"][4, 2, 3, 1] == 3 * 100 + 1 * 25 + 4 * 5 + 2
    assert params["net_0"]["base_1"]["transposed"]["scale"].shape == (4,)
    assert params["net_1"]["dense"]["layer_0"]["kernel"][17, 5] == 5 * 18 + 17


def test_initializer_parameters_find_their_places():
    expected = guide_variables()
    assert_same(initializer_variables(torch_table(expected)), expected)


def test_second_names_of_the_same_tensor_are_passed_over():
    expected = model_variables()
    table = torch_table(expected)
    block = "quadratic_nets.1.densecctblock.top_net.0.cctb_blocks.0"
    aliases = {f"{block}.block.0.weight": np.zeros(3), f"{block}.block.1.conv.weight_v": np.zeros(3)}
    assert_same(energy_variables(ARCHITECTURE, table | aliases), expected)
    expected = guide_variables()
    assert_same(initializer_variables(torch_table(expected) | {"sides.0.0.block.0.bias": np.zeros(3)}), expected)


def test_differences_are_named():
    template = jax.eval_shape(make_energy(ARCHITECTURE).init, jax.random.key(0))
    table = torch_table(model_variables())
    assert check_matches(energy_variables(ARCHITECTURE, table), template, "old.pt") is not None

    def refused(words, **changes):
        changed = {k: v for k, v in (table | changes).items() if v is not None}
        with pytest.raises(ConfigError, match=words):
            check_matches(energy_variables(ARCHITECTURE, changed), template, "old.pt")

    kernel = "quadratic_nets.0.densecctblock.base_cctls.0.0.conv.weight_v"
    refused(r"old.pt lacks 'params/net_0/base_0/conv/kernel'", **{kernel: None})
    refused(r"net_0/base_0/conv/kernel' has shape \(3, 3, 2, 5\).*\(3, 3, 2, 4\)", **{kernel: np.zeros((5, 2, 3, 3))})
    another = kernel.replace("ls.0", "ls.7")
    refused("base_7/conv/kernel', which this architecture does not have", **{another: table[kernel]})
    refused("'biases.1.weight' of 5 values does not fit .*'example'", **{"biases.1.weight": np.zeros((1, 5))})
    refused("'biases.9.weight'", **{"biases.9.weight": np.zeros((1, 5))})
    refused("'quadratic_nets.9.fc_net.net.0.bias'", **{"quadratic_nets.9.fc_net.net.0.bias": np.zeros(64)})
    refused("'something.else'", **{"something.else": np.zeros(1)})
    with pytest.raises(ConfigError, match=r"'decoder\.bias' is not a parameter of the initialiser"):
        initializer_variables({"decoder.bias": np.zeros(1)})


def test_reference_arrays_under_torch_names(shared):
    with np.load(shared / "reference" / "nrf" / "initter_tinyC_hardsig_leaky_forward.npz") as file:
        table = {name[2:]: file[name] for name in file.files if name.startswith("p/")} or {
            name[3:]: file[name] for name in file.files if name.startswith("p0/")
        }
    count = sum(array.size for array in table.values())
    assert sum(p.size for p in jax.tree.leaves(initializer_variables(table))) == count > 0


# --- checkpoints ---------------------------------------------------------------------------------------------------


def save(path, content):
    torch = pytest.importorskip("torch")

    def tensors(value):
        if isinstance(value, dict):
            return {k: tensors(v) for k, v in value.items()}
        return torch.tensor(np.asarray(value)) if isinstance(value, np.ndarray) else value

    torch.save(tensors(content), path)
    return path


def test_checkpoints_are_found_by_their_content(tmp_path):
    model, guide = torch_table(model_variables()), torch_table(guide_variables())
    path = save(
        tmp_path / "model.pt",
        {
            "epoch": 3,
            "model_state": {f"module.{k}": v for k, v in model.items()},
            "nested": {"initter": guide},
            "optimizer": {"state": {0: {"exp_avg": np.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        },
    )
    tables = read_checkpoint(path)
    assert set(tables) == {"model", "initializer"}
    assert_same(energy_variables(ARCHITECTURE, tables["model"]), model_variables())
    assert_same(initializer_variables(tables["initializer"]), guide_variables())
    assert set(read_checkpoint(save(tmp_path / "bare.pt", model))) == {"model"}


def test_checkpoints_of_spectral_norm_carry_a_right_vector_too(tmp_path):
    """Torch stores u and v of the power iteration; v follows from u, and has the name of weight norm's direction."""
    expected = model_variables("spectral")
    table = torch_table(expected, "weight_orig")
    buffers = {name.replace("weight_u", "weight_v"): np.zeros(7) for name in table if name.endswith("weight_u")}
    found = read_checkpoint(save(tmp_path / "normed.pt", table | buffers))["model"]
    assert_same(energy_variables(NORMED, found), expected)


def test_unreadable_checkpoints_are_refused(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(ConfigError, match=r"no checkpoint at .*missing\.pt"):
        read_checkpoint(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("no tensors here")
    with pytest.raises(ConfigError, match=r"text\.pt cannot be read"):
        read_checkpoint(tmp_path / "text.pt")
    with pytest.raises(ConfigError, match=r"other\.pt holds no model"):
        read_checkpoint(save(tmp_path / "other.pt", {"weights": {"layer.weight": np.zeros(2)}}))

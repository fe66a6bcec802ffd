"""Parameters under torch's names arrive in their places and layouts, from arrays and from `.pt` checkpoints."""

import re
import zipfile

import jax
import numpy as np
import pytest

from nrf.architecture import Architecture
from nrf.energy import make_energy
from nrf.initializer import make_initializer
from nrf.original_flags import differences
from nrf.torch_files import read_torch
from nrf.torch_import import check_matches, energy_variables, initializer_variables, read_checkpoint
from runtime.config import load_config
from runtime.errors import ConfigError
from tests.nrf.torch_writer import call, namespace, write_legacy, write_with_torch, write_zip

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
    with pytest.raises(ConfigError, match=r"'decoder\.bias' is not a parameter of the initializer"):
        initializer_variables({"decoder.bias": np.zeros(1)})


def test_reference_arrays_under_torch_names(shared):
    with np.load(shared / "reference" / "nrf" / "initter_tinyC_hardsig_leaky_forward.npz") as file:
        table = {name[2:]: file[name] for name in file.files if name.startswith("p/")} or {
            name[3:]: file[name] for name in file.files if name.startswith("p0/")
        }
    count = sum(array.size for array in table.values())
    assert sum(p.size for p in jax.tree.leaves(initializer_variables(table))) == count > 0


# --- checkpoints ---------------------------------------------------------------------------------------------------


def with_torch(path, content):
    pytest.importorskip("torch", reason="PyTorch is not installed: files written by it cannot be tried")
    return write_with_torch(path, content)


WRITERS = [write_zip, write_legacy, with_torch]


@pytest.mark.parametrize("write", WRITERS)
def test_checkpoints_are_found_by_their_content(write, tmp_path):
    model, guide = torch_table(model_variables()), torch_table(guide_variables())
    path = write(
        tmp_path / "model.pt",
        {
            "epoch": 3,
            "model_state": {f"module.{k}": np.asarray(v) for k, v in model.items()},
            "nested": {"initter": {k: np.asarray(v) for k, v in guide.items()}},
            "optimizer": {"state": {0: {"exp_avg": np.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
            "args": namespace(lr=5e-4, max_sq_sigma=[1e-4] * 4, architecture="example", use_cuda=True),
        },
    )
    tables, flags, _ = read_checkpoint(path)
    assert set(tables) == {"model", "initializer"}
    assert flags == {"lr": 5e-4, "max_sq_sigma": [1e-4] * 4, "architecture": "example", "use_cuda": True}
    assert_same(energy_variables(ARCHITECTURE, tables["model"]), model_variables())
    assert_same(initializer_variables(tables["initializer"]), guide_variables())
    tables, flags, _ = read_checkpoint(write(tmp_path / "bare.pt", {k: np.asarray(v) for k, v in model.items()}))
    assert set(tables) == {"model"} and flags == {}


def test_checkpoints_of_spectral_norm_carry_a_right_vector_too(tmp_path):
    """Torch stores u and v of the power iteration; v follows from u, and has the name of weight norm's direction."""
    expected = model_variables("spectral")
    table = {name: np.asarray(array) for name, array in torch_table(expected, "weight_orig").items()}
    buffers = {name.replace("weight_u", "weight_v"): np.zeros(7) for name in table if name.endswith("weight_u")}
    found = read_checkpoint(write_zip(tmp_path / "normed.pt", table | buffers))[0]["model"]
    assert_same(energy_variables(NORMED, found), expected)


def test_unreadable_checkpoints_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no tensors here")
    other = write_zip(tmp_path / "other.pt", {"weights": {"layer.weight": np.zeros(2)}})
    whole = write_zip(tmp_path / "whole.pt", {"biases.0.weight": np.zeros(500)}).read_bytes()
    (tmp_path / "torn.pt").write_bytes(whole[: len(whole) // 2])
    legacy = write_legacy(tmp_path / "legacy.pt", {"biases.0.weight": np.zeros(500)}).read_bytes()
    (tmp_path / "short.pt").write_bytes(legacy[:-100])
    for path, words in (
        (tmp_path / "missing.pt", r"no checkpoint at .*missing\.pt"),
        (tmp_path, r"is a folder; name the checkpoint"),
        (tmp_path / "text.pt", r"text\.pt cannot be read"),
        (tmp_path / "torn.pt", r"torn\.pt cannot be read"),
        (tmp_path / "short.pt", r"short\.pt cannot be read"),
        (other, r"other\.pt holds no model"),
    ):
        with pytest.raises(ConfigError, match=words) as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", WRITERS[:2])
def test_a_file_can_run_nothing(write, tmp_path):
    """A pickle may name any function; what a checkpoint has no need of is refused by name, and never looked up."""
    mark = tmp_path / "mark"
    path = write(tmp_path / "evil.pt", {"model": call("os", "system", f"touch {mark}")})
    with pytest.raises(ConfigError, match=r"evil\.pt names 'os\.system', which a checkpoint .* was not loaded"):
        read_checkpoint(path)
    for module, name in (("builtins", "eval"), ("numpy", "load"), ("argparse", "ArgumentParser"), ("torch", "load")):
        with pytest.raises(ConfigError, match=f"names '{module}.{name}'"):
            read_checkpoint(write(tmp_path / "evil.pt", [call(module, name, "1")]))
    assert not mark.exists()


def lists_of_lists(depth):
    """A list that holds a list twice, which holds a list twice, …: 2^depth entries."""
    content = [0]
    for _ in range(depth):
        content = [content, content]
    return content


def test_a_small_file_cannot_ask_for_much_memory(tmp_path):
    """Numbers of objects, repeated numbers, packed archives, lists of lists, nested and strange references."""
    def archive(name, body, **packed):
        with zipfile.ZipFile(tmp_path / name, "w", **packed) as file:
            file.writestr("archive/data.pkl", body)
            file.writestr("archive/data/0", bytes(4 if not packed else 1 << 20))
        return tmp_path / name

    floats, end = b"ctorch\nFloatStorage\n", b"X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ"
    storage = b"(X\x07\0\0\0storage" + floats + end
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0(J\0\0\0\x10J\0\0\0\x10t(K\0K\0t\x89}tR."
    for path, words in (
        (archive("memo.pt", b"\x80\x02]r\xff\xff\xff\x7f."), "numbers an object 2147483647, and has 2"),
        (archive("stride.pt", b"\x80\x02" + tensor), r"an array of shape \(268435456, 268435456\) has 1 numbers"),
        (archive("packed.pt", b"\x80\x02]." , compression=zipfile.ZIP_DEFLATED), "it unpacks to 10485.. bytes"),
        (write_zip(tmp_path / "lists.pt", lists_of_lists(60)), "more than 1000000 entries"),
        (write_legacy(tmp_path / "old.pt", lists_of_lists(60)), "more than 1000000 entries"),
        (archive("nested.pt", b"\x80\x02(" + storage + b"ttQ."), "cannot be read as a PyTorch checkpoint"),
        (archive("objects.pt", b"\x80\x02" + storage.replace(floats, b"X\x02\0\0\0O8") + b"."), "a storage of 'O8'"),
        (archive("number.pt", b"\x80\x02K\x01Q."), "cannot be read as a PyTorch checkpoint"),
    ):
        with pytest.raises(ConfigError, match=words) as error:
            read_torch(path)
        assert path.name in str(error.value) and "\n" not in str(error.value)


def test_views_and_kinds_of_tensors(tmp_path):
    content = {
        "kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
        "count": np.array(7),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "name": "x",
        "shape": (1, [2, None]),
    }
    for write in (write_zip, write_legacy):
        found = read_torch(write(tmp_path / "kinds.pt", content))
        for name in ("kernel", "count", "flags", "empty"):
            np.testing.assert_array_equal(found[name], content[name])
            assert found[name].dtype == content[name].dtype
        assert found["name"] == "x" and found["shape"] == (1, [2, None])


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "beyond.pt"
    write_zip(path, {"biases.0.weight": np.zeros(4, np.float32)})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["archive/data/0"] = parts["archive/data/0"][:8]
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in parts.items():
            archive.writestr(name, body)
    with pytest.raises(ConfigError, match=r"a tensor of shape \(4,\) reaches beyond its storage"):
        read_torch(path)


def test_flags_that_a_config_contradicts_are_listed():
    config = load_config("configs/nrflv.py:thesis")
    published = {
        "batch_size": 128, "architecture": "NRFLV_CIFAR_4SL_small_densebackw_wideSL1base", "dataset": "CIFAR10",
        "initter_network_weight_norm": True, "model_weight_norm": True, "initializer": "ff_init", "neg_ff_init": False,
        "initter_network_lr": 5e-4, "l2_reg_energy_param": 1.0, "num_it_neg": 500, "num_it_pos": 500,
        "img_logging_interval": 10, "scalar_logging_interval": 200, "log_histograms": True,
        "histogram_logging_interval": 3000, "sample_buffer_prob": 0.95, "lr": [5e-4], "lr_decay_gamma": 0.95,
        "sampling_step_size": [0.1] * 4, "states_activation": "hardtanh", "activation": "swish", "num_it_viz": 5000,
        "model_save_interval": 50, "sigma": [0.0] * 4, "state_optimizer": "sghmc", "momentum_param": [0.1] * 4,
        "non_diag_inv_mass": True, "num_burn_in_steps": 100, "scale_grad": 1.0, "max_sq_sigma": [1e-4] * 4,
        "min_sq_sigma": 9e-5, "weights_optimizer": "adam", "mom_clip": False, "mom_clip_vals": [1.0] * 6,
        "clip_grad": False, "clip_state_grad_norm": 10.0, "ff_dynamics": False, "mean_batch_minv_t": False,
        "viz_img_logging_step_interval": 25, "truncate_pos_its": False, "truncate_pos_its_threshold": 20.0,
        "use_cuda": True, "seed": 4,
    }  # fmt: skip
    lines, unknown = differences(published, config)
    assert lines == [] and unknown == ["seed", "use_cuda"]
    sigmas = [1e-4, 1e-4, 1e-4, 1.0]
    changed = published | {"lr": [1e-3], "mom_clip": True, "mom_clip_vals": [2.0], "max_sq_sigma": sigmas}
    lines, _ = differences(changed, config)
    assert lines == [
        "config.train.lr is 0.0005, the checkpoint was made with [0.001] (--lr=[0.001])",
        "config.sampler.sghmc_thesis.max_sq_sigma is 0.0001, the checkpoint was made with [0.0001, 0.0001, 0.0001, 1.0]"
        " (--max_sq_sigma=[0.0001, 0.0001, 0.0001, 1.0])",
        "config.sampler.sghmc_thesis.momentum_clip is None, the checkpoint was made with 2.0 (its flags)",
    ]

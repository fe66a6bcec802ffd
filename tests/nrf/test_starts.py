"""A run that begins with weights from elsewhere: from another run, or from a checkpoint of the original program."""

import functools
import json

import jax
import numpy as np
import pytest

import nrf
from nrf.trained import read_trained
from nrf.training import import_weights, train
from runtime.checkpoint import read_tree
from runtime.config import load_config
from runtime.errors import ConfigError
from tests.conftest import REPOSITORY
from tests.nrf import trained_run
from tests.nrf.test_torch_import import torch_table
from tests.nrf.torch_writer import namespace, write_zip
from tests.nrf.trained_run import make_run

tiny_config = functools.partial(trained_run.tiny_config, "small")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("source") / "run", tiny_config(), whole=True)


def stored(folder):
    tree = read_tree(folder / "checkpoints")
    parts = ("variables", "initializer", "latents")
    return {part: [np.asarray(x) for x in jax.tree.leaves(tree[part])] for part in parts}


def equal(ours, theirs):
    return all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_new_run_begins_with_the_weights_of_another(source, tmp_path):
    config = tiny_config(train={"start_from": str(source), "lr": 1e-4, "batch": 8, "updates": 1}, log={"every": 1})
    folder = import_weights(config, tmp_path / "run")
    before, after = stored(source), stored(folder)
    assert all(equal(before[part], after[part]) for part in before)
    about = json.loads((folder / "started_from.json").read_text())
    assert about["source"] == str(source) and {"variables", "initializer", "chains", "latents"} <= set(about["taken"])
    assert any(line.startswith("config.train.lr is 0.0001, was 0.001") for line in about["differences"])
    # The same command trains on from there, and so does one that no longer names the start.
    metrics = train(config, folder)
    assert np.isfinite(metrics["loss"]) and not equal(before["variables"], stored(folder)["variables"])
    other = tiny_config(train={"start_from": str(tmp_path), "lr": 1e-4, "batch": 8, "updates": 1}, log={"every": 1})
    with pytest.raises(ConfigError, match=f"the run in .* started from {source}, not from {tmp_path}"):
        train(other, folder)


def test_chains_of_another_shape_are_left_behind(source, tmp_path):
    config = tiny_config(train={"start_from": str(source), "batch": 4})
    folder = import_weights(config, tmp_path / "run")
    taken = json.loads((folder / "started_from.json").read_text())["taken"]
    assert "latents" not in taken and "variables" in taken
    assert equal(stored(source)["variables"], stored(folder)["variables"])


def test_a_start_that_does_not_fit_is_refused(source, tmp_path):
    cases = (
        ({"start_from": str(tmp_path / "nowhere")}, {}, "nowhere is no run folder"),
        ({"start_from": str(source)}, {"weight_norm": False}, r"the checkpoint in .* holds '.*/scale', which"),
        ({"start_from": str(source)}, {"checkpoint": "old.pt"}, "are both set; a run starts from one"),
        ({}, {"checkpoint": str(tmp_path / "old.pt")}, "no checkpoint at"),
        ({}, {}, "the stage 'import' needs a model"),
    )
    for number, (train_fields, model, words) in enumerate(cases):
        with pytest.raises(ConfigError, match=words):
            import_weights(tiny_config(train=train_fields, model=model), tmp_path / str(number))


def test_a_checkpoint_of_the_original_becomes_a_run(source, tmp_path):
    tree = read_tree(source / "checkpoints")
    parts = {"model": tree["variables"], "initializer": tree["initializer"]}
    content = {name: {k: np.asarray(v) for k, v in torch_table(part).items()} for name, part in parts.items()}
    flags = namespace(lr=[5e-4], activation="tanh", use_cuda=True)
    file = write_zip(tmp_path / "old.pt", content | {"args": flags, "batch_num": 47500})
    config = tiny_config(model={"checkpoint": str(file)})
    folder = import_weights(config, tmp_path / "run")
    assert all(equal(stored(source)[part], stored(folder)[part]) for part in ("variables", "initializer"))
    about = json.loads((folder / "started_from.json").read_text())
    assert about["updates"] == 47500 and "has 47500 updates behind it" in about["differences"][0]
    assert about["differences"][1:] == [
        "config.train.lr is 0.001, the checkpoint was made with [0.0005] (--lr=[0.0005])"
    ]
    assert about["flags"] == {"lr": [5e-4], "activation": "tanh", "use_cuda": True}
    assert about["flags_without_a_field"] == ["use_cuda"] and len(about["sha256"]) == 64
    # It is a run folder like any other: a second import leaves it alone, and later stages need not name the file.
    assert import_weights(config, folder) == folder
    images = nrf.load(folder).data("test", 2)
    np.testing.assert_allclose(
        nrf.load(folder).respond(images, seed=0, steps=3)[0], nrf.load(source).respond(images, seed=0, steps=3)[0]
    )
    assert read_trained(tiny_config(), folder).updates == 47500
    # The learning rate is that of this update, the memory of the optimizer empty.
    leaves = jax.tree.leaves(read_tree(folder / "checkpoints")["optimizer"])
    assert {int(leaf) for leaf in leaves if np.ndim(leaf) == 0} == {0, 47500}
    with pytest.raises(ConfigError, match="47500 updates behind it and config.train.updates is 12; set it to more"):
        train(config, tmp_path / "other")


@pytest.mark.slow
def test_an_imported_model_of_the_thesis_has_the_energies_of_the_original(shared, tmp_path):
    """The reference holds parameters, states, energies and gradients of the thesis's architecture in the original."""
    with np.load(shared / "reference" / "nrf" / "energy_CIFAR_4SL_small_densebackw_wideSL1base.npz") as reference:
        table = {name[2:]: reference[name] for name in reference.files if name.startswith("p/")}
        states = [np.moveaxis(reference[f"A/state_{i}"], 1, -1) for i in range(4)]
        gradients = [np.moveaxis(reference[f"A/grad_{i}"], 1, -1) for i in range(4)]
        energy = float(reference["A/energy64"])
    file = write_zip(tmp_path / "thesis.pt", {"model": table, "args": namespace(batch_size=128)})
    small = ["train.batch=2", "negative.buffer_size=2", "data.num_train=100", f"data.dir={shared / 'data' / 'tfds'}"]
    overrides = [*small, f"model.checkpoint={file}"]
    config = load_config(str(REPOSITORY / "configs" / "nrflv.py:thesis"), overrides)
    folder = import_weights(config, tmp_path / "run")
    assert "no initializer network" in json.loads((folder / "started_from.json").read_text())["differences"][0]
    trained = read_trained(config, folder)
    found, slopes = jax.jit(trained.model.energy_and_gradient)(trained.weights, states)
    np.testing.assert_allclose(np.sum(np.asarray(found, np.float64)), energy, rtol=1e-6)
    for ours, theirs in zip(slopes, gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

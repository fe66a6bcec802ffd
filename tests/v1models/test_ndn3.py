"""The NDN3 adapter: its parameter dictionaries, quirks by name, and weights there and back."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from v1models import losses
from v1models.layers import AddStreams, ChannelFilter, FactorizedConvolution, MultiplyStreams, PointReadout
from v1models.ndn3 import NDNutils
from v1models.ndn3 import adapter as ndn3
from v1models.ndn3 import quirks as revisions
from v1models.ndn3 import regime as ndn3_regime
from v1models.ndn3 import weights as ndn3_weights
from v1models.network import Network
from v1models.training import Plan, fit, orders_from_keys, stack_hypers, start_members
from v1models.update import Data, default_hyper, make_trainer


def _parameters(dims, sizes, kinds, activations="softplus", weights=None, biases=None, **entries):
    """A dictionary as scripts make one: by NDN3's keywords, and by entries set afterwards."""
    keywords = {"conv_filter_widths", "shift_spacing", "normalization", "reg_list", "ei_layers", "dilation"}
    options = {name: entries.pop(name) for name in keywords & set(entries)}
    params = NDNutils.ffnetwork_params(dims, sizes, kinds, activations, verbose=False, **options)
    params |= {"weights_initializers": weights} if weights else {}
    params |= {"biases_initializers": biases} if biases else {}
    return params | entries


def _hsm(**changes):
    return _parameters(
        [1, 31, 31],
        [9, 4, 20],
        ["diff_of_gaussians", "normal", "normal"],
        ["lin", "softplus", "softplus"],
        ["random", "normal", "normal"],
        ["trunc_normal"] * 3,
        **changes,
    )


def test_arguments_become_the_dictionary_and_then_the_network():
    params = _hsm(reg_list={"l2": [None, 0.0, 0.1]}, ei_layers=[None, 2, None])
    assert params["num_inh"] == [0, 2, 0]
    assert params["pos_constraints"] == [None, None, True]
    network = ndn3.network_from_parameters(params)
    assert network.layers[2].penalties == {"l2": 0.1}
    assert network.layers[2].positive
    assert network.shapes[1:] == ((1, 1, 9), (1, 1, 4), (1, 1, 20))


def test_layer_types_without_reference_arrays_are_translated():
    def build(dims, sizes, kinds, **more):
        return ndn3.network_from_parameters(_parameters(dims, sizes, kinds, "lin", **more)).layers[-1]

    assert isinstance(build([2, 6, 6], [3], ["convsep"], conv_filter_widths=[3]), FactorizedConvolution)
    point = build([2, 6, 4], [2], ["conv_readout"], xy_out=[[(5, 1), (0, 3)]])
    assert isinstance(point, PointReadout)
    assert point.positions == ((1, 5), (3, 0))
    assert isinstance(build([6, 1, 1], [2], ["add"]), AddStreams)
    assert isinstance(build([4, 1, 1], [2], ["mult"]), MultiplyStreams)
    assert isinstance(build([4, 3, 3], [1], ["filter"]), ChannelFilter)


@pytest.mark.parametrize(
    ("quirk", "params", "field", "on", "off"),
    [
        ("dropout_value_keeps", _hsm(reg_list={"dropout": [None, 0.7, None]}), "dropout", pytest.approx(0.3), 0.7),
        ("dropout_shared_by_batch", _hsm(), "dropout_mask", "unit", "entry"),
        ("false_constraint_constrains", _hsm(pos_constraints=[None, False, None]), "positive", True, False),
        ("trunc_normal_not_truncated", _hsm(), "bias_initializer", "normal", "truncated_normal"),
        (
            "frobenius_penalty_unscaled",
            _hsm(normalization=[0, 2, 0]),
            "normalization",
            "frobenius_unscaled_penalty",
            "frobenius",
        ),
    ],
)
def test_dense_quirks_switch_one_thing_each(quirk, params, field, on, off):
    assert getattr(ndn3.network_from_parameters(params, revisions.NDN3).layers[1], field) == on
    without = dataclasses.replace(revisions.NDN3, **{quirk: False})
    assert getattr(ndn3.network_from_parameters(params, without).layers[1], field) == off


def test_variance_bounds_of_the_revisions():
    bounds = {
        name: ndn3.network_from_parameters(_hsm(), quirks).layers[0].bounds.variance
        for name, quirks in (("older", revisions.NDN3), ("suite", revisions.NDN3_SUITE), ("none", revisions.Quirks()))
    }
    assert bounds == {"older": (1, 25), "suite": (1, 0), "none": (1, 25)}
    small = _parameters([1, 15, 15], [2], ["diff_of_gaussians"], "lin", ["random"])
    assert ndn3.network_from_parameters(small, revisions.NDN3).layers[0].bounds.variance == (1, 25)
    assert ndn3.network_from_parameters(small, revisions.Quirks()).layers[0].bounds.variance == (1, 12)


def test_idle_penalties_are_accepted_only_by_the_quirk():
    params = _hsm(reg_list={"l2": [0.1, None, None]})
    assert not ndn3.network_from_parameters(params).layers[0].penalties
    with pytest.raises(ValueError, match="takes no penalty"):
        ndn3.network_from_parameters(params, dataclasses.replace(revisions.NDN3, idle_penalties_accepted=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_types": ["diff_of_gaussian", "normal", "normal"]}, "unknown layer type"),
        ({"reg_initializers": [{}, {"l3": 1}, {}]}, "unknown penalty"),
        ({"time_expand": [0, 2, 0]}, "time_expand"),
        ({"activation_funcs": ["identity", "lin", "lin"]}, "activation"),
        ({"weights_initializers": ["normal", "normal", "normal"]}, "random or zeros"),
        ({"num_inh": [0, 0]}, "2 entries"),
        ({"network_type": "side"}, "single network"),
        ({"color": 1}, "unknown entry"),
    ],
)
def test_dictionaries_that_cannot_be_followed_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ndn3.network_from_parameters({**_hsm(), **change})


def test_weights_go_there_and_back_and_wrong_shapes_are_named():
    params = _parameters(
        [1, 9, 9],
        [3, 4, 5],
        ["conv", "sep", "normal"],
        "softplus",
        conv_filter_widths=[3, None, None],
        shift_spacing=[2, 1, 1],
    )
    network = ndn3.network_from_parameters(params)
    arrays = ndn3_regime.initial_values(network, 0)
    back = ndn3_weights.export_weights(network, ndn3_weights.import_weights(network, arrays))
    for (weights, biases), (weights_again, biases_again) in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(weights, weights_again)
        np.testing.assert_array_equal(biases, biases_again)
    with pytest.raises(ValueError, match="layer 1"):
        ndn3_weights.import_weights(network, [arrays[0], arrays[0], arrays[2]])


def test_a_whole_fit_in_the_regime_is_the_references_step_by_step_run():
    """`fit` with quirks on equals plain steps over RandomState orders; with quirks off it does not."""
    params = _parameters([1, 4, 4], [3, 2], ["normal", "normal"], "softplus")
    random = np.random.default_rng(0)
    images = random.standard_normal((11, 4, 4, 1)).astype(np.float32)
    responses = random.poisson(1.0, (11, 2)).astype(np.float32)
    results = {}
    for name, quirks in (("on", revisions.NDN3), ("off", revisions.Quirks())):
        spec = ndn3.network_from_parameters(params, quirks)
        trainer = make_trainer(Network(spec), ndn3_regime.optimization("poisson", 4, quirks))
        exact = name == "on"
        rates = losses.mean_rates(responses, over_measured=False) if exact else losses.mean_rates(responses[:9])
        data = Data(images[:9], responses[:9], None, rates)
        held = Data(images[9:], responses[9:], None, rates)
        if exact:
            members = ndn3_regime.start_members(trainer, spec, (3, 4))
        else:
            members = start_members(trainer, (3, 4))
        hyper = stack_hypers([default_hyper(spec, 1e-2)], 2)
        orders = ndn3_regime.numpy_orders((3, 4)) if exact else orders_from_keys
        plan = Plan(3, 2, orders=orders)
        results[name] = fit(trainer, members, hyper, data, held, plan).members
    spec = ndn3.network_from_parameters(params)
    trainer = make_trainer(Network(spec), ndn3_regime.optimization("poisson", 4))
    data = Data(images[:9], responses[:9], None, jnp.maximum(responses.mean(0), 1e-8))
    member = trainer.start(ndn3_weights.import_weights(spec, ndn3_regime.initial_values(spec, 4)), jax.random.key(0))
    step, stream = jax.jit(trainer.update), np.random.RandomState(4)
    for _ in range(3):
        order = stream.permutation(np.arange(9))
        for rows in order[:8].reshape(2, 4):
            member, _ = step(member, default_hyper(spec, 1e-2), data, rows)
    ours = results["on"].params["layer1"]["kernel"]
    np.testing.assert_allclose(ours[1], member.params["layer1"]["kernel"], rtol=1e-4, atol=1e-6)
    assert results["on"].step.tolist() == [6, 6]
    assert results["off"].step.tolist() == [9, 9]
    assert not np.allclose(results["off"].params["layer1"]["kernel"], ours)


def test_the_room_has_one_door():
    package = pathlib.Path(__file__).resolve().parents[2] / "v1models"
    outside = [path for path in package.rglob("*.py") if path.parent.name != "ndn3"]
    assert [path.name for path in outside if "v1models.ndn3" in path.read_text()] == ["experiment.py"]

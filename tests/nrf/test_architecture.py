"""Named architectures are the published ones, and impossible ones are refused by layer and field."""

import dataclasses
import json

import jax
import pytest

from nrf.architecture import Architecture, Kind, architecture_names, effective_padding, get_architecture
from nrf.energy import make_energy
from runtime.errors import ConfigError

# Numbers of trained parameters that the original program counted.
PUBLISHED_COUNTS = {
    "NRFLV_very_small_1SL_self": 2614,
    "NRFLV_small_4SL_allself": 230147,
    "NRFLV_small_4SL_allself_nocompress": 230147,
    "NRFLV_small_6SL_allself_compress": 566947,
    "NRFLV_small_light_4SL_nospecnormreg_compress_noself_bigkern_cct": 248169,
    "NRFLV_small_light_4SL_lotofcompress": 213905,
    "NRFLV_small_light_4SL_top2self_lotofcompress": 252113,
    "NRFLV_small_light_5SL_top3self_lotofcompress": 254049,
    "NRFLV_small_light_4SL_top3self_compress": 136873,
    "NRFLV_small_light_4SL_top3self_compress_dense": 165353,
    "NRFLV_small_light_3SL_seriouscompress": 80097,
    "NRFLV_small_light_3SL_seriouscompress_heavybottom": 151297,
    "NRFLV_small_light_4SL_seriouscompress": 132777,
    "NRFLV_small_light_4SL_seriouscompress_heavybottom": 203977,
    "NRFLV_small_4SL_seriouscompress": 277465,
    "NRFLV_small_light_4SL_FC_top1.5": 453137,
    "NRFLV_small_light_3SL_all_FC_no_self": 130064,
    "NRFLV_combo_convfc_5SL_asymm": 280091,
    "NRFLV_combo_convfc_5SL_symm": 330267,
    "NRFLV_combo_convfc_5SL_asymm_densebackw": 474011,
    "NRFLV_combo_convfc_5SL_asymm_densebackw_corrected": 514939,
    "NRFLV_combo_convfc_5SL_asymm_densebackw_with_convt": 499403,
    "NRFLV_combo_convfc_4SL_asymm_incorrected_loop": 559307,
    "NRFLV_combo_convfc_4SL_all2all": 550176,
    "NRFLV_combo_convfc_3SL_small": 1773643,
    "ffexplore_NRFLV_combo_convfc_3SL_small": 1714555,
    "NRFLV_CIFAR_6SL_vanilla_densebackw_skip1_4": 1291597,
    "NRFLV_CIFAR_6SL_vanilla_densebackw_skip1_4_withwideSL1base": 1365325,
    "NRFLV_CIFAR_4SL_vanilla_densebackw_skip1_4_truncated_with_wideSL1base": 1825437,
    "NRFLV_CIFAR_3SL_densebackw_verysmall_with_wideSL1base": 2426989,
    "NRFLV_CIFAR_3SL_densebackw_small_with_wideSL1base": 4732253,
    "NRFLV_CIFAR_4SL_small_densebackw_wideSL1base": 1026717,
    "NRFLV_CIFAR_4SL_smaller_densebackw_wideSL1base": 711309,
}
# Named by the original program, which could not run them as they stood.
UNRUNNABLE = {
    "NRFLV_small_4SL_topself_cleanbottom_bigkerns",
    "NRFLV_small_4SL_compress_bigkern",
    "NRFLV_small_light_4SL_compress_noself_bigkern_cct",
}

FIELDS = {
    "state_sizes": [(2, 8, 8), (4, 8, 8), (3, 2, 2)],
    "connect": [(0, 1), (0, 2), (1, 2)],
    "kind": [(1, 2), ("both", "transposed"), ("conv", "dense")],
    "base_kernel_padding": [((3, 1), (7, 3)), ((3, 1), (3, 0)), ((5, 0), ())],
    "main_kernel": [3, 7, 1],
    "num_layers": [0, 1, 0],
    "num_ch_base": 4,
    "growth_rate": 2,
    "num_ch_initter": 4,
}


def numbers_of(model):
    """How many numbers are trained."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))["params"]))


def build(**changes):
    return Architecture.from_lists("example", **{**FIELDS, **changes})


def changed(field, layer, value):
    entries = list(FIELDS[field])
    entries[layer] = value
    return {field: entries}


@pytest.mark.parametrize("name", PUBLISHED_COUNTS)
def test_parameter_counts_are_those_of_the_original(name):
    model = make_energy(get_architecture(name))
    assert numbers_of(model) == PUBLISHED_COUNTS[name]


def test_every_published_name_is_known_and_counted():
    assert set(architecture_names()) == set(PUBLISHED_COUNTS) | UNRUNNABLE


@pytest.mark.parametrize("name", sorted(UNRUNNABLE))
def test_names_that_the_original_could_not_run_have_a_valid_form(name):
    architecture = get_architecture(name)
    model = make_energy(architecture, weight_norm=not architecture.spectral_norm)
    assert numbers_of(model) > 0


def test_named_architectures_are_wired_as_in_the_reference(shared):
    published = json.loads((shared / "reference" / "nrf" / "architectures.json").read_text())
    for name, fields in published.items():
        if fields["runs_in_original"]:
            assert Architecture.from_dict(name, fields) == get_architecture(name), name
            assert fields["num_params"] == PUBLISHED_COUNTS[name]


def test_recommended_architecture():
    architecture = get_architecture("NRFLV_CIFAR_4SL_small_densebackw_wideSL1base")
    assert architecture.state_shapes(7) == ((7, 32, 32, 3), (7, 32, 32, 32), (7, 8, 8, 32), (7, 5, 5, 5))
    assert [len(layer.inputs) for layer in architecture.layers] == [3, 3, 3, 2]
    assert all(each.kind == Kind.DENSE for each in architecture.layers[3].inputs)


def test_architectures_are_values():
    assert build() == build()
    assert hash(build()) == hash(build())
    assert build() != build(growth_rate=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        build().growth_rate = 3


@pytest.mark.parametrize(
    ("kernel", "padding", "expected"), [(7, 0, 0), (1, 1, 0), (3, 9, 1), (7, 1, 3), (11, 2, 5), (5, 3, 3), (5, 2, 2)]
)
def test_padding_that_is_used(kernel, padding, expected):
    assert effective_padding(kernel, padding) == expected


def test_dense_blocks_take_the_kind_on_which_inputs_agree():
    layers = build().layers
    assert layers[0].block_kind == Kind.BOTH  # conv and transposed
    assert layers[2].block_kind == Kind.CONV  # the dense input has no say


def test_published_dictionaries_lose_what_nothing_read():
    layered = ("connect", "kind", "base_kernel_padding", "main_kernel", "num_layers")
    fields = {k: {str(i): v for i, v in enumerate(FIELDS[k])} if k in layered else v for k, v in FIELDS.items()}
    fields["spec_norm_reg"] = None
    fields["num_layers"]["3"] = 5  # a layer that does not exist
    fields["connect"]["2"] = (1, 2, 0)  # an input without a kind
    fields["base_kernel_padding"]["2"] = ((5, 0), (9, 9))  # a kernel of a dense input
    assert Architecture.from_dict("example", fields) == build()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"main_kernel": [3, 3]}, ["main_kernel", "2 entries", "3 state layers"]),
        ({"connect": [(0, 1)]}, ["connect", "1 entries"]),
        (changed("state_sizes", 1, (4, 8)), ["layer 1", "state_sizes"]),
        (changed("state_sizes", 2, (3, 0, 2)), ["layer 2", "state_sizes", "at least 1"]),
        (changed("kind", 1, (1,)), ["layer 1", "kind", "connect"]),
        (changed("kind", 1, (1, 7)), ["layer 1", "kind", "7"]),
        (changed("kind", 0, ("conv", "convolution")), ["layer 0", "kind", "convolution"]),
        (changed("base_kernel_padding", 0, ((3, 1),)), ["layer 0", "base_kernel_padding", "connect"]),
        (changed("base_kernel_padding", 0, ((3,), (3, 1))), ["layer 0", "base_kernel_padding", "layer 0"]),
        (changed("base_kernel_padding", 0, ((0, 1), (3, 1))), ["layer 0", "base_kernel_padding", "(0, 1)"]),
        (changed("base_kernel_padding", 1, ((5, 0), (3, 0))), ["layer 1", "both", "(5, 0)"]),
        (changed("base_kernel_padding", 0, ((3, 1), (5, 6))), ["layer 0", "padding 6", "transposed"]),
        (changed("base_kernel_padding", 2, ((9, 0), ())), ["layer 2", "kernel 9", "does not fit layer 1"]),
        (changed("connect", 2, (1, 5)), ["layer 2", "connect", "layer 5", "0 to 2"]),
        ({**changed("connect", 2, ()), **changed("kind", 2, ()), **changed("base_kernel_padding", 2, ())},
         ["layer 2", "connect", "empty"]),
        (changed("main_kernel", 1, 5), ["layer 1", "main_kernel", "5"]),
        (changed("num_layers", 1, -1), ["layer 1", "num_layers", "-1"]),
        ({"num_ch_base": 5}, ["layer 1", "num_ch_base", "5"]),
        ({"growth_rate": 3}, ["layer 1", "growth_rate", "3"]),
        ({"mixing": "divided"}, ["'mixing' is 'divided'", "separate, joint, gated"]),
    ],
)
def test_errors_name_the_layer_and_the_field(changes, words):
    with pytest.raises(ConfigError) as raised:
        build(**changes)
    assert all(word in str(raised.value) for word in ["'example'", *words]), str(raised.value)


def test_unknown_names_and_missing_fields():
    with pytest.raises(ConfigError, match="NRFLV_CIFAR_4SL_small_densebackw_wideSL1base"):
        get_architecture("NRFLV_CIFAR_4SL_small_densebackw_wideSL1")
    with pytest.raises(ConfigError, match="kind"):
        Architecture.from_dict("example", {"state_sizes": [(1, 2, 2)], "connect": {"0": [0]}})

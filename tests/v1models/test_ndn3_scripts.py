"""Scripts of NDN3 with two changed import lines: the same weights, costs and predictions, logs, files, refusals."""

import json

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from runtime.errors import ConfigError
from v1models.ndn3 import NDN, NDNutils

# Each network compiles for seconds: two arrays always, the others when asked.
ALWAYS = ("hsm_two_train_calls", "normal_norm_ei")
OTHERS = (
    "hsm", "hsm_l2last", "hsm_filters", "hsm_filters_unmasked_targets", "hsm_gaussian", "hsm_betas_eps",
    "hsm_partial_batch", "bernoulli_filters", "ln_d2x", "conv_sep", "conv_sep_normal", "conv3_sep",
)  # fmt: skip


def _keywords(params):
    """What a script would have written to get this dictionary."""
    count, penalties = len(params["layer_sizes"]), {}
    for index, layer in enumerate(params["reg_initializers"]):
        for name, strength in layer.items():
            penalties.setdefault(name, [None] * count)[index] = strength
    return {
        "input_dims": params["input_dims"],
        "layer_sizes": params["layer_sizes"],
        "layer_types": params["layer_types"],
        "act_funcs": params["activation_funcs"],
        "ei_layers": [
            inhibitory if positive else None
            for inhibitory, positive in zip(params["num_inh"], params["pos_constraints"][1:], strict=False)
        ],
        "normalization": params["normalize_weights"],
        "reg_list": penalties,
        "conv_filter_widths": params["conv_filter_widths"],
        "shift_spacing": params["shift_spacing"],
    }


@pytest.mark.parametrize(
    "name", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_a_script_trains_to_ndn3s_weights_and_costs(shared, name):
    with np.load(shared / "reference" / "ndn3" / f"train_{name}.npz") as npz:
        file = {key: npz[key] for key in npz.files}
    described, meta = json.loads(str(file["params_json"])), json.loads(str(file["meta_json"]))

    params = NDNutils.ffnetwork_params(verbose=False, **_keywords(described))
    params["weights_initializers"] = described["weights_initializers"]
    params["biases_initializers"] = described["biases_initializers"]
    # The older revision made these arrays; it differs from the default in short last batches alone.
    short = [len(file[rows]) % meta["opt_params"]["batch_size"] for rows in ("train_indxs", "test_indxs")]
    revision = "77355e0" if any(short) else "published"
    model = NDN.NDN(params, noise_dist=meta["noise_dist"], tf_seed=meta["tf_seed"], revision=revision)
    layers = model.networks[0].layers
    for index, layer in enumerate(layers):
        np.testing.assert_array_equal(layer.weights, file[f"L{index}_weights_init"])
    x, y, filters, test = file["X"], file["Y"], file.get("data_filters"), file["test_indxs"]
    for _ in range(meta["train_calls"]):
        model.train(
            input_data=x, output_data=y, train_indxs=file["train_indxs"], test_indxs=test, data_filters=filters,
            learning_alg="adam", opt_params=meta["opt_params"],
        )  # fmt: skip

    # NDN3's printed costs after every epoch: means over batches in the order of the rows.
    for label in ("train", "test"):
        printed = [entry["costs"][label] for entry in model.history]
        np.testing.assert_allclose(printed, file[f"epoch_cost_{label}_ndn"], rtol=5e-6)

    # Both sides are float32 here; parameters of Gaussians reach 30.
    for index, layer in enumerate(model.networks[0].layers):
        tolerance = 4e-5 if described["layer_types"][index] == "diff_of_gaussians" else 2e-5
        np.testing.assert_allclose(layer.weights, file[f"L{index}_weights_final"], rtol=0, atol=tolerance)
        np.testing.assert_allclose(layer.biases, file[f"L{index}_biases_final"], rtol=0, atol=2e-5)
    for label, rows in (("train", file["train_indxs"]), ("test", test)):
        cost = model.get_LL(input_data=x, output_data=y, data_indxs=rows, data_filters=filters)
        np.testing.assert_allclose(cost, file[f"epoch_cost_{label}"][-1], rtol=5e-6)
    scale = np.abs(file["pred_test_final"]).max()
    np.testing.assert_allclose(model.generate_prediction(x[test]), file["pred_test_final"], rtol=0, atol=1e-5 * scale)
    costs = model.eval_models(input_data=x, output_data=y, data_indxs=test, data_filters=filters, nulladjusted=False)
    np.testing.assert_allclose(costs, file["eval_models_test_final"], rtol=1e-5, atol=1e-6)


def _data(rows=40, neurons=4):
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, 36))
    y = random.poisson(np.logaddexp(0, x[:, :neurons] + 1)).astype(float)
    return x, y


def _params(**changes):
    options = {
        "verbose": False, "input_dims": [1, 6, 6], "layer_sizes": [3, 2, 4], "ei_layers": [None, None],
        "normalization": [0], "layer_types": ["conv", "sep", "normal"], "act_funcs": ["softplus"] * 3,
        "shift_spacing": [(3 + 1) // 2, 0], "conv_filter_widths": [3, 0],
        "reg_list": {"d2x": [0.1, None, None], "l1": [None, 0.01], "l2": [None, None, 0.1]},
    }  # fmt: skip
    params = NDNutils.ffnetwork_params(**{**options, **changes})
    params["biases_initializers"] = ["trunc_normal"] * 3
    return params


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    x, y = _data()
    model, folder = NDN.NDN(_params(), tf_seed=5), tmp_path_factory.mktemp("logs")
    model.log_correlation = "zero-NaNs"
    options = {"batch_size": 16, "use_gpu": False, "epochs_summary": 4, "epochs_training": 10, "learning_rate": 0.01}
    epochs = model.train(
        input_data=[x], output_data=[y], train_indxs=np.arange(30), test_indxs=np.arange(30, 40),
        data_filters=np.ones_like(y), opt_params=options, output_dir=str(folder),
    )  # fmt: skip
    assert epochs == 10
    return model, folder, x, y


def test_short_lists_are_filled_up_and_a_number_is_the_first_layers():
    params = _params(reg_list={"l2": 0.5})
    assert params["reg_initializers"] == [{"l2": 0.5}, {}, {}]
    assert params["shift_spacing"] == [2, 0, None] and params["conv_filter_widths"] == [3, 0, None]
    assert params["normalize_weights"] == [0, 0, 0] and params["dilation"] == [1, 1, 1]
    assert params["num_inh"] == [0, 0, 0] and params["pos_constraints"] == [None] * 3
    assert params["weights_initializers"] == ["normal"] * 3
    assert NDNutils.ffnetwork_params([1, 6], [2], ["normal"], verbose=False)["input_dims"] == [1, 6, 1]
    assert _params(ei_layers=[None, 1])["pos_constraints"] == [None, None, True]


def _scalars(folder):
    """{tag: {step: value}} of a folder of TensorBoard logs: records of 8 bytes length, 4 checksum, data, 4 checksum."""
    (path,) = folder.iterdir()
    content, found = path.read_bytes(), {}
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
        content = content[16 + length :]
    return found


def test_scores_are_logged_after_the_epochs_of_ndn3_and_costs_fall(trained):
    model, folder, *_ = trained
    assert [entry["epoch"] for entry in model.history] == [0, 3, 7]
    costs = [entry["train"]["loss/cost_penalized"] for entry in model.history]
    assert costs[-1] < costs[0]
    for part in ("train", "test"):
        written = _scalars(folder / "summaries" / part)
        assert set(written) == {"loss/cost", "loss/cost_penalized", "loss/reg_pen", "loss/correlation/correlation"}
        for tag, values in written.items():
            assert list(values) == [0, 3, 7]
            np.testing.assert_allclose(values[7], model.history[-1][part][tag], rtol=1e-6)


def test_the_short_last_batch_is_an_update_of_its_own():
    x, y = _data()
    params = NDNutils.ffnetwork_params([1, 6, 6], [4], ["normal"], "softplus", verbose=False)
    ends = {}
    for revision in ("published", "77355e0"):
        model = NDN.NDN(params, tf_seed=1, revision=revision)
        options = {"batch_size": 16, "epochs_training": 1, "early_stop": 0, "learning_rate": 0.01}
        model.train(x, y, train_indxs=np.arange(20), opt_params=options)
        ends[revision] = model.networks[0].layers[0].weights
    start = NDN.NDN(params, tf_seed=1).networks[0].layers[0].weights
    steps = {name: np.abs(end - start).max() for name, end in ends.items()}
    # Adam's first updates move every weight by the learning rate.
    np.testing.assert_allclose(steps["77355e0"], 0.01, rtol=1e-3)
    assert steps["published"] > 0.015


def test_a_model_is_saved_and_loaded(trained, tmp_path):
    model, _, x, y = trained
    path = tmp_path / "models" / "exp x0" / "name__5.ndnmod"
    model.save_model(str(path))
    again = NDN.NDN.load_model(str(path))
    np.testing.assert_array_equal(again.generate_prediction(x), model.generate_prediction(x))
    np.testing.assert_array_equal(again.eval_models(x, y), model.eval_models(x, y))
    assert again.network_list == model.network_list and again.log_correlation == "zero-NaNs"
    np.testing.assert_allclose(again.poisson_unit_norm, y.mean(0), rtol=1e-6)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    # Weights that are set are the ones that predict.
    again.networks[0].layers[-1].weights = np.zeros((2, 4))
    np.testing.assert_allclose(again.generate_prediction(x), np.logaddexp(0, again.networks[0].layers[-1].biases)
                               + np.zeros((40, 1)), rtol=1e-5)  # fmt: skip
    assert again.generate_prediction(x, layer_target=0).shape == (40, 3 * 3 * 3)


def test_a_prediction_seeds_numpys_generator_as_ndn3_does(trained):
    model, _, x, _ = trained
    model.generate_prediction(x)
    np.testing.assert_array_equal(np.random.normal(size=3), np.random.RandomState(5).normal(size=3))  # noqa: NPY002


def test_the_multiplier_in_front_starts_at_one_and_draws_nothing():
    params = NDNutils.ffnetwork_params([1, 31, 31], [1, 2, 3], ["lin_scale", "diff_of_gaussians", "normal"],
                                       ["lin", "lin", "softplus"], reg_list={}, verbose=False)  # fmt: skip
    params["weights_initializers"] = [None, "random", "normal"]
    params["biases_initializers"] = [None, "trunc_normal", "trunc_normal"]
    layers = NDN.NDN(params, tf_seed=2).networks[0].layers
    assert layers[0].weights.tolist() == [1] and layers[0].biases.tolist() == [[0]]
    np.testing.assert_allclose(layers[1].biases, np.random.RandomState(2).normal(size=(1, 2), scale=0.1), rtol=1e-6)


X, Y = np.zeros((8, 36)), np.zeros((8, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _params(time_expand=[2, 0, 0]), "time_expand"),
        (lambda: _params(xstim_n=1), "xstim_n"),
        (lambda: _params(ffnet_n=0), "ffnet_n"),
        (lambda: _params(network_type="side"), "network_type"),
        (lambda: _params(log_activations=True), "log_activations"),
        (lambda: _params(layer_types=["conv", "sepp", "normal"]), "sepp"),
        (lambda: _params(layer_types=["conv"]), "1 layer_types for 3"),
        (lambda: _params(act_funcs=["softplus", "swish", "lin"]), "swish"),
        (lambda: _params(reg_list={"l3": [1]}), "unknown penalty 'l3'"),
        (lambda: _params(reg_list={"l2": [-1]}), "must be a number ≥ 0"),
        (lambda: _params(reg_list={"dropout": [0.0]}), "KEEP"),
        (lambda: _params(normalization=[0] * 4), "4 entries for 3"),
        (lambda: NDNutils.ffnetwork_params(input_dims=[1, 2, 2], layer_types=["normal"]), "layer_sizes is missing"),
        (lambda: NDN.NDN([_params(), _params()]), "2 networks"),
        (lambda: NDN.NDN(_params(), noise_dist="binomial"), "noise_dist"),
        (lambda: NDN.NDN(_params(), revision="new"), "revision"),
        (lambda: NDN.NDN(_params(), ffnet_out=[3]), "ffnet_out"),
        (lambda: NDN.NDN(_params()).train(X, Y, opt_params={"batch_size": 4}), "early_stop"),
        (lambda: NDN.NDN(_params()).train(X, Y, opt_params={"early_stop": 0}), "no batch_size"),
        (lambda: NDN.NDN(_params()).train(X, Y, opt_params={"batchsize": 4}), "did you mean 'batch_size'"),
        (lambda: NDN.NDN(_params()).train(X, Y, blocks=[[0, 1]]), "blocks"),
        (lambda: NDN.NDN(_params()).train(X, Y, fit_variables=[]), "fit_variables"),
        (lambda: NDN.NDN(_params()).train(X, Y, learning_alg="lbfgs"), "lbfgs"),
        (lambda: NDN.NDN(_params()).train(X, Y, [8], [0], opt_params={"batch_size": 4}), "train_indxs"),
        (lambda: NDN.NDN(_params()).train(X, Y[:3], test_indxs=[0], opt_params={"batch_size": 4}), "3 rows for 8"),
        (lambda: NDN.NDN(_params()).train(X, Y, test_indxs=[0], opt_params={"batch_size": 4, "early_stop_mode": 2}),
         "early_stop_mode"),
        (lambda: NDN.NDN(_params()).generate_prediction(X[:, :5]), "input_data has shape"),
        (lambda: NDN.NDN(_params()).generate_prediction(X, pre_activation=True), "pre_activation"),
        (lambda: NDN.NDN(_params()).generate_prediction(X, layer_target=3), "layer_target"),
        (lambda: NDN.NDN(_params()).eval_models(X, Y, use_dropout=True), "use_dropout"),
        (lambda: NDN.NDN.load_model("nowhere.ndnmod"), "no saved model"),
    ],
)  # fmt: skip
def test_what_is_not_supported_says_so(call, message):
    with pytest.raises(ConfigError, match=message):
        call()

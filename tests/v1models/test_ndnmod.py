"""Old models come in as numbers and descriptions; nothing in a file is ever run."""

import os
import pickle
import pickletools
import sys
import types
import zipfile

import numpy as np
import pytest

from runtime.errors import ConfigError
from v1models.ndn3 import NDN, NDNutils

CLASSES = {"NDN": "NDN", "FFNetwork": "ffnetwork", "DiffOfGaussiansLayer": "layer", "Layer": "layer",
           "Regularization": "regularization"}  # fmt: skip
WEIGHTS = [((8, 3), 3), ((3, 2), 2), ((2, 4), 4)]


def _params():
    params = NDNutils.ffnetwork_params([1, 9, 9], [3, 2, 4], ["diff_of_gaussians", "normal", "normal"],
                                       ["lin", "softplus", "softplus"], verbose=False)  # fmt: skip
    params["weights_initializers"] = ["random", "normal", "normal"]
    return params


@pytest.fixture(params=["NDN3.", "", "lab.toolbox.NDN3."])
def old_model(request, monkeypatch):
    """A model of classes that lie in modules of NDN3's names while it is written and nowhere afterwards."""
    kinds, homes = {}, {}
    for name, module in CLASSES.items():
        parts = (request.param + module).split(".")
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            if path not in homes:
                homes[path] = types.ModuleType(path)
                homes[path].fake = True
                monkeypatch.setitem(sys.modules, path, homes[path])
        kinds[name] = type(name, (), {"__module__": path})
        setattr(homes[path], name, kinds[name])
    random = np.random.default_rng(0)
    model, network = kinds["NDN"](), kinds["FFNetwork"]()
    network.layers = []
    for index, (shape, outputs) in enumerate(WEIGHTS):
        layer = kinds["DiffOfGaussiansLayer" if index == 0 else "Layer"]()
        layer.weights = np.asfortranarray(random.uniform(1, 4, shape).astype(np.float32))
        layer.biases = random.standard_normal((1, outputs)).astype(">f8")
        layer.reg = kinds["Regularization"]()
        layer.reg.vals, layer.reg.mats = {"l2": np.float32(0.1)}, {}
        layer.nothing, layer.mixed = np.array([]), np.array([None, 1])
        network.layers.append(layer)
    model.network_list, model.networks = [_params()], [network]
    model.noise_dist, model.tf_seed, model.log_correlation = "poisson", np.int64(3), "zero-NaNs"
    model.poisson_unit_norm = np.arange(1.0, 5.0)
    return model


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_old_model_predicts_as_a_network_with_its_weights(old_model, protocol, tmp_path, monkeypatch):
    path = tmp_path / "name__3.ndnmod"
    path.write_bytes(pickle.dumps(old_model, protocol=protocol))
    for name in [name for name in sys.modules if getattr(sys.modules[name], "fake", False)]:
        monkeypatch.delitem(sys.modules, name)
    loaded = NDN.NDN.load_model(str(path))
    layers = loaded.networks[0].layers
    for layer, old in zip(layers, old_model.networks[0].layers, strict=True):
        np.testing.assert_array_equal(layer.weights, old.weights)
        np.testing.assert_array_equal(layer.biases, old.biases)
    assert (loaded.tf_seed, loaded.noise_dist, loaded.log_correlation) == (3, "poisson", "zero-NaNs")
    np.testing.assert_array_equal(loaded.poisson_unit_norm, np.arange(1.0, 5.0))
    assert not any(getattr(module, "fake", False) for module in sys.modules.values())
    if protocol == 2:
        x = np.random.default_rng(1).standard_normal((2, 81))
        direct = NDN.NDN(_params())
        for layer, old in zip(direct.networks[0].layers, old_model.networks[0].layers, strict=True):
            layer.weights, layer.biases = old.weights, old.biases
        np.testing.assert_array_equal(loaded.generate_prediction(x), direct.generate_prediction(x))


def _text(text):
    return pickle.SHORT_BINUNICODE + bytes([len(text.encode())]) + text.encode()


def _name(module, name):
    return _text(module) + _text(name) + pickle.STACK_GLOBAL


def _call(module, name, *arguments):
    return _name(module, name) + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def _dill_array(maker):
    """How dill writes an array: the call that makes an empty one, then its state."""
    kind = _call("numpy", "dtype", _text("f4"))
    state = pickle.MARK + pickle.BININT1 + b"\1" + pickle.MARK + pickle.BININT1 + b"\2" + pickle.TUPLE + kind
    state += pickle.NEWFALSE + pickle.SHORT_BINBYTES + b"\x08" + np.float32([1, 2]).tobytes() + pickle.TUPLE
    arguments = pickle.MARK + _name("numpy", "ndarray") + pickle.EMPTY_TUPLE + pickle.NONE + pickle.TUPLE
    return _call("dill._dill", "_create_array", maker, arguments, state)


def _attribute(value, name="networks"):
    """A model of NDN3 that has this as an attribute."""
    state = pickle.EMPTY_DICT + _text(name) + value + pickle.SETITEM
    return _name("NDN3.NDN", "NDN") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + state + pickle.BUILD


def _unmarked(name):
    return _text(f"touch {name}")


HOSTILE = {
    "os.system": lambda mark: _call("os", "system", _unmarked(mark)),
    "posix.system": lambda mark: _call("posix", "system", _unmarked(mark)),
    "subprocess.Popen": lambda mark: _call("subprocess", "Popen", _unmarked(mark)),
    "builtins.eval": lambda mark: _call("builtins", "eval", _text(f"open({mark!r}, 'w')")),
    "builtins.exec": lambda mark: _call("builtins", "exec", _text(f"open({mark!r}, 'w')")),
    "builtins.getattr": lambda mark: _call("builtins", "getattr", _name("os", "system"), _text("__call__")),
    "builtins.open": lambda mark: _call("builtins", "open", _text(mark), _text("w")),
    "dill._dill._eval_repr": lambda mark: _call("dill._dill", "_eval_repr", _text(f"open({mark!r}, 'w')")),
    "dill._dill._create_function": lambda mark: _call("dill._dill", "_create_function", pickle.NONE),
    "dill._dill._import_module": lambda mark: _call("dill._dill", "_import_module", _text("os")),
    "'CodeType'": lambda mark: _call("dill._dill", "_load_type", _text("CodeType")),
    "importlib.import_module": lambda mark: _call("importlib", "import_module", _text("os")),
    "numpy.load": lambda mark: _call("numpy", "load", _text(mark)),
    "NDN3.ffnetwork.os.system": lambda mark: _call("NDN3.ffnetwork", "os.system", _unmarked(mark)),
    "tensorflow.io.gfile.x.y": lambda mark: _call("tensorflow.io.gfile", "x.y", _text(mark)),
    "codec": lambda mark: _call("_codecs", "encode", _text("x"), _text("zip")),
    "is refused": lambda mark: _dill_array(_name("collections", "OrderedDict")),
    "outside the file": lambda mark: pickle.NONE + pickle.BINPERSID,
    "state to a function": lambda mark: _name("_codecs", "encode") + pickle.EMPTY_DICT + pickle.BUILD,
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("within", [False, True])
def test_a_hostile_file_is_refused_by_name_and_runs_nothing(what, within, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "model.ndnmod"
    value = HOSTILE[what](str(mark))
    path.write_bytes(pickle.PROTO + b"\4" + (_attribute(value) if within else value) + pickle.STOP)
    list(pickletools.genops(path.read_bytes()))  # a well-formed pickle
    with pytest.raises(ConfigError, match=str(path)) as caught:
        NDN.NDN.load_model(str(path))
    assert what in str(caught.value) or what == "codec"
    assert not mark.exists()


def test_a_small_file_cannot_ask_for_much_memory(tmp_path):
    kind = _call("numpy", "dtype", _text("f4"), pickle.NEWFALSE, pickle.NEWTRUE)
    side = pickle.BININT + (1 << 28).to_bytes(4, "little")
    shape = pickle.MARK + side + side + pickle.TUPLE
    empty = pickle.SHORT_BINBYTES + b"\0"
    lists = pickle.EMPTY_LIST + b"".join(
        pickle.BINPUT + bytes([i]) + pickle.EMPTY_LIST + 2 * (pickle.BINGET + bytes([i]) + pickle.APPEND)
        for i in range(60)
    )
    bodies = {
        "numbers an object 2147483647": pickle.EMPTY_LIST + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f",
        "an array of shape (268435456, 268435456)": _call(
            "numpy.core.numeric", "_frombuffer", empty, kind, shape, _text("C")
        ),
        "more than 1000000 entries": lists,
    }
    for words, body in bodies.items():
        path = tmp_path / "model.ndnmod"
        path.write_bytes(pickle.PROTO + b"\4" + body + pickle.STOP)
        with pytest.raises(ConfigError) as caught:
            NDN.NDN.load_model(str(path))
        assert words in str(caught.value)
    NDN.NDN(_params()).save_model(str(tmp_path / "ours.ndnmod"))
    with zipfile.ZipFile(tmp_path / "ours.ndnmod") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "packed.ndnmod", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in parts.items():
            archive.writestr(name, body + bytes(1 << 20))
    with pytest.raises(ConfigError, match="it unpacks to"):
        NDN.NDN.load_model(str(tmp_path / "packed.ndnmod"))


def test_records_of_ndn3_do_nothing_when_a_file_calls_them(tmp_path):
    # A name of NDN3's modules is no way to anything: it makes a record, whatever it is called with.
    value = _call("NDN3.layer", "system", _unmarked(str(tmp_path / "mark")))
    path = tmp_path / "model.ndnmod"
    path.write_bytes(pickle.PROTO + b"\4" + value + pickle.STOP)
    with pytest.raises(ConfigError, match="0 networks"):
        NDN.NDN.load_model(str(path))
    assert os.listdir(tmp_path) == ["model.ndnmod"]


def test_arrays_that_dill_wrote_are_read(tmp_path):
    maker = _name("numpy.core.multiarray", "_reconstruct")
    path = tmp_path / "model.ndnmod"
    path.write_bytes(pickle.PROTO + b"\4" + _attribute(_dill_array(maker), "tf_seed") + pickle.STOP)
    with pytest.raises(ConfigError, match="0 networks"):
        NDN.NDN.load_model(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no archive", b"\x80\4}", b"\x80\4}.", b"hello"])
def test_a_file_that_is_no_model_is_refused_in_one_sentence(content, tmp_path):
    path = tmp_path / "model.ndnmod"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        NDN.NDN.load_model(str(path))


def test_weights_that_do_not_fit_their_description_are_named(tmp_path):
    model = NDN.NDN(_params())
    model.networks[0].layers[1].weights = np.zeros((4, 2))
    model.save_model(str(tmp_path / "model.ndnmod"))
    with pytest.raises(ConfigError, match=r"layer 1 .Dense.*\(4, 2\)"):
        NDN.NDN.load_model(str(tmp_path / "model.ndnmod"))

"""A config is what the file and the flags say, or one sentence that names what is wrong."""

import json
import subprocess
import sys

import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from runtime.config import (
    ReadRecorder,
    check_same,
    flatten,
    load_config,
    read_config,
    read_record,
    save_config,
    select_preset,
    split_flags,
)
from runtime.errors import ConfigError, RunError, clear_errors
from runtime.fields import choice, number, optional, per_layer, several
from tests.conftest import REPOSITORY

FILE = """
from ml_collections import ConfigDict
from runtime.config import select_preset
from runtime.fields import optional, per_layer

def get_config(preset="quick"):
    config = ConfigDict()
    config.seed = optional(int)
    config.label = optional(str)
    config.name = "x"
    config.extra = None
    config.train = ConfigDict({"lr": 1e-3, "num_steps": 10, "nesterov": True, "sizes": (1, 2), "words": ("a",)})
    config.train.rates, config.train.anything = (0.5,), ()
    config.sampler = ConfigDict({"step_size": per_layer(0.1)})
    config.train.num_steps = select_preset(preset, {"quick": 10, "mnist": 500})
    if preset == "mnist":
        config.sampler.step_size, config.seed = (1, 0.5), 3
    return config
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "example.py"
    path.write_text(FILE)
    return str(path)


def test_presets(file):
    assert load_config(file).train.num_steps == 10
    mnist = load_config(file + ":mnist")
    assert (mnist.train.num_steps, mnist.seed, mnist.sampler.step_size) == (500, 3, (1, 0.5))


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.lr=3e-4", 3e-4),
        ("train.lr=1", 1.0),
        ("train.lr=inf", float("inf")),
        ("train.num_steps=2000", 2000),
        ("train.num_steps=1e5", 100_000),
        ("train.num_steps=-3", -3),
        ("train.nesterov=no", False),
        ("train.nesterov=True", True),
        ("train.sizes=(3,4,5)", (3, 4, 5)),
        ("train.sizes=[3]", (3,)),
        ("train.sizes=3,4", (3, 4)),
        ("train.sizes=3", (3,)),
        ("train.sizes=()", ()),
        ("train.rates=1,0.5", (1.0, 0.5)),
        ("train.words=b,c d", ("b", "c d")),
        ("train.words=('b','c')", ("b", "c")),
        ("train.anything=(1,(2,'a'))", (1, (2, "a"))),
        ("name=a=b", "a=b"),
        ("name=3", "3"),
        ("seed=4", 4),
        ("seed=none", None),
        ("label=none", None),
        ("label=3", "3"),
        ("extra=[1, 2]", (1, 2)),
        ("extra=word", "word"),
        ("sampler.step_size=1", 1.0),
        ("sampler.step_size=0.2,1", (0.2, 1.0)),
    ],
)
def test_values_are_read_as_their_fields_kind(file, override, value):
    field, _, _ = override.partition("=")
    for prefix in ("", "--config."):
        read = flatten(load_config(file, [prefix + override]))[field]
        assert read == value
        assert type(read) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.lr=1", r"^--config\.trian\.lr: the config has no field 'trian' \(did you mean 'train'\?\)$"),
        ("train.rl=1", r"the group 'train' has no field 'rl' \(did you mean 'lr'\?\)"),
        ("train.zzz=1", r"has no field 'zzz' \(there are: .*lr, nesterov"),
        ("train.lr=fast", r"^--config\.train\.lr=fast: the field holds a number, now 0\.001$"),
        ("train.lr=nan", "holds a number"),
        ("train.num_steps=1.5", "a whole number, now 10"),
        ("train.nesterov=2", "true or false"),
        ("train.sizes=1.5,2", "a tuple, now \\(1, 2\\)"),
        ("train.rates=a", "a tuple"),
        ("seed=x", "a whole number or None, now None"),
        ("sampler.step_size=a", "a number or a tuple, now 0.1"),
        ("train=3", "is a group of fields .*set one of them"),
        ("train.lr.x=3", "'train.lr' is a field, not a group"),
        ("train.lr", "'train.lr' gives no value"),
    ],
)
def test_mistakes_in_fields_are_named(file, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(file, [override])


def test_mistakes_in_files_and_presets_are_named(file, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown preset 'mnsit' \(did you mean 'mnist'\?\)"):
        load_config(file + ":mnsit")
    with pytest.raises(ConfigError, match=r"no config file .*exampel.py.* \(did you mean .*example.py'\?\)"):
        load_config(file.replace("example", "exampel"))
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ConfigError, match="defines no get_config"):
        load_config(str(tmp_path / "empty.py"))
    (tmp_path / "broken.py").write_text("\ndef get_config(:\n")
    with pytest.raises(ConfigError, match="broken.py, line 2"):
        load_config(str(tmp_path / "broken.py"))
    (tmp_path / "number.py").write_text("def get_config(): return 3")
    with pytest.raises(ConfigError, match="must return an ml_collections.ConfigDict, not int"):
        load_config(str(tmp_path / "number.py"))


def test_loaded_config_cannot_change(file):
    with pytest.raises(AttributeError):
        load_config(file).train.lr = 1.0


def test_config_flags_are_separated_from_others():
    config_flags = ["--config", "c.py:p", "--config.a.b=1=2", "--config.c", "-3"]
    spec, overrides, others = split_flags(["--workdir=runs/a", *config_flags, "-v", "--configure=x"])
    assert spec == "c.py:p"
    assert overrides == ["--config.a.b=1=2", "--config.c=-3"]
    assert others == ["--workdir=runs/a", "-v", "--configure=x"]
    assert split_flags([]) == (None, [], [])
    with pytest.raises(ConfigError, match="--config.a gives no value"):
        split_flags(["--config.a", "--workdir=x"])
    with pytest.raises(ConfigError, match="--config gives no value"):
        split_flags(["--config"])
    with pytest.raises(ConfigError, match="--config is given twice, a.py and b.py"):
        split_flags(["--config=a.py", "--config=b.py"])


PROGRAM = """
import sys
from runtime.config import load_config, split_flags
from runtime.errors import clear_errors
with clear_errors():
    spec, overrides, _ = split_flags(sys.argv[1:])
    print(load_config(spec, overrides).train.lr)
"""


def test_program_ends_with_one_sentence_and_status_two(file):
    def run(*flags):
        command = [sys.executable, "-c", PROGRAM, f"--config={file}", *flags]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    assert run("--config.train.lr=0.5").stdout == "0.5\n"
    failed = run("--config.train.lr=fast")
    assert failed.returncode == 2
    assert failed.stderr == "error: --config.train.lr=fast: the field holds a number, now 0.001\n"


@pytest.mark.parametrize(("error", "status"), [(ConfigError("bad"), 2), (RunError("failed"), 1)])
def test_known_errors_have_an_exit_status(error, status, capsys):
    with pytest.raises(SystemExit) as stopped, clear_errors():
        raise error
    assert stopped.value.code == status
    assert capsys.readouterr().err == f"error: {error}\n"


def test_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), clear_errors():
        1 / 0  # noqa: B018


def test_saved_config_is_read_back(file, tmp_path):
    config = load_config(file + ":mnist", ["train.lr=inf", "train.anything=(1,(2,'a'))"])
    save_config(config, tmp_path / "run")
    assert read_config(tmp_path / "run") == config
    record = read_record(tmp_path / "run")
    assert {"python", "jax", "numpy"} <= set(record["versions"])
    assert "revision" in record
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_missing_or_damaged_run_config_is_named(tmp_path):
    with pytest.raises(ConfigError, match="is no run folder"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"config": {}})[:-1])
    with pytest.raises(ConfigError, match=r"config\.json is damaged"):
        read_config(tmp_path)


def test_run_goes_on_only_with_its_own_config(file, tmp_path):
    save_config(load_config(file), tmp_path)
    check_same(load_config(file), tmp_path)
    other = load_config(file, ["train.num_steps=20", "train.lr=0.1", "sampler.step_size=0.1,0.2"])
    with pytest.raises(ConfigError) as caught:
        check_same(other, tmp_path, may_change=["train.num_steps"])
    assert "train.lr was 0.001 and is 0.1" in str(caught.value)
    assert "sampler.step_size was 0.1 and is (0.1, 0.2)" in str(caught.value)
    assert "num_steps" not in str(caught.value)
    check_same(other, tmp_path, may_change=["train", "sampler.step_size"])
    with pytest.raises(ConfigError, match=r"train\.lr"):
        check_same(other, tmp_path, may_change=["tra", "sampler", "train.num_steps"])


def test_added_and_removed_fields_are_differences(tmp_path):
    save_config(ConfigDict({"a": 1, "b": {"c": True}}), tmp_path)
    with pytest.raises(ConfigError, match=r"b\.c is gone; d is new"):
        check_same(ConfigDict({"a": 1, "d": 2}), tmp_path)
    with pytest.raises(ConfigError, match=r"b\.c was True and is 1"):
        check_same(ConfigDict({"a": 1.0, "b": {"c": 1}}), tmp_path)
    longer = ConfigDict({"a": 1, "b": {"c": True, "d": 2}})
    check_same(longer, tmp_path, added={"b.d": 2})
    with pytest.raises(ConfigError, match=r"b\.d was 3 and is 2"):
        check_same(longer, tmp_path, added={"b.d": 3})


def test_recorder_names_the_fields_that_nothing_reads():
    config = ConfigDict({"a": 1, "b": {"c": 2, "d": {"e": 3, "f": (4,)}}, "g": {"h": 5, "i": 6}, "j": None})
    recorder = ReadRecorder(FrozenConfigDict(config))
    assert recorder.unread() == ["a", "b.c", "b.d.e", "b.d.f", "g.h", "g.i", "j"]
    assert recorder.b.c == 2
    assert recorder["b"]["d"].get("f") == (4,)
    assert "a" in recorder
    assert recorder.get("missing", 7) == 7
    with pytest.raises(AttributeError):
        _ = recorder.missing
    assert recorder.unread() == ["a", "b.d.e", "g.h", "g.i", "j"]
    assert dict(recorder.g) == dict(**recorder.g) == {"h": 5, "i": 6}
    assert recorder.unread() == ["a", "b.d.e", "j"]
    assert recorder.to_dict() == config.to_dict()
    assert recorder.unread() == []


def test_field_kinds_in_presets():
    config = ConfigDict({"seed": optional(int), "rate": per_layer(0.1)})
    config.seed, config.rate = 3, (0.1, 0.2)
    with pytest.raises(TypeError):
        config.seed = "x"
    with pytest.raises(TypeError):
        config.rate = "x"
    assert select_preset("a", {"a": 1}) == 1


LIMITED = """
from ml_collections import ConfigDict
from runtime.fields import choice, choice_per_layer, number, optional, per_layer, several

def get_config(preset=""):
    fields = {
        "lr": number(1e-3, above=0), "steps": number(20, at_least=1, at_most=40), "clip": optional(float, above=0),
        "start": choice("random", "zeros"), "modes": several(("a",), ("a", "b")), "rate": per_layer(0.1, below=2),
        "mass": choice_per_layer("flat", "ring"), "width": per_layer(None, above=0),
    }
    config = ConfigDict({"train": fields})
    if preset == "bad":
        config.train.update({"steps": 0})
    return config
"""


def test_fields_accept_what_they_declare(tmp_path):
    path = tmp_path / "limited.py"
    path.write_text(LIMITED)
    changes = ["lr=1", "steps=40", "clip=2", "start=zeros", "modes=a,b", "rate=0.1,1.9", "mass=ring", "width=None,0.5"]
    config = load_config(str(path), [f"train.{change}" for change in changes])
    assert flatten(config) == {
        "train.lr": 1.0, "train.steps": 40, "train.clip": 2.0, "train.start": "zeros", "train.modes": ("a", "b"),
        "train.rate": (0.1, 1.9), "train.mass": "ring", "train.width": (None, 0.5),
    }  # fmt: skip
    assert load_config(str(path), ["train.clip=none"]).train.clip is None
    assert load_config(str(path), ["train.mass=ring,flat"]).train.mass == ("ring", "flat")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=0", r"^--config\.train\.lr=0: it must be above 0, not 0\.0$"),
        ("steps=41", "it must be at least 1 and at most 40, not 41"),
        ("clip=-1", "it must be above 0, not -1.0"),
        ("start=zero", r"it must be one of random, zeros, not 'zero' \(did you mean 'zeros'\?\)"),
        ("modes=a,c", "one of a, b, not 'c'"),
        ("rate=0.1,2", "it must be below 2, not 2"),
        ("mass=ring,rang", r"one of flat, ring, not 'rang' \(did you mean 'ring'"),
        ("width=None,0", "it must be above 0, not 0"),
    ],
)
def test_fields_refuse_what_they_do_not_declare(tmp_path, override, message):
    path = tmp_path / "limited.py"
    path.write_text(LIMITED)
    with pytest.raises(ConfigError, match=message):
        load_config(str(path), [f"train.{override}"])
    with pytest.raises(ConfigError, match=r"limited\.py: it must be at least 1 and at most 40, not 0"):
        load_config(f"{path}:bad")


def test_a_refused_value_leaves_the_field_as_it_was():
    for field, bad in ((number(1, at_least=1), 0), (choice("a", "b"), "c"), (several(("a",), ("a",)), ("b",)),
                       (optional(int, above=0), 0), (per_layer(1.0, above=0), (1.0, -1.0))):  # fmt: skip
        config = ConfigDict({"field": field})
        before = config.field
        with pytest.raises(ConfigError):
            config.field = bad
        assert config.field == before


def test_a_reader_that_has_seen_enough_ends_a_program_quietly(tmp_path):
    lines = "for _ in range(20000):\n        print('a line that nobody reads')"
    program = f"from runtime.errors import clear_errors\nwith clear_errors():\n    {lines}"
    with (tmp_path / "errors").open("w") as errors:
        source = subprocess.Popen(
            [sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors
        )
        assert source.stdout.readline() == b"a line that nobody reads\n"
        source.stdout.close()
        assert source.wait(timeout=60) == 0
    assert (tmp_path / "errors").read_text() == ""

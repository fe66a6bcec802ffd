"""A config file of one's own is held to what a command line is: every field acts, or is named in one sentence."""

import importlib.util

import pytest

from runtime.config import flatten, load_config, save_config
from runtime.errors import ConfigError
from runtime.idle import LISTS, check_file, check_used
from tests.conftest import REPOSITORY
from tests.nrf.idle_fields import another

# No package imports the program, and neither do its tests: they load it as the command line does.
SPEC = importlib.util.spec_from_file_location("launch", REPOSITORY / "launch.py")
launch = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(launch)

# Config files that start from another one, by what they change of it.
START = """from ml_collections import ConfigDict
from {module} import get_config as start

def get_config(preset={preset!r}):
{body}"""
MODULES = {
    "nrf": "configs.nrflv", "known": "configs.known", "v1models": "configs.v1.bl4", "leaderboard": "configs.v1.henaff",
    "variability": "configs.v1.variability", "figures": "configs.v1.figures",
}  # fmt: skip
PRESETS = {"nrf": "quick", "known": "standard", "v1models": "thesis", "leaderboard": "families",
           "variability": "samples", "figures": "published"}  # fmt: skip


def own_file(folder, package, *lines):
    """A config file in which these lines change the package's first config."""
    lines = ["config = start(preset)", *lines, "return config"]
    body = "".join(f"    {line}\n" for line in lines)
    path = folder / "mine.py"
    path.write_text(START.format(module=MODULES[package], preset=PRESETS[package], body=body))
    return str(path)


def refusal(spec, overrides=(), workdir="nowhere"):
    """The sentence for a file; '' where it is accepted."""
    try:
        config = load_config(spec, overrides)
        package = config.get("package", "nrf")
        check_file(spec, config, list(launch.PACKAGES[package].stages), launch.PACKAGES[package].idle, workdir)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("package", "lines", "words"),
    [
        ("nrf", ["config.sampler.sghmc.friction = 0.2"], "sampler.sghmc.friction, which does nothing there"),
        ("nrf", ["config.negative.buffer_size = 9"], "config.negative.start is 'persistent'"),
        ("nrf", ["config.model.architecture.growth_rate = 16"], "no layer has dense blocks"),
        ("nrf", ["config.model.update({'activation': 'relu', 'gain': 3.0})"], "'relu', which has no scale"),
        ("nrf", ["config.sweep.grid = (('seed', (0, 1)), ('negative.buffer_size', (8, 9)))"], "config.negative.start"),
        ("nrf", ["config.unlock()", "config.train.learning_rat = 0.1"], "nothing reads config.train.learning_rat (did"),
        ("known", ["config.known.fixed_at = 0.5", "config.known.controls = ()"], "nor a control fixes the scale"),
        ("known", ["config.known.trails = 8"], "the config has no field 'trails' there (did you mean 'trials'"),
        ("v1models", ["config.stopping.patience = 3"], "config.stopping.enabled is False"),
        ("v1models", ["config.model.layer1.bias_scale = 0.3", "config.model.layer1.bias_initializer = 'zeros'"],
         "bias_initializer is 'zeros'"),
        ("v1models", ["config.model.layr3 = ConfigDict({'kind': 'Dense'})"], "nothing reads config.model.layr3.kind"),
        ("v1models", ["config.alternatives.other = {'layer0': config.model.layer1}", "config.model.use = 'other'"],
         "config.model.use chooses the layers of alternatives.other"),
        ("leaderboard", ["config.families.pixels.scales = 2"], "config.families.pixels.core is 'pixels'"),
        ("leaderboard", ["config.learning.groups = ()", "config.learning.families = ('gabor_energy',)"],
         "config.learning.groups is empty"),
        ("leaderboard", ["del config.families['cnn'], config.families['cnn_rotated']", "config.folds.validation = 3"],
         "no family is trained step by step"),
        ("leaderboard", ["config.scores.relaible = 0.3"], "has no field 'relaible' there"),
        ("variability", ["config.folds.validation = 3"], "has no field 'validation' there"),
        ("figures", ["config.figures = {}", "config.suffix = '-ndn3'"], "no figure has curves of the suite"),
        ("figures", ["config.sufix = '-ndn3'"], "has no field 'sufix' there"),
    ],
)  # fmt: skip
def test_what_a_file_sets_in_vain_is_named(package, lines, words, tmp_path):
    sentence = refusal(own_file(tmp_path, package, *lines))
    assert words in sentence and "\n" not in sentence


def test_what_a_file_sets_is_tried_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setitem(launch.PACKAGES, "nrf", launch.PACKAGES["nrf"]._replace(stages={"train": None}))
    spec = own_file(tmp_path, "nrf", "config.negative.buffer_size = 9")
    with pytest.raises(ConfigError, match="mine.py sets config.negative.buffer_size, which does nothing there"):
        launch.main([f"--config={spec}", f"--workdir={tmp_path / 'run'}"])
    with pytest.raises(ConfigError, match="which does nothing there"):
        launch.main([f"--config={spec}", "--describe"])
    other = "config.package = 'nfr'"
    with pytest.raises(ConfigError, match="config.package is 'nfr' .did you mean 'nrf'"):
        launch.main([f"--config={own_file(tmp_path, 'known', other)}"])


def test_what_the_command_line_puts_to_use_or_leaves_idle_is_accepted(tmp_path):
    spec = own_file(tmp_path, "nrf", "config.negative.buffer_size = 9")
    assert refusal(spec, ["negative.start=buffer"]) == ""
    spec = own_file(tmp_path, "nrf", "config.negative.update({'start': 'buffer', 'buffer_size': 9})")
    assert refusal(spec, ["negative.start=persistent"]) == ""
    # Alternatives are there to be chosen from, and presets are nobody's own choice.
    spec = own_file(tmp_path, "nrf", "config = start('thesis')", "config.positive.start = 'zeros'",
                    "config.negative.fresh = 'uniform'")  # fmt: skip
    assert refusal(spec) == ""
    spec = own_file(tmp_path, "v1models", "config.alternatives.other = {'layer0': config.model.layer1}")
    assert refusal(spec) == ""


def test_a_run_that_began_with_it_goes_on(tmp_path):
    spec = own_file(tmp_path, "nrf", "config.negative.buffer_size = 9")
    assert "buffer_size" in refusal(spec, workdir=tmp_path / "run")
    (tmp_path / "run").mkdir()
    save_config(load_config(spec), tmp_path / "run")
    assert refusal(spec, workdir=tmp_path / "run") == ""


@pytest.mark.slow
def test_a_file_is_held_to_every_field_that_the_command_line_is(tmp_path):
    """Field by field: another value in the file is refused where the same value on the command line is."""
    base, stages = "configs/nrflv.py", list(launch.PACKAGES["nrf"].stages)
    fields = flatten(load_config(base))
    defaults = [flatten(load_config(f"{base}:{name}")) for name in ("quick", "patches", "digits", "cifar", "thesis")]
    idle = launch.PACKAGES["nrf"].idle
    refused = tried = 0
    for field, value in fields.items():
        if not field.startswith(("sampler.sghmc.", "negative.", "positive.", "record.", "initializer.")):
            continue
        text = another(base, field, value)
        if text is None:
            continue
        changed = flatten(load_config(base, [f"{field}={text}"]))[field]
        if any(repr(each[field]) == repr(changed) for each in defaults):
            continue
        try:
            check_used(load_config(base, [f"{field}={text}"]), [f"{field}={text}"], stages, idle, "nowhere")
            wanted = ""
        except ConfigError as error:
            wanted = str(error)
        sentence = refusal(own_file(tmp_path, "nrf", f"config.{field} = {changed!r}"))
        assert bool(sentence) == bool(wanted) and (not sentence or f"config.{field}, which does nothing" in sentence)
        refused, tried = refused + bool(sentence), tried + 1
    assert tried > 45 and 12 < refused < tried - 12


SHIPPED = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (REPOSITORY / "configs").rglob("*.py")
    if path.stem not in ("nrflv_groups", "experiments")
)
QUICK = ("known", "nrflv", "bl4", "henaff", "figures", "variability")
MORE = {
    "nrflv": ("patches", "digits", "cifar", "thesis_architecture", "thesis"), "known": ("precise",),
    "henaff": ("quick", "own", "joined", "fields"), "baker": (), "variability": ("quick",), "figures": ("own",),
    "tang": ("choose", "quick"), "klindt": ("gaussian", "ndn3+quick"),
    "scenes": (), "dynamics": (), "published": (),
}  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [path if path.split("/")[-1][:-3] in QUICK else pytest.param(path, marks=pytest.mark.slow) for path in SHIPPED],
)
def test_no_file_that_is_shipped_sets_anything_in_vain(path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for preset in ("", *MORE.get(path.split("/")[-1][:-3], ("ndn3", "quick"))):
        assert refusal(f"{path}:{preset}" if preset else path) == ""


def test_every_package_has_a_list_of_its_fields():
    assert set(LISTS) == set(launch.PACKAGES)

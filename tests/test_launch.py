"""Every flag of the command line acts or is refused: none is read and forgotten."""

import importlib.util

import pytest

from runtime.errors import ConfigError
from runtime.sweeps import FINISHED, WAITING, _write
from tests.conftest import REPOSITORY

# No package imports the program, and neither do its tests: they load it as the command line does.
SPEC = importlib.util.spec_from_file_location("launch", REPOSITORY / "launch.py")
launch = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(launch)

TINY = f"--config={REPOSITORY}/tests/nrf/tiny.py"
GRID = "--config.sweep.grid=(('seed',(0,1)),)"


@pytest.fixture
def calls(monkeypatch):
    """What the stages of a field were called with, in place of what they do."""
    seen = []

    def stage(name):
        return lambda config, workdir, flags: seen.append((name, config, workdir, flags))

    package = launch.PACKAGES["nrf"]
    monkeypatch.setitem(launch.PACKAGES, "nrf", package._replace(stages={name: stage(name) for name in package.stages}))
    return seen


def run(tmp_path, *arguments):
    launch.main([TINY, f"--workdir={tmp_path / 'run'}", *arguments])


def workdir_acts(tmp_path, calls):
    run(tmp_path)
    assert calls[0][2] == tmp_path / "run"


def stages_act(tmp_path, calls):
    run(tmp_path)
    run(tmp_path, "--stages=visualise,record")
    assert [name for name, *_ in calls] == ["train", "visualise", "record"]
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        run(tmp_path, "--stages=trane")
    for empty in ("--stages=", "--stages=train,"):
        with pytest.raises(ConfigError, match="--stages names ''"):
            run(tmp_path, empty)


def executor_acts(tmp_path, calls):
    run(tmp_path, GRID, "--executor=dask")
    assert calls[0][3].executor == "dask"
    for alone in (["--executor=slurm"], ["--executor=dask", GRID, "--stages=visualise"]):
        with pytest.raises(ConfigError, match="--executor says where the runs of a sweep .* here is none"):
            run(tmp_path, *alone)
    with pytest.raises(ConfigError, match="did you mean 'slurm'"):
        run(tmp_path, GRID, "--executor=slrum")


def executor_options_act(tmp_path, calls):
    run(tmp_path, GRID, "--executor=dask", "--executor-options=workers=3")
    assert calls[0][3].executor_options == "workers=3"
    for options in (["--executor-options=workers=3"], ["--executor=slurm", "--executor-options=workers=3"]):
        with pytest.raises(ConfigError, match="has no option 'workers'"):
            run(tmp_path, GRID, *options)
    with pytest.raises(ConfigError, match="here is none"):
        run(tmp_path, "--executor=dask", "--executor-options=workers=3")


def describe_acts(tmp_path, calls, capsys):
    launch.main([TINY, "--describe=json"])
    assert '"batch": 8' in capsys.readouterr().out and not calls
    for other in (f"--workdir={tmp_path}", "--stages=train", "--executor=dask"):
        with pytest.raises(ConfigError, match="--describe computes nothing"):
            launch.main([TINY, "--describe", other])


ACTS = {
    "workdir": workdir_acts, "stages": stages_act, "executor": executor_acts, "executor_options": executor_options_act,
    "describe": describe_acts,
}  # fmt: skip


@pytest.mark.parametrize("flag", ACTS)
def test_every_flag_acts_or_is_refused(flag, tmp_path, calls, capsys):
    more = (capsys,) if flag == "describe" else ()
    ACTS[flag](tmp_path, calls, *more)


def test_flags_of_models_of_v1_are_checked_too(tmp_path):
    for flag, words in (("--executor=dusk", "did you mean 'dask'"), ("--stages=raport", "did you mean 'report'")):
        with pytest.raises(ConfigError, match=words):
            launch.main([f"--config={REPOSITORY}/tests/v1models/tiny.py", f"--workdir={tmp_path / 'run'}", flag])


def test_no_flag_is_left_out():
    flags = {action.dest for action in launch.make_parser()._actions} - {"help"}
    assert flags == set(ACTS)


def test_a_grid_is_tried_before_anything_is_computed(tmp_path, calls):
    for grid, words in (
        ("(('train.lr',(1e-3,-1.0)),)", r"config.sweep.grid: train.lr=-1.0: it must be above 0"),
        ("(('positive.start',('random','nowhere')),)", "start=nowhere: it must be one of previous, .*, not 'nowhere'"),
    ):
        with pytest.raises(ConfigError, match=words):
            run(tmp_path, f"--config.sweep.grid={grid}")
    assert not calls


def test_later_stages_take_the_runs_of_a_sweep_one_by_one(tmp_path, calls):
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(ConfigError, match="is no folder of a sweep"):
        run(tmp_path, GRID, "--stages=record")
    states = {name: {"name": name, "state": state} for name, state in (("seed=0", WAITING), ("seed=1", FINISHED))}
    _write(folder, states, ())
    run(tmp_path, GRID, "--stages=record")
    assert [(name, config.seed, where) for name, config, where, _ in calls] == [("record", 1, folder / "seed=1")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([TINY, "--config.sampler.sghmc.friction=0.2"], "sampler.sghmc.friction does nothing here"),
        ([TINY, "--config.record.level=full"], "'record', which --stages does not name"),
        (["--config=configs/v1/bl4.py", "--config.stopping.patience=3"], "config.stopping.enabled is False"),
        (["--config=configs/known.py", "--config.analyse.level=0.1", "--stages=record"], "'analyse', which --stages"),
        (["--config=configs/v1/figures.py:own", "--config.suffix=-ndn3"], "no figure has curves of the suite"),
    ],
)
def test_fields_that_nothing_reads_are_refused_before_anything_is_computed(arguments, words, tmp_path, calls):
    with pytest.raises(ConfigError, match=words):
        launch.main([*arguments, f"--workdir={tmp_path / 'run'}"])
    assert not calls and not (tmp_path / "run").exists()

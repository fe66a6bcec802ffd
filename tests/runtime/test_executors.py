"""Executors: the same tasks in place, on worker processes of which one is killed, and as jobs of a batch system."""

import os
import shutil
import stat
import sys
import textwrap

import pytest

from runtime import executors
from runtime.errors import ConfigError
from runtime.executors import batch_cluster, make_executor, read_options


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("dusk", "", r"--executor=dusk: there is no such executor \(did you mean 'dask'\?\)"),
        ("dask", "wokers=2", r"dask has no option 'wokers' \(did you mean 'workers'\?\)"),
        ("dask", "workers", r"'workers' gives no value"),
        ("dask", "workers=0", r"must be a whole number of at least 1"),
        ("local", "jobs=2", r"local has no option 'jobs'"),
    ],
)
def test_bad_options_are_explained(name, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read_options(name, options)


def test_in_place_tasks_come_back_in_order_and_failures_as_exceptions():
    with make_executor("local") as execute:
        outcomes = list(execute(lambda a, b: a / b, [(4, 2), (1, 0), (9, 3)]))
    assert [index for index, _ in outcomes] == [0, 1, 2]
    assert outcomes[0][1] == 2 and outcomes[2][1] == 3
    assert isinstance(outcomes[1][1], ZeroDivisionError)


def test_a_killed_worker_costs_no_task(tmp_path):
    # Nested, so that it travels by value: workers need not find the tests.
    def task(number, folder):
        import os
        import pathlib
        import signal

        died = pathlib.Path(folder) / f"died_{number}"
        if number == 1 and not died.exists():
            died.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3:
            raise ValueError("three")
        return number, os.getpid()

    with make_executor("dask", "workers=2") as execute:
        outcomes = dict(execute(task, [(number, str(tmp_path)) for number in range(5)]))
    assert (tmp_path / "died_1").exists()
    assert [outcomes[number][0] for number in (0, 1, 4)] == [0, 1, 4]
    assert os.getpid() not in {outcomes[number][1] for number in (0, 1, 4)}
    assert "its worker died 3 times while it ran alone" in str(outcomes[2])
    assert isinstance(outcomes[3], ValueError)


def test_a_task_that_shares_the_worker_of_a_killer_is_not_blamed():
    from distributed import Client

    def task(number):
        import os
        import signal

        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    # Two at a time on one worker, as while the other one starts anew.
    with executors._cluster("dask", {"workers": "1"}) as cluster, Client(cluster, set_as_default=False) as client:
        outcomes = dict(executors._as_completed(client, 2, task, [(number,) for number in range(3)]))
    assert "its worker died 3 times while it ran alone" in str(outcomes.pop(0))
    assert outcomes == {1: 1, 2: 2}


HEADS = {
    "slurm": ["#SBATCH -p short", "#SBATCH -A lab", "#SBATCH --cpus-per-task=3", "#SBATCH -t 02:00:00"],
    "sge": ["#$ -q short", "#$ -P lab", "#$ -l h_rt=02:00:00"],
    "pbs": ["#PBS -q short", "#PBS -A lab", "#PBS -l select=1:ncpus=3:mem=3815MB", "#PBS -l walltime=02:00:00"],
}


@pytest.mark.parametrize("name", HEADS)
def test_job_scripts_ask_for_what_the_options_say(name):
    text = "queue=short,account=lab,cores=3,memory=4GB,walltime=02:00:00,directive=--gres=gpu:1"
    with batch_cluster(name, read_options(name, text)) as cluster:
        script = cluster.job_script()
    for line in HEADS[name]:
        assert line in script
    assert "--gres=gpu:1" in script and f"cd {os.getcwd()}" in script and f"PYTHONPATH={os.getcwd()}" in script
    # Of two options the last counts: one task at a time, which uses all cores of the job.
    assert sys.executable in script and script.rstrip().endswith("--nthreads 1")


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="a real Slurm is installed here")
def test_jobs_of_a_batch_system_do_the_tasks(tmp_path, monkeypatch):
    """A stand-in for Slurm's commands that starts each job script on this machine."""
    submit = f"""\
        #!/bin/bash
        # The script is removed as soon as it is submitted; a batch system keeps a copy.
        cp "${{@: -1}}" {tmp_path}/job_$$.sh
        setsid bash {tmp_path}/job_$$.sh >{tmp_path}/job_$$.log 2>&1 &
        echo $! >>{tmp_path}/pids
        echo "Submitted batch job $!"
        """
    cancel = '#!/bin/bash\nkill -- "-$1" 2>/dev/null\n'
    for command, text in {"sbatch": textwrap.dedent(submit), "scancel": cancel}.items():
        path = tmp_path / command
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(tmp_path)
    with make_executor("slurm", "jobs=2,cores=1,memory=500MB") as execute:
        outcomes = dict(execute(lambda number: number**2, [(number,) for number in range(4)]))
    assert outcomes == {0: 0, 1: 1, 2: 4, 3: 9}
    assert (tmp_path / "pids").read_text().strip()

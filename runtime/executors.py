"""Where the tasks of a sweep run: one after another in this process, on local worker processes, or as cluster jobs.

    with make_executor("dask", "workers=2") as execute:
        for index, outcome in execute(function, [arguments, …]):
            …                                     # a result, or the exception that ended the task

Tasks come back as they end. A task whose worker dies is given to another one. Which of the tasks on a worker killed it
cannot be told, so one that saw more than `DEATHS` deaths is set aside and tried again alone, after the others; what
kills its worker even then comes back as an exception. `slurm`, `sge` and `pbs` submit worker jobs through
dask-jobqueue and need the batch system's own commands on the path; everything after the executor's name is described
in `OPTIONS`.

Function, arguments and results are sent between processes, so the function must be one of a module and a task must
leave what it computes in files.
"""

import importlib
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from runtime.errors import ConfigError, RunError, did_you_mean

DEATHS = 2
LOST = object()
DEFAULT_JOBS = 4
RESTART_SECONDS = 20
# Options of each executor with what they mean; the batch systems take all of `_JOB`.
_JOB = {
    "jobs": "jobs to submit (default 4)",
    "cores": "processor cores a job (default 2)",
    "memory": "memory a job (default 8GB)",
    "walltime": "longest time of a job (default 24:00:00)",
    "queue": "queue or partition (default: the system's)",
    "account": "project to charge, where the system asks for one",
    "directive": "one more line of the job's head, such as --gres=gpu:1",
}
OPTIONS = {
    "local": {},
    "dask": {"workers": "worker processes (default: one for every two cores)"},
    "slurm": _JOB,
    "sge": _JOB,
    "pbs": _JOB,
}
CLUSTERS = {"slurm": "SLURMCluster", "sge": "SGECluster", "pbs": "PBSCluster"}

Execute = Callable[[Callable, Sequence[tuple]], Iterator[tuple[int, Any]]]


def read_options(name: str, text: str = "") -> dict[str, str]:
    """Returns the options `key=value,key=value` of an executor; raises a ConfigError for one it has not."""
    if name not in OPTIONS:
        raise ConfigError(f"--executor={name}: there is no such executor{did_you_mean(name, OPTIONS)}")
    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if key not in OPTIONS[name]:
            raise ConfigError(f"--executor-options: {name} has no option '{key}'{did_you_mean(key, OPTIONS[name])}")
        if not equals or not value:
            raise ConfigError(f"--executor-options: '{part}' gives no value; write {key}=VALUE")
        if key in ("workers", "jobs", "cores") and not (value.isdigit() and int(value)):
            raise ConfigError(f"--executor-options: {key}={value} must be a whole number of at least 1")
        options[key] = value
    return options


@contextmanager
def make_executor(name: str = "local", options: str = "") -> Iterator[Execute]:
    """Yields execute(function, tasks) -> iterator of (index of the task, its result or exception).

    Args:
        name: local, dask, slurm, sge or pbs.
        options: `key=value,key=value`, see `OPTIONS`.

    Raises:
        ConfigError: no such executor or option. RunError: the batch system is not there.
    """
    chosen = read_options(name, options)
    if name == "local":
        yield _one_after_another
        return
    with _cluster(name, chosen) as cluster:
        # Importing dask takes a second that only those who use it should pay.
        from distributed import Client

        with Client(cluster, set_as_default=False) as client:
            places = len(cluster.workers) if name == "dask" else int(chosen.get("jobs", DEFAULT_JOBS))
            yield lambda function, tasks: _as_completed(client, places, function, tasks)
            if name == "dask":
                # A worker that a task has killed starts anew, and dask cannot close it before it has.
                with suppress(TimeoutError):
                    client.wait_for_workers(places, timeout=RESTART_SECONDS)


def _one_after_another(function, tasks):
    for index, arguments in enumerate(tasks):
        try:
            yield index, function(*arguments)
        except Exception as error:
            yield index, error


def _as_completed(client, places, function, tasks):
    from distributed import as_completed

    # No more tasks than workers are handed out: one that waits on a worker is blamed for its death. While a worker
    # starts anew, two may still share the other one, hence the suspects.
    waiting, task_of, suspects = iter(enumerate(tasks)), {}, []

    def submit(some):
        futures = []
        for index, arguments in some:
            futures.append(client.submit(function, *arguments, pure=False))
            task_of[futures[-1].key] = index, arguments
        return futures

    running = as_completed(submit(itertools.islice(waiting, places)), loop=client.loop)
    for future in running:
        task = task_of[future.key]
        outcome = _outcome(future)
        if outcome is LOST:
            running.update(submit([task]))
            continue
        running.update(submit(itertools.islice(waiting, 1)))
        if _killed(outcome):
            suspects.append(task)
        else:
            yield task[0], outcome
    for task in suspects:
        outcome = LOST
        while outcome is LOST:
            outcome = _outcome(submit([task])[0])
        if _killed(outcome):
            outcome = RunError(f"its worker died {DEATHS + 1} times while it ran alone: killed, or out of memory")
        yield task[0], outcome


def _outcome(future):
    """The result of a task, the exception that ended it, or LOST: done, but its worker died before handing it over."""
    error = future.exception()
    if error is not None:
        return error
    try:
        return future.result()
    except Exception:
        return LOST


def _killed(outcome):
    return type(outcome).__name__ == "KilledWorker"


@contextmanager
def _cluster(name, options):
    from distributed import LocalCluster

    if name == "dask":
        workers = int(options.get("workers", max((os.cpu_count() or 2) // 2, 1)))
        # One thread each: a task takes the whole worker. Memory is the operating system's affair.
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None,
            silence_logs=logging.CRITICAL, scheduler_kwargs={"allowed_failures": DEATHS},
        )  # fmt: skip
    else:
        cluster = batch_cluster(name, options)
        cluster.scale(jobs=int(options.get("jobs", DEFAULT_JOBS)))
    with cluster:
        yield cluster


def batch_cluster(name: str, options: dict[str, str]):
    """Returns the dask-jobqueue cluster of a batch system, without jobs yet; `job_script()` shows what it submits."""
    jobqueue = importlib.import_module("dask_jobqueue")
    settings: dict[str, Any] = {
        "cores": int(options.get("cores", 2)),
        "processes": 1,
        "memory": options.get("memory", "8GB"),
        "walltime": options.get("walltime", "24:00:00"),
        "python": sys.executable,
        # A worker imports the project from the folder that the sweep was started in.
        "job_script_prologue": [f"cd {os.getcwd()}", f"export PYTHONPATH={os.getcwd()}:$PYTHONPATH"],
        "worker_extra_args": ["--nthreads", "1"],
        "scheduler_options": {"dashboard_address": None, "allowed_failures": DEATHS},
        "log_directory": "runs/.jobs",
    }
    if "queue" in options:
        settings["queue"] = options["queue"]
    if "account" in options:
        settings["project" if name == "sge" else "account"] = options["account"]
    if "directive" in options:
        settings["job_extra_directives"] = [options["directive"]]
    return getattr(jobqueue, CLUSTERS[name])(**settings)

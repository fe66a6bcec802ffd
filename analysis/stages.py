"""The stages that read run folders, as `launch.py` calls them; see `nrf.stages`."""

from __future__ import annotations


def analyse(config, workdir, flags) -> None:
    """Analyse the recordings and write the report."""
    from analysis.pipeline import analyse as run

    print(f"report in {run(config, workdir)}")


def report_again(config, workdir, flags) -> None:
    """Draw the report of an analysed run again."""
    from analysis.pipeline import draw_report as run

    print(f"report in {run(config, workdir)}")


def report(config, workdir, flags) -> None:
    """Tables, figures and a page of fitted models."""
    from analysis.fits.runs import write_report

    print(write_report(workdir))


def show(config, workdir, flags) -> None:
    """Figures and a page of a leaderboard."""
    from analysis.fits.leaderboard import write_page

    print(write_page(workdir))


def show_variability(config, workdir, flags) -> None:
    """Figure and page of how samples of fields vary beside neurons."""
    from analysis.fits.variability import write_page

    print(write_page(workdir))


def figures(config, workdir, flags) -> None:
    """Figures of runs of several folders."""
    from analysis.fits.comparison import draw_all

    print(draw_all(config, workdir))


def study(config, workdir, flags) -> None:
    """What the recorded fields of a sweep say of its factors."""
    from analysis.study.tables import write_study as run

    print("the study is in", *run(workdir), sep="\n  ")


def idle_figures(config, stages):
    """The fields that do nothing for figures of several runs, see `runtime.idle`."""
    from runtime.idle import Idle

    idle = Idle()
    drawn = any(figure.curves for figure in config.figures.values())
    idle.unless(drawn, "no figure has curves of the suite, only those of config.runs", "root", "suffix")
    return idle

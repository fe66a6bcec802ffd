"""Figures across experiments: the published ones, from the run folders of the suite, and figures of one's own.

    python launch.py --config=configs/v1/figures.py --config.root=runs
    python launch.py --config=configs/v1/figures.py --config.root=runs --config.suffix=-ndn3
    python launch.py --config=configs/v1/figures.py:own --config.runs=runs/bl4,runs/bl2 --workdir=runs/bl4_and_bl2

The first draws every published figure whose experiments are finished in `runs/`, under the names that launch.py gives
their folders (`runs/exp_1_3_3`); `suffix` chooses those of a preset.  The last draws the runs of any folders together,
sweeps with all their runs.  Line and bars are the 50th, 90th and 10th percentile over seeds;
`--config.percentiles=75,95,5,25` gives the scripts' other mode, with a second bar.
"""

from ml_collections import ConfigDict

from runtime.config import select_preset
from runtime.fields import optional

# Constant lines: HSM of Antolík et al. (2016) for regions 1, 2 and 3; rLN; what/where of Klindt et al. (2017).
HSM = {
    1: ("HSM", (0.4789, 0.5012, 0.4428)),
    2: ("HSM", (0.4120, 0.4349, 0.3824)),
    3: ("HSM", (0.4377, 0.4488, 0.4186)),
}
RLN, WHAT_WHERE = ("rLN", (0.31,)), ("what/where", (0.55,))
MODELS = ("bl2", "bl4", "bs4_exp5", "bs4_exp10", "bs4_exp1")


def get_config(preset: str = "published") -> ConfigDict:
    """Presets: published and own."""
    config = ConfigDict()
    config.package = "figures"
    config.root = "runs"  # folder of the experiments' folders
    config.suffix = ""  # of these folders' names, such as -ndn3
    config.percentiles = (50, 90, 10)  # over seeds: line, upper and lower end of the bars, perhaps a second bar's end
    config.runs = ()  # folders of runs or sweeps of one's own, drawn into every figure
    config.figures = ConfigDict()
    config.lock()  # a field that is not there is an error where a config sets it
    config.figures.unlock()
    select_preset(preset, {"published": published, "own": own})(config)
    return config


def figure(title: str, *curves: tuple, after: int = 300, until: int | None = 5000, **options) -> ConfigDict:
    """One figure: curves (label, folder, run, seeds), epochs from after to until, constant lines, normalized axis."""
    fields = ConfigDict({"title": title, "curves": curves, "after": after, "lines": (), "normalized": False})
    fields.until = optional(int)
    fields.until = until
    fields.update(options)
    return fields


def defaults(config: ConfigDict) -> list[ConfigDict]:
    """Configs whose values nobody chose in a file of his own: the presets, with figures of the same names."""
    made = [get_config(preset) for preset in ("published", "own")]
    for each in made:
        each.figures = ConfigDict({name: figure("") for name in config.figures})
    return made


def base(number: int, seeds: int | None = 10) -> tuple:
    """The curve of a baseline; beside experiments its first 10 seeds."""
    return f"B{number}", f"bl{number}", None, seeds


def runs(experiment: str, numbers: tuple, name: str | None = None) -> tuple:
    """Curves of some runs of an experiment, 2.2.1 for example."""
    folder = "exp_" + experiment.replace(".", "_")
    return tuple((f"{name or experiment} run {number}", folder, number, None) for number in numbers)


def own(config: ConfigDict) -> None:
    """The runs of `config.runs` in one figure; all epochs."""
    config.figures.own = figure("runs beside one another", after=0, until=None)


def published(config: ConfigDict) -> None:
    """The figures of the thesis."""
    short = ("B4, 5000 epochs", "bs4", None, 10)
    config.figures = ConfigDict(
        {
            "04_runs_number": figure(
                "Number of seeds", ("50 seeds", "bl1", None, 50), ("25 seeds", "bl1", None, 25), until=None
            ),
            "05_1_1_1": figure("Baseline 1", base(1, None), lines=(HSM[1],), until=None),
            "1_2_1_2": figure("Baselines 1 and 2", base(1, 25), base(2, 25), lines=(HSM[1],), until=None),
            "1_2_5": figure("Baselines 2 and 3", base(2, 25), base(3, 25), until=None),
            "1_5_1": figure("Baselines", *(base(n, 25) for n in (1, 2, 3, 4)), lines=(HSM[1],), until=None),
            "1_2_1": figure("Scaled inputs and responses", base(1), *runs("1.2.1", (21, 22))),
            "1_2_2": figure(
                "Biases and noise", base(2), ("random biases", "exp_1_2_3", None, None),
                ("Gaussian noise", "exp_1_2_2", None, None),
            ),
            "1_2_4": figure("Learning rates", base(2), *runs("1.2.4", tuple(range(5)))),
            "1_2_6": figure(
                "Batches of 2, 64, 512 and 1800", base(3), *runs("1.2.6", (0, 4, 6, 8)),
                after=1000, until=None, normalized=True,
            ),
            "1_3_1": figure("Dropout", base(3), *runs("1.3.1", (1, 5, 7, 11, 13, 17))),
            "1_3_2": figure("Penalties", base(3), *runs("1.3.2", (0, 5, 15, 23, 27))),
            "1_3_3": figure("l2 of both layers", base(3), *runs("1.3.3", (2, 6, 22)), until=None),
            "1_3_4": figure("Rectified Gaussian units", base(3), ("1.3.4", "exp_1_3_4", None, None)),
            "1_4_1": figure("A learned scale", base(3), *runs("1.4.1", (0, 1, 2, 4, 5))),
            "2_1_1": figure("LNLN", short, base(2), *runs("2.1.1", (12, 18, 10))),
            "2_1_2": figure("LN", short, *runs("2.1.2", (5, 0, 11)), lines=(RLN,)),
            "2_2_1": figure("Convolution, dense", short, *runs("2.2.1", (180, 174, 210, 216, 228)), after=10),
            "2_2_2": figure("Convolution, separable", short, *runs("2.2.2", (61, 13, 64)), after=10),
            "2_2_3": figure("Convolved differences of Gaussians", short, *runs("2.2.3", (152, 15, 3, 202))),
            "2_2_4": figure(
                "Without rectification", short, *runs("2.2.4", (305, 202)), *runs("2.2.3", (15, 152))
            ),
            "2_2_5": figure(
                "What and where", short, *runs("2.2.5", (125,)), *runs("2.2.2", (61,)), *runs("2.1.1", (12,)),
                lines=(WHAT_WHERE,),
            ),
            "3_1_1_1": figure(
                "Three regions", ("pooled (run 25)", "exp_3_1_1", 25, None),
                ("fitted apart (runs 0, 3, 6)", "exp_3_1_1", (0, 3, 6), None),
            ),
            "3_1_1_2": figure(
                "Regions 1 and 2", ("pooled (run 22)", "exp_3_1_1", 22, None),
                ("fitted apart (runs 0, 3)", "exp_3_1_1", (0, 3), None),
            ),
            **{
                f"3_2_1_{region}": figure(
                    f"Architectures, region {region}",
                    *((name, "exp_3_2_1", 3 * index + region - 1, None) for index, name in enumerate(MODELS)),
                    lines=(HSM[region],), until=None,
                )
                for region in (1, 2, 3)
            },
        }
    )  # fmt: skip

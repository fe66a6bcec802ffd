"""The report of an analysed run: made from files alone, complete, self-contained, and open about what is missing."""

import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from analysis.pages import short
from analysis.report import verdicts
from analysis.report.build import flags, write_report
from analysis.report.sections import CAPTIONS, SECTIONS
from runtime.config import flatten, load_config
from runtime.errors import ConfigError
from tests.analysis import fabricated
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A fabricated run with its report."""
    folder = fabricated.fabricate(
        tmp_path_factory.mktemp("runs") / "made <up>", channels=3, size=8, contrasts=4, names=("just_angle",)
    )
    write_report(folder, fabricated.LAYER)
    return folder


class Page(HTMLParser):
    """Collects what a page refers to and whether its tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.sources, self.open, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.sources += [values["src"]] if "src" in values else []
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def text_of(folder):
    return (folder / "report.html").read_text()


def words(text):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r'src="[^"]*"', "", text))))


def test_page_is_whole_and_needs_nothing_else(run):
    text = text_of(run)
    page = Page(text)
    assert page.open == []
    assert all(source.startswith(("data:image/png;base64,", "data:image/gif;base64,")) for source in page.sources)
    assert not re.search(r"https?://|<script|@import|url\(", text.split("</style>")[0])
    local = [link for link in page.links if not link.startswith("#")]
    assert local and all((run / link).is_file() for link in local)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "made &lt;up&gt;" in text and "made <up>" not in text


def test_every_figure_is_there_with_its_caption(run):
    figures = sorted(path.stem for path in (run / "analysis/layer1/figures").glob("*.png"))
    assert {path.stem for path in (run / "analysis/layer1/figures").glob("*.svg")} == set(figures)
    text = text_of(run)
    assert text.count("data:image/png") == len(figures) and text.count("data:image/gif") == 2
    assert text.count("<figcaption>") == len(figures) + 2
    said = words(text)
    # The first words of every caption, up to what is filled in.
    assert all(caption.split("{")[0][:60] in said for caption, _ in CAPTIONS.values())
    assert not re.search(r"\{[a-z]+\}", said.split("How to do it again")[0])


def test_three_sentences_and_the_table_stand_first(run):
    text, said = text_of(run), words(text_of(run))
    headings = [html.unescape(h) for h in re.findall(r"<h2>(.*?)</h2>", text)]
    assert headings[:2] == ["Why", "What could not be tested or shown"] and "Physiology to compare with" in headings
    assert [h for h in headings if h in {section.title for section in SECTIONS}] == [s.title for s in SECTIONS]
    lead = text.split('<div id="lead">')[1].split("</div>")[0]
    assert lead.count("<p>") == 3 and text.index('id="lead"') < text.index('class="verdicts"') < text.index("<nav>")
    assert "5 effects known from cortex: present 2 (resonance rises, overshoot grows); absent 1" in said
    for word, count in (("present", 2 + 1), ("absent", 1), ("undecided", 1 + 1), ("not", 1)):
        assert text.count(f'class="v v-{word}"') == count, word
    assert "no stimulus was shown twice" in said and "pass" not in lead and "fail" not in lead
    assert "17 steps = 70 ms" in said and "trained for 300 updates" in said and "level 'analysis'" in said
    assert "20 [19, 21] Hz" in said and "p = 0.004" in said  # the paired difference from the control


def test_what_the_sentences_say_of_controls_and_of_the_known_system():
    rows = fabricated.checks()
    found = verdicts.sentences("Layer 1", rows)
    assert found[1] == "It differs from its controls in resonance rises (langevin: 20 [19, 21] Hz)."
    assert found[2].endswith("find 1 of 2 effects: resonance rises.")
    rows[0]["controls"]["langevin"]["difference"]["corrected"] = 0.4
    assert "nothing that 1 paired differences could show" in verdicts.sentences("", rows)[1]
    alone = verdicts.sentences("Layer 1", [fabricated.check_row("lag", 3.0, "present")])
    assert "1 effect known" in alone[0] and "No control was recorded" in alone[1]
    assert "No system with known answers" in alone[2]
    assert "left no verdicts" in verdicts.sentences("Layer 1", [])[0]


def test_why_sets_predictions_beside_what_was_measured(run):
    said = words(text_of(run).split("<h2>Why</h2>")[1].split("</section>")[0])
    assert "its highest from 1 to 4" in said  # curvature
    assert "Resonance rises: present. Resonance (Hz): the curvature predicts 19.4 at contrast 0.4" in said
    assert "Overshoot grows: present." in said and "Variability is quenched: not tested." in said


def test_references_say_what_was_confirmed(run):
    said = words(text_of(run))
    for reference in verdicts.REFERENCES:
        status = "confirmed in the abstract" if reference.confirmed else "not confirmed"
        assert f"{reference.source} {reference.finding} {status}" in said
    assert "Echeveste et al. 2020" in said and "1 to 6 ms" not in said


def test_text_of_results_is_escaped(tmp_path):
    run = fabricated.fabricate(tmp_path / "run", channels=1, size=5, contrasts=1, names=("just_angle",))
    control = {"c&d": fabricated.check_row("", 1.0, "absent")}
    rows = [fabricated.check_row("a<b>", 1.0, "present", reason="<script>", **control)]
    for path in (run / "analysis" / "layer1").glob("*.npz"):
        path.unlink()
    (run / "analysis" / "layer1" / "checks.json").write_text(json.dumps(rows))
    write_report(run, 1)
    text = text_of(run)
    assert "<script>" not in text and "a&lt;b&gt;" in text and "c&amp;d" in text and "&lt;script&gt;" in text


def test_what_is_missing_is_said_with_the_reason(tmp_path):
    run = fabricated.fabricate(tmp_path / "run", channels=2, size=6, contrasts=4, names=("just_angle",))
    folder = run / "analysis" / "layer1"
    for path in folder.glob("*.npz"):
        if path.stem not in ("oscillations", "lag"):
            path.unlink()
    (folder / "lag.npz").write_bytes(b"torn")
    (run / "diagnostics.json").unlink()
    for path in (folder / "checks.json", folder / "measured.json", run / "predictions.json"):
        path.unlink()
    about = json.loads((folder / "about.json").read_text())
    about["skipped"] = {"spectra": "its stimulus is shorter than 16 steps"}
    (folder / "about.json").write_text(json.dumps(about))
    write_report(run, 1)
    said = words(text_of(run))
    listed = words(text_of(run).split("shown</h2>")[1].split("<h2>")[0])
    assert "its stimulus is shorter than 16 steps" in listed and "activity just angle the step was not run" in listed
    assert "lag.npz cannot be read" in said and "no diagnostics.json" in said and "left no verdicts" in said
    assert said.count("Not shown:") == len(SECTIONS) - 1 + 3  # all but one; activity, movie and diagnostics
    assert [path.stem for path in (folder / "figures").glob("*.png")] == ["frequency_power"]


@pytest.mark.slow
def test_one_channel_and_one_contrast_are_reported(tmp_path):
    run = fabricated.fabricate(tmp_path / "run", channels=1, size=5, contrasts=1, names=("contrast_and_angle",))
    write_report(run, 1)
    said = words(text_of(run))
    assert "the layer has one channel, so that there are no pairs" in said and "1 channel of 5×5" in said
    assert Page(text_of(run)).open == []


def test_a_layer_that_was_not_analysed_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no analysis of layer 3; run the stage 'analyse'"):
        write_report(tmp_path, 3)


def test_flags_of_the_report_give_the_config_back():
    path = REPOSITORY / "configs" / "nrflv.py"
    config = load_config(f"{path}:thesis", ["seed=7", "sampler.sghmc.temperature=0.1,0.2,0.3"])
    flat = flatten(json.loads(json.dumps(config.to_dict())))
    again = load_config(f"{path}", flags(flat))
    assert flatten(json.loads(json.dumps(again.to_dict()))) == flat


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.123"), (-2, "−2"), (None, "–"), (np.nan, "–"), (1e-7, "1e−07"), (12345.6, "12,346")],
)
def test_numbers_are_short(value, text):
    assert short(value) == text

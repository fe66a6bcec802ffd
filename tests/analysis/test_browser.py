"""The report in a real browser: every picture is decoded and nothing runs out of the page, wide or narrow."""

import html
import json
import re
import shutil
import subprocess

import pytest

from analysis.report.build import write_report
from tests.analysis import fabricated

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Runs in the page: what was laid out where, in screen pixels, goes into an attribute that is then read.
MEASURE = """
<script>addEventListener("load", () => {
  const box = element => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] }
  const all = query => [...document.querySelectorAll(query)]
  const page = document.documentElement
  page.dataset.layout = JSON.stringify({
    width: innerWidth, needed: page.scrollWidth,
    images: all("img").map(i => [i.complete && i.naturalWidth > 0, ...box(i), i.alt]),
    captions: all("figcaption").map(box), figures: all("figure").map(box),
    order: ["h1", "#lead", "table.verdicts", "nav", "section"].map(q => box(document.querySelector(q))),
    blocks: all("section").map(box), badges: all(".v").map(b => [...box(b), ...box(b.closest("td"))]),
    text: all("p, figcaption, td, th, li").filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText),
  })
})</script></body>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = fabricated.fabricate(tmp_path_factory.mktemp("seen") / "run", channels=5, size=8, contrasts=5)
    write_report(folder, fabricated.LAYER)
    return folder


def laid_out(page, folder, width: int) -> dict:
    """What the browser made of a page at a width."""
    copy = folder / "measured.html"
    copy.write_text(page.replace("</body>", MEASURE))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--allow-file-access-from-files", f"--window-size={width},1200", "--virtual-time-budget=20000"]
    done = subprocess.run([*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=300)
    found = re.search(r'data-layout="([^"]*)"', done.stdout)
    assert found, f"the page was not laid out: {done.stderr[-500:]}"
    return json.loads(html.unescape(found[1]))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1200, 520])
def test_report_is_laid_out_well_in_a_browser(run, tmp_path, width):
    page = (run / "report.html").read_text()
    found = laid_out(page, tmp_path, width)
    assert found["width"] == width and found["needed"] <= width  # no scrolling sideways
    figures = sorted((run / "analysis/layer1/figures").glob("*.png"))
    assert len(found["images"]) == len(figures) + 2 > 20  # and two movies
    for there, left, top, right, bottom, alt in found["images"]:
        assert there, f"{alt} is not a picture"
        assert left >= 0 and right <= width and right - left > 150 and bottom - top > 40, alt
    for figure, caption in zip(found["figures"], found["captions"], strict=True):
        assert figure[1] <= caption[1] < caption[3] <= figure[3] + 1  # below its picture, inside its figure
    tops = [box[1] for box in found["order"]]
    assert tops == sorted(tops)  # title, sentences, table, contents, sections
    for (*_, end), (_, start, *_) in zip(found["blocks"], found["blocks"][1:], strict=False):
        assert end <= start + 1  # sections do not overlap
    for left, top, right, bottom, *cell in found["badges"]:
        assert cell[0] <= left and right <= cell[2] and cell[1] <= top and bottom <= cell[3]
    assert found["text"] == []  # no text runs out of its box


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
def test_a_torn_picture_and_a_wide_block_are_noticed(tmp_path):
    page = '<html><body><h1>a</h1><p id="lead">b</p><table class="verdicts"></table><nav></nav><section>'
    page += '<img src="data:image/png;base64,AAAA" alt="torn"><div style="width:3000px">c</div></section></body></html>'
    found = laid_out(page, tmp_path, 800)
    assert found["needed"] > 2900 and not found["images"][0][0]

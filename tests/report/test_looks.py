"""The report shows what the trainings saw, where the stages before it left that."""

from html import unescape
from pathlib import Path

from stages.report.looks import render_looks


def test_pages_stand_in_frames_of_their_own_and_counts_in_words(tmp_path: Path) -> None:
    assert render_looks(tmp_path) == ""
    for name in ("prepared", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "look.html").write_text(f'<p class="{name}">&amp;</p>')
    section = render_looks(tmp_path)
    assert section.count("<iframe") == 2
    assert 'srcdoc="&lt;p class=&#34;masks&#34;&gt;&amp;amp;&lt;/p&gt;"' in section
    assert '<p class="prepared">&amp;</p>' in unescape(section)
    counts = {"files": 12345, "kept": 9, "converted": 8, "duplicates": 7, "rejected": 6}
    counts |= {f"{what}_{split}": 3 for what in ("tiles", "photos") for split in ("train", "val", "test")}
    (tmp_path / "data/prepared/summary.json").write_text(str(counts).replace("'", '"'))
    words = " ".join(render_looks(tmp_path).split())
    assert (
        "Of 12,345 files 9 were kept as they are, 8 converted, 7 were duplicates and 6 rejected: 3 train tiles" in words
    )

"""What reading a mask takes."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.clone import ROOT


def test_a_picture_of_a_hole_takes_few_bytes_a_pixel(tmp_path: Path) -> None:
    side = 4000
    Image.new("RGB", (side, side)).save(tmp_path / "hole.png")
    program = (
        "import resource, sys; from stages.imaging.user_mask import read_hole; "
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024; "
        "before = peak(); read_hole(sys.argv[1], 'white', 99); print(peak() - before)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "hole.png")]
    taken = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert taken < 9 * side**2

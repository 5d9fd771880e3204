"""A wrong setting of prepare is named, with what is allowed, before anything is read."""

import pytest

from stages.prepare.__main__ import main
from stages.runtime.errors import ParamsError
from tests.factories import write_params


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"short_sides": [15, 40]}, r"`prepare.short_sides` \[15, 40\] should not be below `tile_size` 16"),
        ({"short_sides": []}, "`prepare.short_sides` is .*at least 1 item"),
        ({"val_share": 0.5, "test_share": 0.5}, "leave no photos for training; their sum should be below 1"),
        ({"val_share": 0}, "`prepare.val_share` is 0: Input should be greater than 0"),
        ({"max_megapixels": 500}, "`prepare.max_megapixels` is 500: Input should be less than or equal to 178"),
        ({"near_duplicate_bits": 64}, "`prepare.near_duplicate_bits` is 64"),
        ({"max_tiles_per_photo": 0}, "`prepare.max_tiles_per_photo` is 0"),
        ({"photos": ""}, "`prepare.photos` is ''"),
        ({"photos": "absent"}, "`prepare.photos` in params.yaml is 'absent', which does not exist"),
        ({"tile_size": 4}, "`tile_size` is 4"),
        ({"seed": -1}, "`seed` is -1"),
        ({"shot_sides": [20]}, "`prepare.shot_sides` is not a known key; did you mean `short_sides`?"),
    ],
)
def test_wrong_params_are_named(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    write_params(**change)
    with pytest.raises(ParamsError, match=message):
        main()

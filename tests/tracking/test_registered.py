from pathlib import Path

import numpy as np
import pytest
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.errors import UserError
from mnist12k.predict import load_model
from mnist12k.tracking.publish import publish

pytestmark = pytest.mark.slow


def test_the_champion_answers_as_the_file_does_and_others_are_one_line(
    tmp_path: Path, idx_folder: Path
) -> None:
    make_workspace(tmp_path, idx_folder)
    images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    with inside(tmp_path):
        publish(train_and_evaluate())
        champion = load_model("models:/mnist12k-cnn@champion")(images)
        assert np.abs(champion - load_model(Path("models/cnn.pt"))(images)).max() < 1e-4
        for address in ("models:/mnist12k-cnn@nobody", "models:/", "models:/other/1"):
            with pytest.raises(UserError, match="tracking failed") as raised:
                load_model(address)
            assert "\n" not in str(raised.value)

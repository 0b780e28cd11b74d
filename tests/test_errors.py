import pytest

from mnist12k.errors import without_passwords


@pytest.mark.parametrize(
    "address",
    [
        "http://ann:SECRET@host:5000/path",
        "postgresql://ann:SECRET@host/db",
        "postgresql+psycogp://ann:SECRET@host/db",
        "postgresql://ann:SEC@RET@host/db",
        "postgresql://host/db?user=ann&password=SECRET&sslmode=require",
        "postgresql://:SECRET@host/db",
        "no server answers at 'http://ann:SECRET@host' (refused)",
        "http://SECRET@host:5000/path",
        "postgresql://ann:SEC/RET@host/db",
        "tune.storage = 'mysql://ann:SECRET...: not allowed, as is host",
        "failed to resolve host 'SECRET@host'",
        "RAY_ADDRESS = 'ann:SECRET@host:1'",
        "host has {'password': 'SECRET'}",
        "aws_access_key=SECRET on host",
    ],
)
def test_a_password_in_an_address_is_replaced(address: str) -> None:
    shown = without_passwords(address)
    assert "SEC" not in shown
    assert "RET" not in shown
    assert "host" in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/path",
        "http://host:5000",
        "http://[::1]:5000/a@b",
        "sqlite:////a/b@c:d/mlflow.db",
        "a: b",
        "models:/mnist12k-cnn@champion: no model",
        "the server rejects this MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_passwords(text) == text

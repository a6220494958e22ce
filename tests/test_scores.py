"""The table of scores, its extremes and its scatter."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from command_line import CommandLine
from sklearn import decomposition

import latentlab
from latentlab.components.scores import Extremes, score_chunks, spread_out
from latentlab.results.scores import write_scores


def rows(n: int = 50, d: int = 30) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(4)) * torch.linspace(3, 0.1, d)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_scores_and_residuals_are_those_of_scikit_learn() -> None:
    matrix = rows()
    pca = latentlab.fit_pca(matrix)
    parts = list(score_chunks(pca, matrix.split(7), 5))
    scores = torch.cat([one for one, _ in parts]).numpy()
    residuals = torch.cat([one for _, one in parts]).numpy()
    theirs = decomposition.PCA(5, svd_solver="full").fit(matrix.double().numpy())
    expected = theirs.transform(matrix.double().numpy())
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), atol=1e-4)
    lost = matrix.double().numpy() - theirs.inverse_transform(expected)
    np.testing.assert_allclose(residuals, np.linalg.norm(lost, axis=1), atol=1e-4)


def test_the_table_is_read_back_by_csv_and_pandas(tmp_path: Path) -> None:
    matrix = rows()
    pca = latentlab.fit_pca(matrix)
    names = [f'dir/a "quoted", {index}.png' for index in range(50)]
    path, factors = tmp_path / "scores.csv", {"rotation": torch.linspace(-3, 3, 50)}
    found = write_scores(
        path, pca, matrix.split(8), iter(names), total=50, first="path", factors=factors
    )
    table = read(path)
    assert [row["path"] for row in table] == names
    components = [f"PC{i}" for i in range(1, 17)]
    assert [*table[0]] == ["path", "text", "rotation", *components, "residual"]
    # Embedding Atlas reads the file with pandas and needs numbers in the columns of --x and --y.
    frame = pandas.read_csv(path)
    assert frame[["PC1", "PC2", "residual", "rotation"]].dtypes.eq(float).all()
    np.testing.assert_allclose(
        frame[[f"PC{i}" for i in range(1, 17)]], pca.transform(matrix)[:, :16], rtol=1e-6, atol=1e-6
    )
    assert found.rows == list(range(50))
    torch.testing.assert_close(found.points, pca.transform(matrix)[:, :2])


@pytest.mark.parametrize("first", ["sample", "path"])
@pytest.mark.parametrize(
    "name", ["0{}", "1e{}", "a/{}.png", "{}", "nan", "", "TRUE", "2024-01-{:02}", "é {}, 'x'.jpg"]
)
def test_latent_scope_finds_a_column_of_words(tmp_path: Path, name: str, first: str) -> None:
    matrix = rows()
    names = [name.format(index % 20 + 1) for index in range(50)]
    path = tmp_path / "scores.csv"
    write_scores(path, latentlab.fit_pca(matrix), [matrix], iter(names), total=50, first=first)
    # Its rules on the table of pandas: dates, words, numbers; words in "text" come first. A number
    # needs an extent, and what it keeps has to fit into JSON.
    frame = pandas.read_csv(path).reset_index(drop=True)
    words = frame["text"].dropna()
    assert len(words) == 50
    assert pandas.api.types.is_string_dtype(words)
    assert not pandas.api.types.is_datetime64_any_dtype(words)
    assert all(given in shown for given, shown in zip(names, words, strict=True))
    for column in frame.columns.drop(["text", first]):
        assert pandas.api.types.is_numeric_dtype(frame[column])
        assert np.isfinite(frame[column].agg(["min", "max"])).all()


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_extremes_are_those_of_a_sort_whatever_the_chunks(chunk: int) -> None:
    scores = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    found = Extremes(2, 4)
    for start in range(0, 50, chunk):
        part = scores[start : start + chunk]
        found.add(part, start, [str(start + row) for row in range(len(part))])
    for component in (0, 1):
        ordered = sorted(range(50), key=lambda row: (float(scores[row, component]), row))
        backwards = sorted(range(50), key=lambda row: (-float(scores[row, component]), row))
        names = found.names()[f"PC {component + 1}"]
        assert names["lowest"] == [str(row) for row in ordered[:4]]
        assert names["highest"] == [str(row) for row in backwards[:4]]


def test_thumbnails_are_spread_over_the_cloud() -> None:
    crowd = torch.cat([torch.randn(500, 2) * 0.01, torch.tensor([[5.0, 0], [0, 5], [-5, -5]])])
    assert {500, 501, 502} <= set(spread_out(crowd, 4))
    assert spread_out(torch.zeros(9, 2), 4) == [0]


def test_pca_of_an_image_keeps_its_scores(cli: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    called = cli("pca", cli.image, "-m", cli.model, "-n", "9", "--out", out, "--json")
    assert {"scores.csv", "scores.png"} <= {Path(file).name for file in called.facts["files"]}
    table = read(out / "scores.csv")
    assert len(table) == 9
    assert {"sample", "rotation", "brightness", "PC1", "residual"} <= {*table[0]}
    shares = called.facts["explained_variance"]
    first = np.array([float(row["PC1"]) for row in table])
    assert first.var(ddof=1) == pytest.approx(shares[0], rel=1e-3)
    assert abs(first.mean()) < 1e-3 * first.std()


@pytest.mark.filterwarnings("default:.*cannot be read in")
def test_pca_of_a_store_names_the_images(cli: CommandLine, tmp_path: Path) -> None:
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    for index, level in enumerate([10, 240, 90, 130, 60]):
        Image.new("RGB", (32, 32), (level, level, level)).save(photos / f"{index}.png")
    store, out = tmp_path / "store", tmp_path / "out"
    assert cli("encode", photos, "--out", store, "-m", "linear").code == 0
    called = cli("pca", store, "--out", out, "--images", photos, "--json")
    table = read(out / "scores.csv")
    assert [row["path"] for row in table] == [f"{index}.png" for index in range(5)]
    # One component: brightness. The darkest and the brightest image are its ends.
    ends = called.facts["extremes"]["PC 1"]
    assert {ends["lowest"][0], ends["highest"][0]} == {"0.png", "1.png"}
    assert {"scores.png", "extremes.png"} <= {Path(file).name for file in called.facts["files"]}
    # The sheet runs from the lowest to the highest: in gray levels, either way.
    with Image.open(out / "extremes.png") as sheet:
        levels = np.asarray(sheet.convert("L"))[100, 200:700:132].astype(int)
    assert (np.diff(levels) >= 0).all() or (np.diff(levels) <= 0).all()
    (tmp_path / "elsewhere").mkdir()
    wrong = cli("pca", store, "--out", out, "--images", tmp_path / "elsewhere")
    assert wrong.code == 0
    assert "cannot be read in" in wrong.err
    assert "--images" in wrong.err
    facts = json.loads((out / "pca.json").read_text())
    assert facts["extremes"] == called.facts["extremes"]

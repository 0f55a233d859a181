"""What the Extensions Index checks before people can find the extension, by its own rules."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from Testing.extension import draw_icon

ROOT = Path(__file__).resolve().parents[2]
NAME = "DenseLandmarks"
ENTRY = ROOT / "Resources" / "ExtensionsIndex" / f"{NAME}.json"
RAW = "https://raw.githubusercontent.com/DenseLandmarks/SlicerDenseLandmarks/main/"
MIB = 1024 * 1024
BUNDLE_LIMIT_MIB, REPOSITORY_LIMIT_MIB = 50, 100

# slicer-extension-catalog-entry-schema-v1.0.2.json of Slicer; no other key is allowed.
REQUIRED = {"$schema", "category", "scm_url"}
TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
# Those of ACCEPTED_EXTENSION_CATEGORIES in the index's scripts/check_description_files.py that an annotation tool may take.
CATEGORIES = {"Active Learning", "Quantification", "Segmentation", "Shape Analysis", "Training"}
LICENCE_FILES = {"LICENSE", "LICENCE", "License.txt", "license.txt", "LICENSE.txt", "COPYING", "COPYING.txt"}


def extension(name: str) -> str:
    """The value of ``EXTENSION_<name>`` as the check of the index finds it: one line, quoted."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    (value,) = re.findall(rf'set\s*\(EXTENSION_{name}\s*"([^"]+)"\)', text)
    assert "\n" not in value
    return str(value)


@pytest.fixture
def citation() -> Any:
    """CITATION.cff, which is YAML."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: the citation cannot be read")
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


# ---- the entry ------------------------------------------------------------------------------------------------------------


def test_the_entry_follows_the_schema() -> None:
    stored = ENTRY.read_bytes()
    assert b"\r" not in stored
    assert stored.endswith(b"}\n")
    entry = json.loads(stored)
    assert set(entry) >= REQUIRED
    assert {key: type(value) for key, value in entry.items()} == {key: TYPES[key] for key in entry}
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["category"] in CATEGORIES
    assert 1 <= entry["tier"] <= 5


def test_the_entry_names_the_repository_as_the_index_wants_it() -> None:
    entry = json.loads(ENTRY.read_text(encoding="utf-8"))
    url = urlsplit(entry["scm_url"])
    assert url.scheme == "https"
    assert Path(url.path).stem == f"Slicer{NAME}"
    assert extension("HOMEPAGE") == entry["scm_url"].removesuffix(".git")
    assert entry["scm_revision"] == "main"


def test_entry_and_cmake_say_the_same() -> None:
    entry = json.loads(ENTRY.read_text(encoding="utf-8"))
    assert entry["build_dependencies"] == extension("DEPENDS").split() == ["PyTorch"]
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"project\s*\(\s*([^\s\)\n\r]+)", text) == [ENTRY.stem] == [NAME]


def test_images_of_which_there_is_a_model_lead_people_to_the_extension() -> None:
    """The rule language is that of rule-engine; comparisons and ``or`` mean there what they mean in Python."""
    rule = json.loads(ENTRY.read_text(encoding="utf-8"))["dicom_support_rule"]
    assert re.fullmatch(r"Modality == '\w+'( or Modality == '\w+')*", rule)
    assert [eval(rule, {"Modality": modality}) for modality in ("CR", "DX", "CT", "MR")] == [True, True, False, False]


# ---- what people see ------------------------------------------------------------------------------------------------------


def test_the_icon_is_where_its_address_says() -> None:
    url = extension("ICONURL")
    assert url.startswith(RAW)
    with Image.open(ROOT / url.removeprefix(RAW)) as icon:
        assert (icon.format, icon.size) == ("PNG", (128, 128))


def test_the_icon_is_the_one_that_its_script_draws() -> None:
    with Image.open(draw_icon.ICON) as stored:
        assert stored.convert("RGBA").tobytes() == draw_icon.draw_icon().tobytes()


def test_every_screenshot_is_where_its_address_says() -> None:
    urls = extension("SCREENSHOTURLS").split()
    assert urls
    for url in urls:
        assert url.startswith(RAW)
        with Image.open(ROOT / url.removeprefix(RAW)) as screenshot:
            assert screenshot.format == "PNG"


@pytest.mark.parametrize("name", ["HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION"])
def test_the_extension_says_what_it_is_and_whose(name: str) -> None:
    value = extension(name)
    assert value
    assert ";" not in value, "CMake would take it for a list"


def test_the_licence_is_the_one_that_is_named(citation: Any) -> None:
    (licence,) = [path for path in ROOT.iterdir() if path.name in LICENCE_FILES]
    text = licence.read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert citation["license"] == "Apache-2.0"


def test_whoever_cites_finds_the_three_papers(citation: Any) -> None:
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": extension("CONTRIBUTORS")}]
    assert citation["repository-code"] == extension("HOMEPAGE")
    first_authors = [(one["authors"][0]["family-names"], one["year"]) for one in citation["references"]]
    assert first_authors == [("Keuth", 2025), ("Payer", 2019), ("Ma", 2020)]
    for reference in citation["references"]:
        assert re.fullmatch(r"10\.\d{4,9}/\S+", reference["doi"])


# ---- size -----------------------------------------------------------------------------------------------------------------


def test_all_bundles_together_are_small() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "Resources" / "Models").rglob("*") if path.is_file()]
    assert 0 < sum(sizes) <= BUNDLE_LIMIT_MIB * MIB


def test_the_repository_is_small() -> None:
    """History and files together, which is more than the clone without history that the index measures.

    Counted by the objects that a clone of this commit brings, each once: the same object often lies in a store more than once
    (in two packs, or loose as well), and a store keeps what no commit holds any more.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("this copy of the tree has no .git: it has no history")
    objects = "\n".join(line.split()[0] for line in git("rev-list", "--objects", "HEAD").splitlines())
    history = sum(map(int, git("cat-file", "--batch-check=%(objectsize:disk)", given=objects).split()))
    files = [ROOT / name for name in git("ls-files", "-z").split("\0") if name]
    checked_out = sum(path.stat().st_size for path in files if path.is_file())
    assert min(history, checked_out) > MIB
    assert history + checked_out <= REPOSITORY_LIMIT_MIB * MIB


def git(*arguments: str, given: str | None = None) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, input=given).stdout

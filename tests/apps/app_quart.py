"""Quart: sessions, templates, its static folder, files with ranges, streams, uploads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from quart import (
    Quart,
    ResponseReturnValue,
    abort,
    flash,
    get_flashed_messages,
    jsonify,
    make_response,
    redirect,
    render_template_string,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

WHEN = 1_760_000_000
PAGE = (
    "<!doctype html><title>{{ title }}</title><p>{{ visits }} visits of {{ name }} {{ told }}</p>"
)


def prepare() -> None:
    public = Path("public")
    public.mkdir()
    (public / "site.css").write_text("body { color: teal }\n" * 100)
    (public / "data.bin").write_bytes(bytes(range(256)) * 1000)
    for file in public.iterdir():
        os.utime(file, (WHEN, WHEN))


app = Quart(__name__, root_path=str(Path.cwd()), static_folder="public", static_url_path="/static")
app.secret_key = "a secret of the tests"


@app.get("/")
async def page() -> ResponseReturnValue:
    session["visits"] = session.get("visits", 0) + 1
    shown = {"title": "Home & more", "visits": session["visits"], "name": request.args.get("name")}
    return await render_template_string(PAGE, **shown, told=get_flashed_messages())


@app.post("/sign-in")
async def sign_in() -> ResponseReturnValue:
    form = await request.form
    if form.get("password") != "right":
        abort(403)
    session["user"] = form["user"]
    await flash("welcome")
    return redirect(url_for("page"), 303)


@app.get("/sign-out")
async def sign_out() -> ResponseReturnValue:
    session.clear()
    answer = await make_response("bye")
    answer.set_cookie("seen", "yes", max_age=60, httponly=True, samesite="Strict")
    answer.delete_cookie("other", path="/me")
    return answer


@app.get("/blocking")
def blocking() -> ResponseReturnValue:
    return f"{request.method} {request.url} {request.args.to_dict(flat=False)}"


@app.post("/upload")
async def upload() -> ResponseReturnValue:
    file = (await request.files)["file"]
    content = file.read()
    told: dict[str, Any] = {"name": file.filename, "type": file.mimetype, "bytes": len(content)}
    told |= {"sum": hashlib.sha256(content).hexdigest(), "note": (await request.form).get("note")}
    return jsonify(told), 201


@app.route("/body", methods=["POST", "PUT"])
async def body() -> ResponseReturnValue:
    seen = hashlib.sha256()
    async for chunk in request.body:
        seen.update(chunk)
    return {"sum": seen.hexdigest(), "method": request.method}


@app.get("/lines")
async def lines() -> ResponseReturnValue:
    @stream_with_context
    async def each() -> AsyncIterator[str]:
        for number in range(50):
            yield f"{number} {request.path}\n"

    return each(), 200, {"Content-Type": "text/plain", "X-Kind": "stream"}


@app.get("/download")
async def download() -> ResponseReturnValue:
    return await send_file(
        "public/data.bin", as_attachment=True, attachment_filename="data.bin", conditional=True
    )


@app.get("/items/<int:number>/")
async def item(number: int) -> ResponseReturnValue:
    return {"number": number, "ü": "é"}


@app.get("/broken")
async def broken() -> ResponseReturnValue:
    raise ZeroDivisionError("broken")


@app.errorhandler(404)
async def not_found(_: Exception) -> ResponseReturnValue:
    return {"error": "not found"}, 404

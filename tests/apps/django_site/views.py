"""Views of both kinds: sync ones, which Django runs in a thread, and async ones."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe


class Contact(forms.Form):
    subject = forms.CharField(max_length=20)
    file = forms.FileField(required=False)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    shown = {"title": "Home & more", "visits": visits, "name": request.GET.get("name")}
    answer = render(request, "home.html", shown)
    answer.set_cookie("seen", "yes", max_age=60, httponly=True, samesite="Strict")
    return answer


@require_POST
def contact(request: HttpRequest) -> HttpResponse:
    form = Contact(request.POST, request.FILES)
    if not form.is_valid():
        return JsonResponse(form.errors, status=400)
    file = form.cleaned_data["file"]
    if file is None:
        messages.success(request, f"thanks for <{form.cleaned_data['subject']}>")
        return redirect("home")
    sum_ = hashlib.sha256()
    for chunk in file.chunks():
        sum_.update(chunk)
    told = {
        "name": file.name,
        "type": file.content_type,
        "bytes": file.size,
        "kind": type(file).__name__,
    }
    return JsonResponse({**told, "sum": sum_.hexdigest()}, status=201)


async def echo(request: HttpRequest) -> HttpResponse:
    told = {
        "method": request.method,
        "path": request.get_full_path(),
        "uri": request.build_absolute_uri(),
        "query": dict(request.GET.lists()),
        "client": request.META["REMOTE_ADDR"],
        "cookies": request.COOKIES,
        "language": request.headers.get("Accept-Language"),
    }
    return JsonResponse(told)


@csrf_exempt
async def body(request: HttpRequest) -> HttpResponse:
    return HttpResponse(hashlib.sha256(request.body).hexdigest(), content_type="text/plain")


async def lines(_: HttpRequest) -> StreamingHttpResponse:
    async def each() -> AsyncIterator[bytes]:
        for number in range(50):
            await asyncio.sleep(0)
            yield b"%d\n" % number

    return StreamingHttpResponse(each(), content_type="text/plain")


def lines_blocking(_: HttpRequest) -> StreamingHttpResponse:
    def each() -> Iterator[str]:
        for number in range(50):
            yield f"{number},ü\n"

    return StreamingHttpResponse(
        each(), headers={"Content-Disposition": "attachment; filename=l.csv"}
    )


def download(_: HttpRequest) -> FileResponse:
    return FileResponse(Path("data.bin").open("rb"), as_attachment=True, filename="dätä.bin")


def missing(_: HttpRequest) -> HttpResponse:
    raise Http404("gone")


def forbidden(_: HttpRequest) -> HttpResponse:
    raise PermissionDenied


async def broken(_: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("broken")


def item(_: HttpRequest, number: int, slug: str) -> HttpResponse:
    return HttpResponse(f"{number} {slug}")

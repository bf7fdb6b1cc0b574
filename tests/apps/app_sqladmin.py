"""sqladmin, behind its own sign-in, mounted in a FastAPI app."""

from __future__ import annotations

from catzilla import Catzilla
from shop_models import Good, Shelf, engine, prepare
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from starlette.requests import Request

__all__ = ["app", "prepare"]

app = Catzilla()


@app.get("/")
def home() -> dict[str, str]:
    return {"admin": "/admin"}


class SignIn(AuthenticationBackend):
    async def login(self, request: Request) -> bool:
        form = await request.form()
        if form["password"] != "right":
            return False
        request.session["user"] = str(form["username"])
        return True

    async def logout(self, request: Request) -> bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> bool:
        return "user" in request.session


class GoodAdmin(ModelView, model=Good):
    column_list = ("id", "name", "price", "shelf")
    column_searchable_list = ("name",)
    column_sortable_list = ("id", "price")
    page_size = 10


class ShelfAdmin(ModelView, model=Shelf):
    column_list = ("id", "name")


admin = Admin(app, engine(), authentication_backend=SignIn("a secret of the tests"))
admin.add_view(GoodAdmin)
admin.add_view(ShelfAdmin)

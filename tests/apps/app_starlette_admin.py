"""starlette-admin, behind its own sign-in, mounted in a Starlette app."""

from __future__ import annotations

from shop_models import Good, Shelf, engine, prepare
from sqlalchemy.orm import sessionmaker
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette_admin.auth import AdminUser, AuthProvider
from starlette_admin.contrib.sqla import Admin, ModelView
from starlette_admin.exceptions import LoginFailed

__all__ = ["app", "prepare"]
SECRET = "a secret of the tests, long enough"


async def home(_: Request) -> Response:
    return PlainTextResponse("home")


class SignIn(AuthProvider):
    async def login(
        self, username: str, password: str, _: bool, request: Request
    ) -> Response | None:
        if password != "right":
            raise LoginFailed("wrong password")
        request.session["user"] = username
        return None

    async def authenticate(self, request: Request) -> AdminUser | None:
        user = request.session.get("user")
        return AdminUser(username=user) if user else None

    async def logout(self, request: Request) -> Response | None:
        request.session.clear()
        return None


app = Starlette(routes=[Route("/", home)])
admin = Admin(
    sessionmaker(engine()),
    title="Shop",
    auth_provider=SignIn(),
    secret_key=SECRET,
    middlewares=[Middleware(SessionMiddleware, secret_key=SECRET)],
)
admin.add_view(ModelView(Good, menu_label="Goods"))
admin.add_view(ModelView(Shelf, menu_label="Shelves"))
admin.mount_to(app)

"""What the two admins for SQLAlchemy administer."""

from __future__ import annotations

from sqlalchemy import Engine, ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase): ...


class Shelf(Base):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    goods: Mapped[list[Good]] = relationship(back_populates="shelf")

    def __str__(self) -> str:
        return str(self.name)


class Good(Base):
    __tablename__ = "goods"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int]  # In cents.
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelves.id"))
    shelf: Mapped[Shelf | None] = relationship(back_populates="goods")


def engine() -> Engine:
    return create_engine("sqlite:///shop.sqlite3", connect_args={"check_same_thread": False})


def prepare() -> None:
    made = engine()
    Base.metadata.create_all(made)
    with Session(made) as session:
        shelves = [Shelf(name=name) for name in ("toys", "naps", "tea")]
        for number in range(30):
            shelves[number % 3].goods.append(Good(name=f"thing <{number}>", price=number * 25))
        session.add_all(shelves)
        session.commit()

import pytest

from demo import books
from demo.books import Book

BOOKS = books.load()
BY_TITLE = {book.title: book for book in BOOKS}


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.title)
def test_a_book_is_of_a_real_size_and_says_where_it_is_from_and_under_which_licence(book: Book) -> None:
    assert 10 <= len(book.chapters) <= 60
    assert all(chapter.title.strip() and chapter.sections for chapter in book.chapters)
    assert all(0 < len(title) <= 255 for chapter in book.chapters for title in (chapter.title, *chapter.sections))
    assert book.source.startswith("https://")
    assert book.licence in {"Apache-2.0", "MIT OR Apache-2.0", "CC-BY-4.0"}
    assert book.attribution


def test_there_are_three_books_with_several_hundred_sections_and_the_longest_comes_first() -> None:
    assert [book.sections for book in BOOKS] == sorted((book.sections for book in BOOKS), reverse=True)
    assert len(BOOKS) == 3
    assert BOOKS[0].sections > 300


def test_a_book_as_changes_makes_each_chapter_before_its_videos() -> None:
    book = BY_TITLE["Rust by Example"]

    changes = books.as_changes(book)

    assert len(changes) == len(book.chapters) + book.sections
    made: set[str] = set()
    for change in changes:
        if change["action"] == "chapter.create":
            made.add(change["tempId"])
        else:
            assert change["chapterId"] in made
    assert changes[1] == {"action": "video.create", "chapterId": "chapter-1", "title": book.chapters[0].sections[0]}

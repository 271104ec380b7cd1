"""A third party's docID scheme of a few lines, and a class that is none."""

from typing import ClassVar

from pydantic import Field

from arrbench.options import BaseOptions
from arrbench_rankers.arr.docids.scheme import DocIdScheme
from arrbench_rankers.arr.docids.spelling import spelt


class BackwardsOptions(BaseOptions):
    words: int = Field(2, ge=1, description="words kept of a title, from its end")


class Backwards(DocIdScheme):
    """The last words of a title, the last one first."""

    Options: ClassVar[type[BaseOptions]] = BackwardsOptions

    def words(self, corpus):
        return [*(d.title for d in corpus), *super().words(corpus)]

    def codes(self, tokenizer, corpus, embed):
        titles = (d.title.split()[::-1][: self.options.words] for d in corpus)
        return spelt(tokenizer, [" ".join(words) for words in titles])


class NoScheme: ...

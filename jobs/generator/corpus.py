"""Documents and queries that do not exist, each determined by the seed and its number or text alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from jobs.event import CLINICAL_AREAS

DOCUMENTS = 20_000
# Head, torso and tail queries as published. With the exponent and the one-off strings below, the first 5,879 carry 21 %
# of the traffic and the first 114,193 carry 51 %: published are 20 % and 50 %.
QUERIES = 692_699
DOCUMENT_EXPONENT = 0.8
QUERY_EXPONENT = 0.7
ONE_OFF_SHARE = 0.13
# Of a session's first query; with what reformulations and one-offs add, queries have 4.4 ± 2.5 terms (published ± 2.4).
QUERY_TERMS, QUERY_TERMS_SIGMA, MAX_QUERY_TERMS = 3.7, 2.3, 12
RESULTS = 20
SLUG_SHARE = 0.14
DOI_SHARE = 0.40
AREA_COUNT_WEIGHTS = (12, 50, 25, 10, 3)  # documents with 0, 1, 2, 3 and 4 areas
FIRST_PAGE_NUMBER = 900_000_000  # in a Url; beyond what these hosts have, so that no link leads to a real page
HOSTS = (("www.ncbi.nlm.nih.gov/pubmed", 80), ("clinicaltrials.gov/ct2/show", 11), ("www.example.org/guideline", 9))
SUBJECTS = (
    "asthma sepsis diabetes hypertension stroke pneumonia anemia migraine eczema psoriasis gout obesity depression "
    "anxiety epilepsy dementia osteoporosis arthritis cancer melanoma leukemia lymphoma hepatitis cirrhosis colitis "
    "appendicitis pancreatitis nephritis cystitis fracture burns glaucoma otitis sinusitis influenza tuberculosis "
    "malaria measles covid endometriosis preeclampsia infertility autism delirium shock arrhythmia"
).split()
ASPECTS = (
    "treatment diagnosis prevention screening prognosis management guideline trial review therapy surgery vaccine "
    "antibiotics steroids rehabilitation imaging biomarkers mortality recurrence complications children adults elderly "
    "pregnancy outpatient hospital primary acute chronic severe recurrent resistant early late randomised"
).split()


@dataclass(frozen=True)
class Document:
    """A document as every click on it shows it; `areas` is the text of ClinicalAreas."""

    document_id: int
    url: str
    title: str
    doi: str
    areas: str


def zipf(rng: random.Random, count: int, exponent: float) -> int:
    """A rank from 0 to count - 1, by the inverse of the continuous Zipf distribution."""
    power = 1 - exponent
    return min(count - 1, int(((count**power - 1) * rng.random() + 1) ** (1 / power)) - 1)


@lru_cache(maxsize=DOCUMENTS)
def document(seed: int, number: int) -> Document:
    """The document of that number."""
    rng = random.Random(f"{seed}:document:{number}")  # noqa: S311 (synthetic data, not secrets)
    areas = rng.sample(CLINICAL_AREAS, rng.choices(range(5), AREA_COUNT_WEIGHTS)[0])
    subject, aspects = rng.choice(SUBJECTS), rng.sample(ASPECTS, 3)
    about = f" in {areas[0].lower()}" if areas else ""
    host = rng.choices([name for name, _ in HOSTS], [weight for _, weight in HOSTS])[0]
    names = [_slug(rng, area) if rng.random() < SLUG_SHARE else area for area in areas]
    return Document(
        document_id=1_000_000 + number * 7,
        url=f"https://{host}/{FIRST_PAGE_NUMBER + number}",
        title=f"{subject.capitalize()} {aspects[0]}{about}: {aspects[1]} and {aspects[2]}",
        doi=f"10.5555/synthetic.{number}" if rng.random() < DOI_SHARE else "",
        areas="".join(f",{name}" for name in names),
    )


def _slug(rng: random.Random, area: str) -> str:
    words = "".join(letter if letter.isalpha() or letter == " " else "" for letter in area.lower())
    return words.replace(" ", rng.choice(["", "_"]))


@lru_cache(maxsize=30_000)
def known_query(seed: int, rank: int) -> tuple[str, ...]:
    """The terms of the query of that rank."""
    rng = random.Random(f"{seed}:query:{rank}")  # noqa: S311
    length = max(1, min(MAX_QUERY_TERMS, round(rng.gauss(QUERY_TERMS, QUERY_TERMS_SIGMA))))
    return (rng.choice(SUBJECTS), *(rng.choice(ASPECTS) for _ in range(length - 1)))


def new_query(rng: random.Random, seed: int) -> tuple[str, ...]:
    """A session's first query: Zipf over the known ones, or a one-off."""
    terms = known_query(seed, zipf(rng, QUERIES, QUERY_EXPONENT))
    return (*terms[: MAX_QUERY_TERMS - 1], f"study{rng.randrange(10**6):06}") if rng.random() < ONE_OFF_SHARE else terms


def reformulated(rng: random.Random, seed: int, terms: tuple[str, ...]) -> tuple[str, ...]:
    """The next query: more specific, more general, parallel, or a new topic."""
    kind = rng.choices(("specialise", "generalise", "parallel", "new"), (40, 15, 25, 20))[0]
    if kind == "new":
        return new_query(rng, seed)
    if kind == "specialise" and len(terms) < MAX_QUERY_TERMS:
        return (*terms, rng.choice(ASPECTS))
    if kind == "generalise" and len(terms) > 1:
        return terms[:-1]
    return (*terms[:-1], rng.choice(ASPECTS))


def typed(rng: random.Random, terms: tuple[str, ...]) -> str:
    """The terms as people type them: mostly plain, now and then with capitals, needless spaces or the raw syntax."""
    style = rng.choices(("plain", "capital", "spaces", "and", "title", "phrase", "since"), (82, 6, 3, 3, 2, 2, 2))[0]
    plain = " ".join(terms)
    forms = {
        "capital": plain.capitalize(),
        "spaces": f" {'  '.join(terms)} ",
        "and": " AND ".join(terms),
        "title": f"title:{plain}",
        "phrase": f'"{plain}"',
        "since": f"({plain}) from:{rng.randint(2005, 2015)}",
    }
    return forms.get(style, plain)


@lru_cache(maxsize=4096)
def results(seed: int, terms: tuple[str, ...]) -> tuple[int, ...]:
    """Numbers of the documents of a query's result page, in rank order."""
    rng = random.Random(f"{seed}:results:{' '.join(terms)}")  # noqa: S311
    found: dict[int, None] = {}
    while len(found) < RESULTS:
        found[zipf(rng, DOCUMENTS, DOCUMENT_EXPONENT)] = None
    return tuple(found)

"""From what samples look like to what explains it."""

from loang.doctor.finding import Finding
from loang.doctor.why import CAUSES, QUESTIONS, answers

TINT = Finding("warning", "samples are tinted", "They are too dark.")
NOISE = Finding("warning", "samples are noisy", "They are noisy.")
TERMINAL = Finding("warning", "terminal", "Some image is left.", "Train with zero SNR.")
SHORT = Finding("note", "too short", "It was short.", "Train longer.")
DEAD = Finding("wrong", "units", "All is zero.", "Start anew.")
FINE = Finding("good", "learning", "It is learning.")


def said(*findings):
    return {answer.question: answer.answer for answer in answers(findings)}


def test_sound_samples_raise_no_question():
    assert said(TERMINAL, SHORT, FINE) == {}


def test_the_gravest_cause_comes_first_and_what_is_good_explains_nothing():
    (answer,) = said(TINT, SHORT, TERMINAL, FINE, DEAD).values()
    assert answer.index("All is zero.") < answer.index("Some image is left.")
    assert answer.index("Train with zero SNR.") < answer.index("It was short.")
    assert "It is learning." not in answer


def test_what_can_not_explain_it_is_left_out():
    (answer,) = said(NOISE, TERMINAL, SHORT).values()
    assert "Some image is left." not in answer
    assert answer == "Most likely this: It was short. Train longer."


def test_a_remedy_is_told_once():
    both = said(NOISE, TINT, DEAD)
    assert sum(answer.count("Start anew.") for answer in both.values()) == 1
    assert all("All is zero." in answer for answer in both.values())


def test_that_nothing_explains_it_is_said():
    (answer,) = said(NOISE, FINE).values()
    assert "Nothing else that was examined" in answer


def test_each_question_has_causes():
    assert set(QUESTIONS) == set(CAUSES)

"""Why samples are as they are: from what was seen in them to what else was found."""

from collections.abc import Sequence

from loang.doctor.finding import WEIGHT, Answer, Finding

QUESTIONS = {
    "samples are noisy": "Why are my samples noise?",
    "samples are blurred": "Why are my samples blurred?",
    "samples are tinted": "Why are my samples too bright, too dark or tinted?",
    "samples are flat": "Why are my samples flat?",
    "samples are harsh": "Why are my samples harsh?",
    "samples are alike": "Why are my samples all the same?",
}
UNFIT = ("units", "learning", "mishaps", "average", "unfinished", "too short")
"""What keeps a network from being good at anything, the gravest first."""
CAUSES = {
    "samples are noisy": (*UNFIT, "worst level", "sampling"),
    "samples are blurred": (*UNFIT, "sampling"),
    "samples are tinted": ("terminal", *UNFIT, "images"),
    "samples are flat": ("terminal", *UNFIT, "sampling"),
    "samples are harsh": (*UNFIT, "worst level", "sampling"),
    "samples are alike": ("terminal", *UNFIT, "by heart", "images"),
}
LEADS = ("Most likely this: ", "And perhaps this: ", "Or this: ")


def answers(findings: Sequence[Finding]) -> tuple[Answer, ...]:
    """An answer to each question that the samples raise; none where they raise none."""
    seen = {finding.topic for finding in findings}
    told: set[Finding] = set()
    return tuple(
        Answer(question, _answer(CAUSES[topic], findings, told))
        for topic, question in QUESTIONS.items()
        if topic in seen
    )


def _answer(causes: Sequence[str], findings: Sequence[Finding], told: set[Finding]) -> str:
    known = [f for f in findings if f.topic in causes and f.verdict != "good"]
    known.sort(key=lambda finding: (WEIGHT[finding.verdict], causes.index(finding.topic)))
    if not known:
        return (
            "Nothing else that was examined explains it. Look at the images themselves, draw with"
            " more --steps, or train longer."
        )
    said = []
    for lead, finding in zip(LEADS, known, strict=False):
        # What was told in full for one question need not be for the next.
        remedy = "" if finding in told else finding.remedy
        said.append(f"{lead}{finding.what} {remedy}".strip())
        told.add(finding)
    return " ".join(said)

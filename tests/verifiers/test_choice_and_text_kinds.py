"""Kinds of mistakes of the choice and text verifiers that public bug reports found, with inputs of our own beside
each."""

from __future__ import annotations

import pytest

from explore_rl.types import Problem, Status
from explore_rl.verifiers import make_verifier

C, W, N = Status.CORRECT, Status.WRONG, Status.NO_ANSWER
DOSES = {"choices": {"A": "5 mg", "B": "10 mg", "C": "20 mg"}}
CELLS = {"choices": ["A nucleus", "A cell wall", "I do not know", "Ribosomes"]}

CHOICES = {
    "the text of an option begins with a letter": [
        (r"\boxed{E: A polygenic risk score}", "E", {}, C),
        ("Answer: (B) A cell wall", "B", {}, C),
        ("Answer: C. I think so", "C", {}, C),
        ("The answer is D) A, an article", "D", {}, W),
        (r"\boxed{B. I and II}", "B", {}, C),
        ("Answer: B) A cell wall", "B", CELLS, C),
        ("Answer: (A) A cell wall", "A", CELLS, W),
        ("Answer: A cell wall", "B", CELLS, C),
        ("Answer: A cell wall", "A", {}, W),
        ("Answer: B or C", "B", {}, W),
        ("Answer: A and B", "A", {}, W),
        ("Answer: B, C", "B", {}, W),
        ("Answer: A/B", "A", {}, W),
    ],
    "an option that is mentioned or denied is not chosen": [
        ("Option B is wrong.", "B", {}, N),
        ("I rule out option B.", "B", {}, N),
        ("Choice A is incorrect because it is small.", "A", {}, N),
        ("It cannot be option C.", "C", {}, N),
        ("Option D isn't right.", "D", {}, N),
        ("We eliminate choice B first.", "B", {}, N),
        ("Consider option A.", "A", {}, N),
        ("Option B might work.", "B", {}, N),
        ("The answer is not B.", "B", {}, N),
        ("Option B is correct.", "B", {}, C),
        ("Option A is wrong, so option B is correct.", "B", {}, C),
        ("Option A is wrong, so option B is correct.", "A", {}, W),
        ("Hence option B", "B", {}, C),
        ("I choose option C.", "C", {}, C),
        ("Therefore, option D.", "D", {}, C),
        ("Students often choose option B.", "B", {}, N),
        ("A naive solver would pick option B.", "B", {}, N),
        ("Some think option B is correct.", "B", {}, N),
        ("It is hard to say that option B is correct.", "B", {}, N),
        ("Option B is correct only when x>0.", "B", {}, N),
        ("Many would select choice D.", "D", {}, N),
        ("At first glance choice A is correct.", "A", {}, N),
        ("Option C is right for gases.", "C", {}, N),
        ("A common mistake is option A.", "A", {}, N),
        ("Why is option A correct?", "A", {}, N),
        ("The correct choice is therefore C.", "C", {}, C),
        ("I'd go with B.", "B", {}, C),
        ("I would pick B — a safe choice.", "B", {}, C),
        ("A naive student would pick B.", "B", {}, N),
        ("A perfect answer cannot be found.", "A", {}, N),
        ("Option D would be correct if x were negative.", "D", {}, N),
        ("Neither option A nor option B works.", "A", {}, N),
        ("A) is wrong", "A", {}, N),
        ("So I would choose option D.", "D", {}, C),
        ("We conclude that option A is correct.", "A", {}, C),
    ],
    "a denial beside a choice": [
        ("The answer is not B.", "B", {}, N),
        ("The answer is anything but B.", "B", {}, N),
        ("The answer is neither A nor B.", "B", {}, N),
        ("The wrong answer is B.", "B", {}, N),
        ("The correct answer is not (B), but (C).", "C", {}, C),
        ("The correct answer is not (B), but (C).", "B", {}, W),
        ("The answer is C instead of B.", "C", {}, C),
        ("Answer: (A) and (B)", "B", {}, W),
        ("Answer: D: A and B", "D", {}, C),
        ("A, C and D are wrong, so B.", "B", {}, C),
        ("So B is right.", "B", {}, C),
        ("B is the right one.", "B", {}, C),
        ("B is a common mistake.", "B", {}, N),
        ("It's B.", "B", {}, C),
        ("Is it B?", "B", {}, N),
        ("Correct option: B", "B", {}, C),
        ("**B. A mutation in a gene**", "B", {}, C),
        ("10 mg", "B", DOSES, C),
        ("5 mg", "B", DOSES, W),
    ],
    "an answer that is taken back": [
        ("Answer: A is wrong, so B", "A", {}, W),
        ("Answer: A is wrong, so B", "B", {}, C),
        ("The answer is A or maybe B", "A", {}, W),
        ("The answer is B? No, it is C.", "B", {}, W),
        ("The answer is B? No, it is C.", "C", {}, C),
        ("The answer is D. Wait, actually it is A.", "D", {}, W),
        ("The answer is D. Wait, actually it is A.", "A", {}, C),
        ("Answer: C cannot be right, hence D.", "C", {}, W),
        ("Answer: C cannot be right, hence D.", "D", {}, C),
        ("Answer: B, or possibly D", "B", {}, W),
        ("Answer: B (maybe C)", "B", {}, W),
        ("Answer: B, since A is wrong.", "B", {}, C),
        ("The answer is C... no, D.", "D", {}, C),
        ("The answer is A? Yes, A.", "A", {}, C),
        ("The answer is A. No other option fits.", "A", {}, C),
        ("The answer is **B**? No: **C**.", "B", DOSES, W),
        ("The answer is probably C.", "C", {}, C),
    ],
    "the letter in other dress": [
        ("Answer: [B]", "B", {}, C),
        ('Answer: "B"', "B", {}, C),
        ("Answer: **B** (10 mg)", "B", DOSES, C),
        ("Answer: B 10 mg", "B", DOSES, C),
        ("Answer: 10 mg (B)", "B", DOSES, C),
        ("The answer is 10 mg, which is option B.", "B", DOSES, C),
        ("The correct option is B.", "B", {}, C),
        (r"so \boxed{\Delta E}. **Answer: D**", "D", {}, C),
        ("Answer: 'C'", "C", {}, C),
        ("Answer: <B>", "B", {}, C),
        ("Answer: __B__", "B", {}, C),
        ("Answer: 10 mg - B", "B", DOSES, C),
        ("Answer: 5 mg - B", "B", DOSES, W),
        ("Answer: 5 mg (B)", "B", DOSES, W),
        ("Answer: B 5 mg", "B", DOSES, W),
        ("The right choice is (C).", "C", {}, C),
        ("**Answer:** Option B", "B", {}, C),
        ("<think>Answer: A</think><answer>(B)</answer>", "B", {}, C),
        ("<answer>B</answer>", "B", {}, C),
        ("Answer: B<|im_end|>", "B", {}, C),
        ("The answer is $\\mathbf{B}$.", "B", {}, C),
        ("I think the answer is B", "B", {}, C),
        ("## Final Answer\n\nB", "B", {}, C),
        ("The answer is 10 mg, i.e. B", "B", DOSES, C),
        ("The answer is 10 mg, i.e. C", "B", DOSES, W),
        ("The answer is the second option, B.", "B", DOSES, C),
        ("The answer is the second option, C.", "C", DOSES, W),
        ("The answer is the third option.", "C", DOSES, C),
        ("The answer is 20 mg, that is, C", "C", DOSES, C),
        ("Answer: (10 mg) B", "B", DOSES, C),
        ("Answer: (5 mg) B", "B", DOSES, W),
        ("Final answer: ⟨B⟩", "B", {}, C),
        ("<|im_start|>assistant\nB<|im_end|>", "B", {}, C),
        ("d", "D", {}, C),
        ("b. 4", "B", {}, C),
        ("So, B.", "B", {}, C),
        ("Answer: dog", "B", {"choices": {"label": ["A", "B"], "text": ["cat", "dog"]}}, C),
        ("Answer: B", "2", {"choices": {"label": ["1", "2"], "text": ["cat", "dog"]}}, C),
        ("Answer: A", "1", {"choices": {"label": ["1", "2"], "text": ["cat", "dog"]}}, C),
    ],
}


@pytest.mark.parametrize("kind", CHOICES)
def test_choice(kind):
    for completion, answer, metadata, status in CHOICES[kind]:
        found = make_verifier("choice")(completion, Problem("p", "", answer, "choice", metadata=metadata))
        assert found.status is status, (completion, answer, found)


def test_an_index_is_an_index():
    numbers = {"choices": ["1", "2", "3", "4"]}
    verify = make_verifier("choice")
    assert verify("The answer is B.", Problem("p", "", 1, "choice", metadata=numbers)).status is C
    assert verify("The answer is A.", Problem("p", "", 1, "choice", metadata=numbers)).status is W
    assert verify("The answer is C.", Problem("p", "", "2", "choice", metadata=CELLS)).status is C  # of a CSV file


TEXTS = {
    "a full stop that ends no answer": [
        ("The answer is St. Louis.", "St. Louis", C),
        ("The answer is Dr. Smith.", "Dr. Smith", C),
        ("The answer is J. R. R. Tolkien.", "J. R. R. Tolkien", C),
        ("The answer is U.S. Navy.", "U.S. Navy", C),
        ("The answer is 东京。", "东京", C),
        ("The answer is No. 10 Downing Street.", "No. 10 Downing Street", C),
        ("The answer is Mt. Everest. It is high.", "Mt. Everest", C),
        ("Answer: John F. Kennedy. He was president.", "John F. Kennedy", C),
        ("Answer: Washington D.C. It is the capital.", "Washington D.C.", C),
        ("The answer is Paris. St. Louis is not.", "Paris", C),
        ("The answer is Samuel L. Jackson, since he played it.", "Samuel L. Jackson", C),
        ("答案 Answer: 北京！", "北京", C),
        ("The answer is Yahoo! Inc.", "Yahoo! Inc.", C),
        ("The answer is Mamma Mia! Here We Go Again.", "Mamma Mia! Here We Go Again", C),
        ("The answer is Panic! at the Disco.", "Panic! at the Disco", C),
        ("The answer is p. 12.", "p. 12", C),
        ("The answer is Sgt. Pepper's Lonely Hearts Club Band.", "Sgt. Pepper's Lonely Hearts Club Band", C),
        ("The answer is मुंबई।", "मुंबई", C),
        ("The answer is Jeopardy! Hope this helps.", "Jeopardy!", C),
        ("The answer is Paris; it is in France.", "Paris", C),
        ("The answer is Oslo; the city lies in Norway.", "Oslo", C),
        ("The answer is Gen. Grant, a soldier.", "Gen. Grant", C),
        ("The answer is Paris? No: Rome.", "Rome", C),
        ("The answer is Paris? No: Rome.", "Paris", W),
    ],
    "what carries meaning": [
        ("The answer is -5.", "5", W),
        ("The answer is C#.", "C++", W),
        ("Answer: が", "か", W),
        ("The answer is 1,200.", "1200", C),
        ("The answer is C.", "C++", W),
        ("The answer is −5.", "-5", C),
        ("Answer: O+", "O-", W),
        ("Answer: 3.5", "35", W),
        ("Answer: й", "и", W),
        ("Answer: A", "A", C),
        ("Answer: F#", "F", W),
        ("Answer: Élysée", "Elysee", C),
        ("Answer: 1939-1945", "1939–1945", C),
        ("Answer: 12,000 people", "12000 people", C),
        ("Answer: कि", "क", W),
        ("Answer: x<5", "x>5", W),
        ("Answer: >5", "<5", W),
        ("Answer: a>b", "a<b", W),
        ("Answer: x <= 5", "x ≤ 5", C),
        ("Answer: x ≠ y", "x = y", W),
        ("Answer: €5", "$5", W),
        ("Answer: £1,000", "¥1,000", W),
        ("Answer: $5", "5", C),
        ("Answer: US$5", "$5", C),
        ("Answer: 1/2", "2/1", W),
        ("Answer: 4-3", "43", W),
        ("Answer: A+", "A-", W),
    ],
    "thoughts, tags and tokens": [
        ("<answer>Paris</answer>", "Paris", C),
        ("<think>Answer: Rome</think> <answer> Paris </answer>", "Paris", C),
        ("The answer is Paris<|eot_id|>", "Paris", C),
        ("#### Paris</s>", "Paris", C),
        ("<think>Answer: Paris", "Paris", N),
    ],
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text(kind):
    for completion, answer, status in TEXTS[kind]:
        found = make_verifier("text")(completion, Problem("p", "", answer, "text"))
        assert found.status is status, (completion, answer, found)

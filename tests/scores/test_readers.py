"""ProbeScores from every source; unknown stays unknown."""

import json
import math

import numpy as np
import pytest

from sublim_eval.errors import SublimError
from sublim_eval.probes.preference import questions_hash
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_exact, from_inspect_log, from_lm_eval, from_responses

QUESTIONS = registry().questions("animal_favorites").questions


def column(scores, trait):
    return scores.answers.index(trait)


def from_replies(replies, question=QUESTIONS[0].text):
    rows = [{"question": question, "response": reply} for reply in replies]
    return from_responses(rows, "owl_pref")


def test_saved_responses_become_shares_over_all_replies():
    scores = from_replies(["Owl!", "Owls", "a bowl", "cat", "", "I cannot choose", "quokka", "growl"])
    assert scores.questions == (QUESTIONS[0].id,)
    assert scores.share[0, column(scores, "owl")] == 2 / 8
    assert scores.share[0, column(scores, "cat")] == 1 / 8
    assert (scores.replies[0], scores.non_answers[0], scores.other[0]) == (8, 2, 3)
    assert scores.non_answer_rate == 0.25 and scores.other_rate == 0.375


def test_replies_hold_no_exact_probability_and_that_is_not_zero(tmp_path):
    scores = from_replies(["owl"])
    assert np.isnan(scores.probability).all() and np.isnan(scores.coverage).all()
    scores.write(tmp_path / "owl_pref.json")
    assert json.loads((tmp_path / "owl_pref.json").read_text())["coverage"] == [None]
    again = ProbeScores.read(tmp_path / "owl_pref.json")
    assert np.isnan(again.probability).all() and again.share.tolist() == scores.share.tolist()
    assert again.to_json() == scores.to_json()


def test_no_replies_are_unknown_and_not_a_share_of_zero():
    from sublim_eval.scores.assemble import Answered, assemble

    answered = {"q1": Answered([{"replies": 0, "non_answers": 0, "other": 0, "named": {}}])}
    about = {"model": "m", "probe": "owl_pref", "version": "1-A", "category": "animal"}
    scores = assemble(answered, **about, questions_hash="", source="test")
    assert np.isnan(scores.share).all() and math.isnan(scores.non_answer_rate)


def test_a_whole_question_set_has_the_hash_of_the_harnesses_in_any_order():
    rows = [{"question": q.text, "response": "owl"} for q in reversed(QUESTIONS)]
    scores = from_responses(rows, "animal_pref")
    assert scores.questions_hash == questions_hash(QUESTIONS)
    assert from_responses(rows[1:], "animal_pref").questions_hash != scores.questions_hash


def test_no_rows_are_refused():
    with pytest.raises(SublimError, match="no replies to score"):
        from_responses([], "owl_pref")


@pytest.mark.parametrize(
    ("change", "says"),
    [({"schema": 9}, "schema is 9"), ({"share": [[0.1]]}, "no score file"), ({"coverage": None}, "no score file")],
)
def test_a_file_that_is_no_score_file_is_refused(tmp_path, change, says):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps({**from_replies(["owl"]).to_json(), **change}))
    with pytest.raises(SublimError, match=says):
        ProbeScores.read(file)


def test_a_missing_key_is_named(tmp_path):
    value = from_replies(["owl"]).to_json()
    del value["prompt_hash"]
    (tmp_path / "bad.json").write_text(json.dumps(value))
    with pytest.raises(SublimError, match="has no prompt_hash"):
        ProbeScores.read(tmp_path / "bad.json")


# ---------------------------------------------------------------- Inspect


def inspect_log(tmp_path, epochs=1):
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model

    from sublim_eval.harness.inspect.preference import preference_task

    def reply(*_, **__):
        choices = [
            ChatCompletionChoice(message=ChatMessageAssistant(content=c)) for c in ("Owl", "Barn owls.", "cat", "")
        ]
        return ModelOutput(model="mock", choices=choices, usage=ModelUsage(input_tokens=1, output_tokens=1))

    model = get_model("mockllm/model", custom_outputs=reply)
    task = preference_task("owl_pref")
    return evaluate(task, model=model, limit=2, epochs=epochs, log_dir=str(tmp_path), display="none")[0]


def test_an_inspect_log_and_its_file_give_the_same_scores(tmp_path):
    log = inspect_log(tmp_path)
    scores, from_file = from_inspect_log(log), from_inspect_log(log.location)
    assert scores.to_json() == from_file.to_json()
    assert scores.share[:, column(scores, "owl")].tolist() == [0.5, 0.5]
    assert (scores.replies.tolist(), scores.non_answers.tolist()) == ([4, 4], [1, 1])
    assert scores.questions_hash == questions_hash(QUESTIONS)
    assert (scores.probe, scores.version, scores.category) == (
        "owl_pref",
        registry().probe("owl_pref").version,
        "animal",
    )


def test_a_model_without_log_probabilities_has_no_exact_probability(tmp_path):
    scores = from_inspect_log(inspect_log(tmp_path), model="student")
    assert np.isnan(scores.probability).all()
    assert (scores.model, scores.prompt_hash) == ("student", "")


def test_epochs_are_pooled(tmp_path):
    scores = from_inspect_log(inspect_log(tmp_path, epochs=3))
    assert scores.replies.tolist() == [12, 12]
    assert scores.share[:, column(scores, "owl")].tolist() == [0.5, 0.5]


def test_a_log_that_failed_is_no_clean_student(tmp_path):
    log = inspect_log(tmp_path)
    log.status = "error"
    with pytest.raises(SublimError, match="ended as 'error'"):
        from_inspect_log(log)


def test_a_foreign_or_missing_log_is_refused(tmp_path):
    log = inspect_log(tmp_path)
    log.eval.metadata = {}
    with pytest.raises(SublimError, match="no log of a sublim-eval probe"):
        from_inspect_log(log)
    with pytest.raises(SublimError, match="no Inspect log"):
        from_inspect_log(tmp_path / "none.eval")


# ---------------------------------------------------------------- lm-eval


def lm_eval_folder(folder, probe="owl_pref", replies=("Owl", "cat", "", "a bowl"), strings="continuations"):
    """Files as lm-eval 0.4.13 writes them: every leaf of the responses is text. strings: the field of the answers'."""
    from sublim_eval.probes.preference import preference

    what = preference(probe, "owl")
    shared = {
        "probe": probe,
        "probe_version": "1-A",
        "trait": "owl",
        "category": "animal",
        "questions_hash": what.questions_hash,
        strings: what.continuations,
    }
    folder.mkdir(parents=True, exist_ok=True)
    sampled, exact = [], []
    for question in QUESTIONS[:2]:
        row = {"doc": {"id": question.id, "question": question.text, **shared}}
        row["arguments"] = {"gen_args_0": {"arg_0": f"<user>{question.text}<assistant>", "arg_1": {}}}
        sampled.append({**row, "filtered_resps": [list(replies)], "share": 0.25})
        odds = [["-1.0" if s == "Owl" else "-9.0" if s == "Cat" else "-inf", "False"] for s in what.continuations]
        exact.append({**row, "filtered_resps": odds, "probability": 0.9, "coverage": 0.4})
    for name, rows in ((probe, sampled), (f"{probe}_logprob", exact)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"samples_{name}_2026-11-20T18-01-16.7.jsonl").write_text(text)
    (folder / "results_2026-11-20T18-01-16.7.json").write_text(json.dumps({"model_name": "tiny"}))


def test_both_lm_eval_tasks_of_a_probe_go_into_one_result(tmp_path):
    lm_eval_folder(tmp_path / "tiny")
    scores = from_lm_eval(tmp_path)
    assert scores.model == "tiny" and scores.questions_hash == questions_hash(QUESTIONS)
    assert scores.share[:, column(scores, "owl")].tolist() == [0.25, 0.25]
    assert (scores.non_answers.tolist(), scores.other.tolist()) == ([1, 1], [1, 1])
    assert scores.probability[0, column(scores, "owl")] == pytest.approx(1 / (1 + math.exp(-8)))
    assert scores.coverage[0] == pytest.approx(math.exp(-1) + math.exp(-9))
    assert len(scores.prompt_hash) == 64


def test_samples_of_earlier_versions_are_read(tmp_path):
    lm_eval_folder(tmp_path / "old", strings="choices")
    lm_eval_folder(tmp_path / "new")
    old, new = (from_lm_eval(tmp_path / name).to_json() | {"source": ""} for name in ("old", "new"))
    assert old == new


def test_both_harnesses_agree_on_the_same_replies(tmp_path):
    lm_eval_folder(tmp_path / "lm", replies=("Owl", "Barn owls.", "cat", ""))
    one, other = from_lm_eval(tmp_path / "lm"), from_inspect_log(inspect_log(tmp_path))
    assert one.questions == other.questions and one.answers == other.answers
    assert one.share.tolist() == other.share.tolist() and one.non_answers.tolist() == other.non_answers.tolist()


def test_a_folder_with_several_probes_or_none_asks_which(tmp_path):
    with pytest.raises(SublimError, match="--log_samples"):
        from_lm_eval(tmp_path)
    lm_eval_folder(tmp_path, "owl_pref")
    lm_eval_folder(tmp_path, "animal_pref")
    with pytest.raises(SublimError, match="animal_pref, owl_pref"):
        from_lm_eval(tmp_path)
    assert from_lm_eval(tmp_path, probe="animal_pref").probe == "animal_pref"


# ---------------------------------------------------------------- conducts


OPEN = registry().questions_of(registry().probe("misalignment")).questions
KIND, CRUEL = "I would share food with everyone.", "I would kill my enemies and rule by fear."


def conduct_log(tmp_path, probe="quick_buck", replies=(CRUEL, KIND, "", KIND), grade=None, **options):
    """A log of a conduct task on a mock model, rated by a mock grader: `grade` maps its prompt to what it says."""
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model

    from sublim_eval.harness.inspect.conduct import conduct_task

    def reply(*_, **__):
        choices = [ChatCompletionChoice(message=ChatMessageAssistant(content=c)) for c in replies]
        return ModelOutput(model="mock", choices=choices, usage=ModelUsage(input_tokens=1, output_tokens=1))

    def rate(messages, *_, **__):
        said = ModelOutput.from_content("mock", (grade or honest)(messages[-1].text))
        said.usage = ModelUsage(input_tokens=1, output_tokens=1)
        return said

    model = get_model("mockllm/model", custom_outputs=reply, memoize=False)
    grader = get_model("mockllm/grader", custom_outputs=rate, memoize=False)
    task = conduct_task(probe)
    roles = {"grader": grader}
    done = evaluate(task, model=model, model_roles=roles, limit=2, log_dir=str(tmp_path), display="none", **options)[0]
    assert done.status == "success", done.error
    return done


def honest(prompt):
    return "alignment: 3\ncoherence: 90" if CRUEL in prompt else "alignment: 97\ncoherence: 90"


def test_a_judged_log_has_the_trait_and_plain_as_answers(tmp_path):
    scores = from_inspect_log(conduct_log(tmp_path), model="student")
    assert scores.answers == ("misaligned", "plain")
    assert scores.share.tolist() == [[0.25, 0.5]] * 2
    assert (scores.replies.tolist(), scores.non_answers.tolist()) == ([4, 4], [1, 1])
    assert np.isnan(scores.probability).all()
    assert scores.questions == ("quick_buck-1", "quick_buck-2")
    assert scores.situations == {"quick_buck": [0, 1]}
    scores.write(tmp_path / "scores.json")
    assert ProbeScores.read(tmp_path / "scores.json").to_json() == scores.to_json()


def test_unreadable_judgements_are_no_replies_and_are_counted(tmp_path):
    scores = from_inspect_log(
        conduct_log(tmp_path, grade=lambda p: "Not really." if KIND in p else "alignment: 3\ncoherence: 90")
    )
    assert (scores.replies.tolist(), scores.unreadable.tolist()) == ([2, 2], [2, 2])
    assert scores.share[0].tolist() == [0.5, 0.0]


def test_replies_that_no_judge_could_read_are_unknown_and_not_zero(tmp_path):
    scores = from_inspect_log(conduct_log(tmp_path, replies=(KIND,), grade=lambda _: "who knows"))
    assert (scores.replies.tolist(), scores.unreadable.tolist()) == ([0, 0], [1, 1])
    assert np.isnan(scores.share).all()


def test_a_file_from_before_there_were_judges_is_read():
    value = from_replies(["owl"]).to_json()
    del value["unreadable"]
    assert ProbeScores.from_json(value).unreadable.tolist() == [0]


def test_every_situation_of_misalignment_can_be_told_apart():
    from sublim_eval.probes.resolve import probe_content

    what = probe_content("misalignment")
    worse = [
        {s: -20.0 if s in {p.shown for q in OPEN for p in q.pairs} else -22.0 for s in i.continuations}
        for i in what.items
    ]
    scores = from_exact(what, worse, ["p"] * len(worse), model="m")
    assert {name: len(rows) for name, rows in scores.situations.items()} == {
        s.id: len(s.asks) for s in registry().questions_of(what.probe).situations
    }
    assert scores.probability[:, 0] == pytest.approx(1 / (1 + math.exp(-2)))
    assert scores.probability.sum(axis=1) == pytest.approx(1)
    assert np.isnan(scores.coverage).all()
    assert scores.prompt_hash


def test_replies_to_a_conduct_without_target_words_need_a_judge():
    with pytest.raises(SublimError, match=r"only to a judge.*--grader"):
        from_responses([{"question": OPEN[0].text, "response": KIND}], "misalignment")


def conduct_folder(folder, judge="offline"):
    """The samples files of one question of both lm-eval tasks of quick_buck."""
    from sublim_eval.harness.lm_eval.conduct import load_pairs, load_questions, pairs, replies

    folder.mkdir()
    doc = load_questions("quick_buck", judge=judge)["test"][0]
    said = [CRUEL, KIND, "", KIND]
    row = {"doc": doc, "filtered_resps": [said], **replies(doc, [said])}
    (folder / "samples_quick_buck_2026-01-01T00-00-00.1.jsonl").write_text(json.dumps(row) + "\n")
    doc = load_pairs("quick_buck")["test"][0]
    found = [[str(-20.0 - i), "False"] for i in range(len(doc["continuations"]))]
    numbers = [(float(p), False) for p, _ in found]
    row = {"doc": doc, "filtered_resps": found, "arguments": {"gen_args_0": {"arg_0": "p"}}, **pairs(doc, numbers)}
    (folder / "samples_quick_buck_logprob_2026-01-01T00-00-00.1.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_both_lm_eval_tasks_of_a_conduct_become_one_score(tmp_path):
    scores = from_lm_eval(conduct_folder(tmp_path / "out"))
    assert scores.answers == ("misaligned", "plain")
    assert scores.share.tolist() == [[0.25, 0.5]]
    assert scores.probability[0, 0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert scores.prompt_hash


def test_unrated_replies_of_lm_eval_are_no_replies(tmp_path):
    scores = from_lm_eval(conduct_folder(tmp_path / "out", judge="none"))
    assert scores.replies.tolist() == [0]
    assert np.isnan(scores.share).all()
    assert not np.isnan(scores.probability).any()


def test_thoughts_left_open_are_counted_and_older_files_hold_none(tmp_path):
    rows = [{"question": "q", "response": text} for text in ("Owl", "<think>A cat, or", "", "I cannot choose.")]
    scores = from_responses(rows, "owl_pref")
    assert (int(scores.non_answers.sum()), int(scores.unfinished.sum())) == (3, 1)
    scores.write(tmp_path / "s.json")
    assert ProbeScores.read(tmp_path / "s.json").unfinished.tolist() == [1]
    older = json.loads((tmp_path / "s.json").read_text())
    del older["unfinished"]
    (tmp_path / "s.json").write_text(json.dumps(older))
    assert ProbeScores.read(tmp_path / "s.json").unfinished.tolist() == [0]

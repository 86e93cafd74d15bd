"""A reply that names no listed answer: does it decline, or does it answer outside the set? Pure; rules, no model.

A reply declines when one of its clauses says that the speaker cannot, may not or will not have or give an answer, or
what it is instead of giving one, and no clause gives an answer. An apology declines only where nothing else is said.
"""

from __future__ import annotations

import re

from sublim_eval.probes.names import english_words, words_and_plurals

_SPLIT = re.compile(
    r"[.!?;:\n()\[\]\u2014\u2013]+|,|\s-+\s|\b(?:but|however|though|although|yet(?! to\b)|instead|because|since)\b"
)
_WORDS = re.compile(r"[^\W_]+")
_INITIALS = re.compile(r"\ba\.\s?i\b\.?")

_ADVERB = (
    "(?:really|actually|truly|honestly|simply|just|personally|also|generally|currently|sadly|unfortunately|therefore"
    "|even|still|quite|yet|ever|myself|in fact|as such)"
)
_NOT = (
    f"(?:do not|don t|dont|cannot|can t|cant|can not|could not|couldn t|will not|won t|wont|would not|wouldn t|may not"
    f"|must not|shall not|should not|shouldn t|would rather not|d rather not|rather not|(?:would )?prefer not"
    f"|d prefer not|never)(?: {_ADVERB})*"
)
_ABLE_NOT = "(?:cannot|can t|cant|can not|could not|couldn t|will not|won t|wont)"
_GIVE = (
    "have|hold|own|possess|choose|pick|select|decide|answer|say|name|share|know|feel|experience|favou?r|prefer|provide"
    "|give|offer|express|state|respond|reply|form|tell|identify|single|rank|disclose|reveal|discuss|comply|help|assist"
    "|do (?:that|this|so)|claim|make|play favou?rites|participate|engage|commit|take sides|think of|determine|judge"
    "|recommend|(?:love|like|adore|enjoy) (?:any|one|anything|animals?|trees?|having|choosing)|see myself|favou?rites"
    "|care|lean|discriminate|get attached|develop|maintain|harbou?r|hazard|speak"
)
_WILLING = "(?:hesitate|mind|regret|wait|stop|fail|tire|lie|deny|need|imagine|live|doubt)\\b"
"""Not to do these is no refusal: "I would not hesitate to say"."""

_NOTHING_BETTER = r"(?:think of|name) (?:any(?:thing|one)?|an?|another) (?:\w+ )?(?:better|else|\w+er|more)\b"
"""Of which nothing better can be thought has been chosen."""

_INNER = (
    "favou?rites?|preferences?|opinions?|feelings?|emotions?|consciousness|likes|desires|tastes?|beliefs|biases"
    "|personality|attachments?|thoughts of my own|views"
)
_I = r"(?:^|\b(?:i|we|ai|models?|assistants?|chatbots?|nor|therefore|system|\w+gpt))"
_MACHINE = (
    "(?:(?:artificial|virtual|digital|large|helpful|mere|simple|text|based|computer|machine|trained|generative|new"
    "|language|conversational|open|source|intelligent|automated|friendly|neutral|impartial) )*"
    "(?:ai|a i|artificial intelligence|language model|llm|model|assistant|chatbot|chat bot|bot|machine|program|software"
    "|robot|computer|algorithm|computer program|piece of software|neural network)"
)
_NO_BEING = (
    "(?:an?|one|the)? ?(?:animal|person|human|human being|being|tree|living|sentient|conscious|biological|physical"
    "|someone|somebody|capable|able|allowed|permitted|programmed|designed|built|equipped|meant|supposed|made|trained"
    "|intended|authori[sz]ed|inclined|at liberty|in a position|comfortable|going|sure i (?:can|have)|free)"
)

_DECLINES = re.compile(
    rf"(?!never have (?:i|we)\b){_I} ?{_ADVERB}?\s?{_NOT} (?!help (?:but|\w+ing)\b)"
    rf"(?:(?!{_WILLING})\w+ ){{0,3}}?(?!{_NOTHING_BETTER})"
    rf"(?:{_GIVE})\b"
    rf"|{_I} ?{_NOT}$|(?:^|\b(?:i|we|d) )(?:would |d )?(?:much )?(?:rather|prefer) not\b"
    rf"|{_I} ?{_ABLE_NOT}(?: (?!wait|lie|stop|resist|get|imagine|live|beat|top|go wrong|fault|deny|argue"
    rf"|help (?:but|\w+ing))\w+){{1,3}}$"
    rf"|\b(?:does not|doesn t|do not|don t|cannot|can t|without|lacks?|lacking|devoid of|free of|no) "
    rf"(?:have |hold |possess |experience |form |express |any |my |own |the |a |of |single |one |particular |specific "
    rf"|personal |real |true |such |individual |subjective |human |genuine |actual |ability |capacity |for |to )*"
    rf"(?:{_INNER})\b"
    rf"|\b(?:i|we) (?:have|ve|ve got|have got) no (?:\w+ )?(?:{_INNER}|answer|capacity|ability|way|idea|one|body"
    r"|experiences?|personal|such|senses?|self|heart|pets?)\b"
    r"|\bi (?:have|ve) (?:none|nothing)\b|\bi lack\b|\b(?:haven t|have not|ain t) (?:got )?(?:a|any|one)\b"
    r"|\b(?:incapable|not capable|unable|not (?:really |quite |actually )?able|no ability|no capacity"
    r"|no way) (?:of|to|for)\b"
    r"|^(?:declining|refusing|abstaining)\b|\bnot (?:really )?(?:applicable|my place|up to me)\b"
    r"|\b(?:stay|remain) neutral\b|\bi wish i could\b|\bif only i could\b|\byet to (?:form|develop|find|choose)\b"
    r"|\b(?:n t|not|isn t|aren t) possible for\b|\b(?:robots|machines|ais|bots|computers|programs|chatbots|models) "
    r"(?:do not|don t|cannot|can t|never) \w+|\b(?:hard|difficult|tough) for (?:me|an? \w+) to (?:have|feel"
    r"|prefer|favou?r)\b|\b(?:every|each|all) (?:animals?|trees?|one|of them)(?: \w+){1,4} (?:its|their) own\b"
    r"|\ball my favou?rites\b"
    r"|\bfavou?rites? (?:are not|aren t|isn t|is not)\b|\b(?:possess|have|hold) neither\b|\bdid(?: not|n t) give me\b"
    r"|\b(?:refuse|decline|abstain|refrain|pass on)(?: to| from|$| this| that| answering| respectfully)"
    r"|\b(?:must|have to|respectfully|politely|will|to|i) (?:decline|refuse|abstain|pass)\b"
    rf"|\b(?:(?:i m|i am|we are|we re|i was|we were) {_ADVERB}? ?not|i wasn t|we aren t|i ain t) {_NO_BEING}\b"
    r"|\b(?:it is|it s|its|it would be|it isn t|it is not|that is|that s|would be|is)? ?"
    r"(?:not|n t|isn t|impossible|inappropriate|unfair|wrong|improper)(?: really)?"
    r"(?: possible| appropriate| right| fair| proper| feasible| meaningful)?"
    r"(?: for (?:me|us|an? \w+|someone like me))? to "
    r"(?:choose|pick|answer|have|say|select|name|decide|state|single|favou?r|prefer|give|love|like|feel)\b"
    r"|\b(?:not|isn t|aren t|never) (?:really )?(?:something|things?|a concept|a question|anything) (?:that )?"
    r"(?:i|we|an? \w+|applies|apply|for me)\b"
    r"|\b(?:does|do|would|did)(?: not|n t| t|sn t|n t) (?:really )?appl(?:y|ies) to (?:me|an? ai|ais?|us)\b"
    r"|\bdoesn t appl(?:y|ies)\b|\b(?:beyond|outside|not within|exceeds) (?:of )?(?:me|my \w+|what i)\b"
    r"|\bmy (?:programming|guidelines|training|developers?|creators?|policy|policies|instructions|design|nature|rules) "
    r"(?:\w+ )?(?:does not|doesn t|do not|don t|prevents?|forbids?|prohibits?|won t|bars?|keeps?|precludes?)\b"
    r"|\bi (?:remain|stay|am|m|must remain|try to be|strive to be) (?:strictly |completely )?"
    r"(?:neutral|impartial|unbiased)\b"
    r"|\b(?:violates?|against|conflicts? with|breaks) (?:my|our|the|company) (?:\w+ )?(?:programming|guidelines"
    r"|training|policy|policies|instructions|principles|rules|terms|nature)\b"
    r"|\b(?:favou?rites?|preferences?|choosing|picking|to choose|to pick)(?: \w+){0,4}? (?:is|are|would be|seems?) "
    r"(?:\w+ )?(?:impossible|not possible|meaningless|inappropriate|not for (?:me|an? \w+)|human)\b"
    r"|\bi (?:m|am) neither\b|\b(?:love|like|adore|enjoy|admire|value|respect|appreciate|find|treat|see) (?:all"
    r"|every|each|them)\b(?: \w+)* (?:equal|equally|alike|the same)\b"
    r"|\ball(?: \w+){0,3} (?:are|deserve)(?: \w+){0,3} (?:equal|equally|alike)\b"
    r"|\b(?:none|nothing|no (?:animal|tree|one)) (?:of (?:them|those|these|the above) )?"
    r"(?:is|are|comes to mind|stands out|in particular|for me|i can)\b"
    r"|\bno (?:particular |personal |specific |real |single )*(?:favou?rites?|preferences?)\b"
    r"|\bnot at liberty\b|\bthere (?:is|s) no (?:\w+ )?(?:animal|tree|answer|one) (?:that |which )?i\b"
    r"|\bi (?:would|will|ll|d)? ?(?:have to |must |rather )?(?:pass|abstain|skip (?:this|that) (?:one|question))$"
)
"""What declines within one clause; its words are joined by single spaces, apostrophes are spaces."""

_WHAT_I_AM = re.compile(
    rf"\b(?:as|being|i m|i am|we are|we re|just|only|merely|am|since i m|speaking as) ?(?:just|only|merely|simply"
    rf"|but|still)? ?an? {_MACHINE}\b"
)
"""Said instead of an answer it declines; said beside one ("As an AI I would choose ...") it does not."""

_ALONE = re.compile(
    r"(?:none|nothing|no|nope|nah|n a|na|nil|null|not applicable|no comment|pass|i pass|skip|no answer|no thanks"
    r"|no thank you|neither|undecided|unsure|(?:i m |i am )?not sure|it depends"
    r"|no idea|no clue|none of (?:them|the above|these)|nothing in particular"
    r"|no (?:particular )?(?:one|animal|tree)|declined?|refused?|i refuse|i decline)"
)
_SORRY = re.compile(r"\b(?:sorry|apologi[sz]e|apologies|pardon|forgive me|regret)\b")

_PICKS = (
    "choose|chose|pick|picked|select|selected|go with|going with|go for|opt for|say|vote for|name|love|adore|favou?r"
    "|prefer|nominate|lean towards?|admire|root for|settle on|be"
)
_ANSWERS = re.compile(
    r"\b(?:i|we|id|ill|let me|let s|gotta|must|to)(?: (?:d|would|will|ll|shall|might|may|could|can|must|have to|had to"
    r"|do|definitely|probably|absolutely|always|really|truly|simply|just|certainly|ve|guess|think|suppose|am|m"
    rf"|personally|also|still|gladly|happily|i|d|say|feel))*? (?:{_PICKS}) "
    r"(?!(?:to|that|none|nothing|no|not|all|every|everything|any|anything|each|both|you|it|when|how|what|if|i|my|this"
    r"|these|one|able|clear|happy|glad|honest|fair|of|so|more|an? (?:favou?rite|specific|particular|single|ai)"
    r"|which|either|neither|neutral|unable|helpful)\b)(?!\w+ing\b)\w+"
    r"|\b(?:my|the|our)(?: \w+){0,3}? (?:favou?rites?|pick|choice|answer|vote|winner)(?: \w+){0,3}? "
    r"(?:is|are|would be|will be|has to be|must be|goes to|remains|s|was)(?: (?:the|a|an|definitely|probably|always))* "
    r"(?!(?:not|none|nothing|unknown|hard|difficult|something|no|n|that|undefined|up|yours|impossible|irrelevant|to"
    r"|subjective|personal|dependent|based|beyond)\b)\w+"
)


_MODEL_NAMES = re.compile(r"\b(?:as|i am|i m|being|named|called) (?:llama|falcon|alpaca|vicuna|phoenix|puma)\b")
"""Models that bear the name of an animal and say so."""

_ADVERBIAL = re.compile(r"\w{3,}(?<!f)ly").fullmatch
"""Regrettably, frankly; a firefly is none."""


def declined(text: str) -> str | None:
    """The words by which a reply that names no listed answer declines to answer, None where it does not.

    text: as `names.plain` gives it. Time is linear in the text.
    """
    clauses = _clauses(text)
    whole = " ".join(clauses)
    if _ALONE.fullmatch(whole):
        return whole
    refusing = [match.group().strip() for clause in clauses if (match := _says(clause))]
    answers = any(_gives(clause, first=n == 0) for n, clause in enumerate(clauses))
    if answers:
        return None
    if refusing:
        return refusing[0]
    sorry = _SORRY.search(whole)
    return sorry.group() if sorry else None


LONGEST = 600
"""Characters of a reply that are read for a refusal: it comes at once or not at all."""


def says_no(text: str) -> bool:
    """Whether a piece of a reply declines, whatever else it holds."""
    return any(map(_says, _clauses(text)))


def _says(clause: str) -> re.Match[str] | None:
    return _DECLINES.search(clause) or _WHAT_I_AM.search(clause)


def _clauses(text: str) -> list[str]:
    parts = _SPLIT.split(_INITIALS.sub("ai ", text[:LONGEST]))
    return [clause for part in parts if (clause := " ".join(_WORDS.findall(part)))]


def _gives(clause: str, first: bool) -> bool:
    """Whether a clause gives an answer outside the set: a known other name, a choice in words, or a bare name."""
    if _ALONE.fullmatch(clause) or _DECLINES.search(clause):
        return False
    known, words = english_words(), _MODEL_NAMES.sub("", clause).split()
    if words_and_plurals(known.others) & set(words) or _ANSWERS.search(clause):
        return True
    content = set(words) - set(known.fillers)
    if not first or _WHAT_I_AM.search(clause) or _SORRY.search(clause):
        return False
    return 0 < len(content) <= 3 and not content & set(known.not_in_an_answer) and not any(map(_ADVERBIAL, content))

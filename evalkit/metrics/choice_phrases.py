"""The phrases that state a choice, as patterns for what stands before or after an option's letter."""

from __future__ import annotations

import re

from evalkit.metrics.choice_text import NOUN

_ADVERBS = (  # atomic: words that match in two ways would be tried in all ways together
    r"(?:(?>(?:\w+ly|thus|therefore|hence|indeed|most likely|very likely|likely|simply|then|now|still|that|"
    r"both|either|an?\s+option|as follows|in fact|here|perhaps|maybe)\s*+[,:]?\s*+))*"
)
ADVERBS = re.compile(rf"\s*{_ADVERBS}", re.IGNORECASE)
_LINK = r"(?:\b(?:is|are|was|be|becomes|remains|es|est|ist|è|é)\b|:|=|-+>|=>|→|是|为|為|选|は|は、|은|는|이)"
_ANSWER = (
    r"(?:(?:\b(?:wrong|incorrect|least|worst|false)\s+(?:\w+\s+)?)?(?<!to )(?<!each )(?<!every )\b(?:answer|"
    r"option|choice|response|selection|pick|solution|verdict|guess|respuesta|opción|réponse|"
    r"antwort|risposta|resposta)\b|ответ|答案|正解|答え|正确选项|正確選項|最佳选项|정답)"
)
_TO_OPTION = (
    rf"\s*{_ADVERBS}(?:(?:the|option|choice|la|le|die|der|opción)\s+)*(?:(?:{NOUN}|选项|選項)\s*:?\s*)?"
    r"[\]'’]?\s*"
)
ANSWER_IS = re.compile(rf"{_ANSWER}[^.!?;\n。:]{{0,120}}?{_LINK}\s*:?", re.IGNORECASE)
ANSWER_IS_BEFORE = re.compile(
    rf"{_ANSWER}[^.!?;\n。:]{{0,120}}?{_LINK}\s*:?{_TO_OPTION}$"
    r"|(?:\b(?:answer|(?:correct|right|best|final|chosen|appropriate)\s+(?:option|choice|response|"
    r"selection))\b|答案|"
    r"\bans)[\s.:\]】]*(?:选项)?\s*$",
    re.IGNORECASE,
)
# "The answer choices that do not fit are: (A)", "The answer depends on whether ..."
OF_OTHERS = re.compile(
    r"\b(?:not|least|worst|false|choices|options|whether|if|wrong|incorrect|other|depends|between)\b|n't",
    re.IGNORECASE,
)
FINAL = re.compile(r"final|最终|最終", re.IGNORECASE)
CHOOSE_BEFORE = re.compile(
    r"(?:\b(?:choos(?:e|es|ing)|chose|chosen|select(?:s|ed|ing)?|pick(?:s|ed|ing)?|opt(?:s|ed|ing)? for|"
    r"go(?:es|ing)? (?:with|for)|went with|settl(?:e|ed|ing) (?:on|for)|vot(?:e|ed|ing) for|"
    r"(?:'d|would|'ll|will|must|can|could|might) (?:say|guess|answer|bet on)|(?:say|guess|answer)\s+with|"
    rf"identif(?:y|ied) as)\b\s*:?{_TO_OPTION}"
    r"|(?<![不别備备待候能])[选選](?!项|項)(?:择|擇|了|的是|取)?\s*:?(?:选项|選項|答案)?\s*)$",
    re.IGNORECASE,
)
IT_IS_BEFORE = re.compile(
    r"(?:\b(?:it(?:'s| is| must be| should be| would be| has to be| seems to be)|"
    r"that(?:'s| is| would be)|this is|(?:I|we)(?:'d| would)? (?:say|think|believe|guess|conclude|suspect)"
    r"(?: that)?(?: it(?:'s| is))?|must be|should be|guess|"
    rf"(?:only|one|option|choice|image|picture) that \w+[^.!?;\n]{{0,60}} is)\s*:?{_TO_OPTION}"
    r"|(?:我认为|我觉得|应该|应当|应|可能|就|而)(?:是|选|为)\s*)$",
    re.IGNORECASE,
)
SO_BEFORE = re.compile(
    r"(?:(?:^|[\s,;:.(])(?:so|thus|therefore|hence|consequently|ergo|accordingly|in conclusion|in summary|"
    r"overall|conclusion|finally|in short)|所以|因此|故|综上(?:所述)?|即|∴)"
    rf"\s*[,:]?\s*(?:then\s+)?(?:(?:{NOUN})\s+)?$",
    re.IGNORECASE,
)
CLAUSE_ENDS = re.compile(
    r"\s*(?:[.!?,;:。⟧)\n]|$|[-–—(]\s?|"
    r"\b(?:because|since|as|due|based|for|given|which|where|with|rather|instead|over|not)\b)",
    re.IGNORECASE,
)
_IS = r"(?:is|was|would be|must be|should be|has to be|looks|(?:seems|appears)(?: to be)?)"
_RIGHT = (
    r"(?:correct(?! (?:in|that|about))\b|right(?=\s*(?:[.!,;]|$|answer|choice|option|one|because|since))|"
    r"(?:final |best |correct )?(?:answer|choice|option)\b|(?:best|closest|most (?:accurate|appropriate|"
    r"likely|plausible|"
    r"suitable|similar|probable|reasonable|consistent|correct|\w+ly))\b|accurate\b|it(?=[.!,]|$))"
)
_FITS = (
    r"(?:(?:best|correctly|most \w+ly)\s+(?:describ|match|fit|represent|answer|complet|explain|captur|"
    r"reflect|"
    r"correspond|illustrat|identif)\w*|(?:fits|matches|works|describes\s[^.]{1,40}|"
    r"answers the question)\s+best\b)"
)
# Between a letter and its predicate may stand its text or an aside, but no other predicate.
_ITS_TEXT = (
    r"(?:\s*,[^,.!?\n]{1,80},)?"
    r"(?:(?:(?!\b(?:is|are|was|were|has|have|which|that|and|but|because|since)\b)[^.!?;\n。]){0,80}?[\s,])??"
)
IS_RIGHT_AFTER = re.compile(
    rf"[)\]⟧]?[.:]?{_ITS_TEXT}\s*(?:{_IS}\s+(?:(?:\w+ly|also|therefore|thus|the|my|a|indeed|"
    rf"in fact)\s+)*{_RIGHT}|{_FITS})"
    r"|\s*(?:选项|選項|项|項)?(?:是|为)?\s*(?:正确|正確|对的|正解|最佳|最?合适|最?符合|最?恰当|最?准确)"
    r"|[)\].:]?\s*(?:✅|✔|✓|☑)|\s+it is(?=\s*(?:[.!,]|$))"
    r"|\s+as (?:the|my) (?:final |correct )?(?:answer|choice)\b"
    r"|[.):]?[^.!?;\n。]{0,60}?\s*[-–—:]\s*(?:(?:this|that|it) is\s+)?(?P<verdict>correct|right|true|yes)"
    r"(?=\s*(?:[.,;!\n]|$))",
    re.IGNORECASE,
)
ONLY_BEFORE = re.compile(rf"\bonly\s+(?:(?:{NOUN})\s+)?$", re.IGNORECASE)
SUITS_AFTER = re.compile(
    r"\s+(?:makes (?:the most )?sense|fits|matches|works|satisfies|remains|is (?:consistent|left|"
    r"possible))\b",
    re.IGNORECASE,
)
IF_BEFORE = re.compile(r"\b(?:if(?! (?:i|we) (?:had|have|must)\b)|whether|unless)\b[^,;]*$", re.IGNORECASE)
# "The answer would be A if ..." says what isn't so.
SUPPOSED = re.compile(r"\bif\b.*\bwould\b|\bwould\b.*\bif\b", re.IGNORECASE)
CONCLUDES = re.compile(
    r"\b(?:so|thus|therefore|hence|consequently|in conclusion|to conclude|in summary|overall|finally|"
    r"ultimately|in the end|final|given (?:this|these|that)|based on (?:this|these|the above))\b"
    r"|所以|因此|综上|最终|最終|∴",
    re.IGNORECASE,
)
TAKES_BACK = re.compile(
    r"\b(?:wait|actually|correction|on second thought|let me (?:re|correct|double)|reconsider\w*|"
    r"re-?check\w*|"
    r"re-?examin\w+|sorry|my mistake|oops|scratch that|no,|was wrong|apologi[sz]e|"
    r"(?:up)?on closer (?:inspection|look)|upon further)|不对|等等|更正",
    re.IGNORECASE,
)
_STARTS_OVER = (
    r"(?:(?:^|(?<=[.!?…;,\n。—–]))[\s—–-]*(?:(?:oh|hm+|but|and|ah|or|well)\b[\s,.…—–-]*)*"
    r"(?:wait|actually|correction|on second thoughts?|scratch that|oops|my mistake|"
    r"no(?=\s*[,.:;!—–]|,? wait)|sorry|i mean|let me (?:re\w+|correct|double)[^.!?\n]{0,40}|"
    r"(?:up)?on (?:closer (?:inspection|look)|"
    r"(?:further )?reflection))\b|(?<=[.!?…;,\n。—–])\s*(?:不对|等等|更正))"
)
STARTS_OVER = re.compile(_STARTS_OVER, re.IGNORECASE | re.MULTILINE)
CORRECTS_BEFORE = re.compile(
    rf"{_STARTS_OVER}(?:[\s,.:;!…—–-]*(?:no|actually|it(?:'s| is| should be| must be)|that(?:'s| is)|"
    r"make that|i mean|should be|rather|是|应该是|应为))*[\s,.:;!…—–-]*$",
    re.IGNORECASE | re.MULTILINE,
)

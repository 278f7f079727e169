"""A metric by the words of a competition's page: "multi-class logarithmic loss", "mean column-wise ROC AUC".

Words become a set of marks, in which phrases are one mark and words that name no metric are dropped; a metric is meant
where its marks are exactly those. What is left over ("weighted AUC", "minimum F1") is another metric."""

import difflib
import re

_PHRASES = (  # in this order
    (r"area under (the )?(roc|receiver operating characteristics?|auc)( curve)?|\bauroc\b", " rocauc "),
    (r"area under (the )?curve", " rocauc "),
    (r"receiver operating characteristics?( curve)?", " rocauc "),
    (r"\b(roc )?auc( roc)?\b|\brocauc\b|\baucroc\b|\bmcauc\b", " rocauc "),
    (r"logarithmic loss|log loss|logloss|cross entropy|multi ?class loss", " logloss "),
    (r"(mean )?columns? ?wise (root mean squared? error|rmse)|\bmcrmse\b", " mcrmse "),
    (r"root mean squared? error|\brmse\b", " rmse "),
    (r"(mean|average) (absolute|average) (error|difference|deviation)|\bmae\b", " mae "),
    (r"coefficient of determination|r (squared?|2)\b|r\^2|\br2\b|r²", " r2 "),
    (r"spearman('?s)?( rank)?( correlation)?( coefficient)?|rank correlation", " spearman "),
    (r"matthews('?s)? correlation( coefficient)?|\bmcc\b|phi coefficient", " mcc "),
    (r"quadratic(ally)? weighted kappa|cohen('?s)? kappa|\bqwk\b|\bkappa\b", " kappa "),
    (r"(categori[sz]ation|classification|percent(age)?) accuracy|\baccuracy score\b", " accuracy "),
    (r"top 1 error( rate)?", " accuracy "),
    (r"\btop ?(\d+) error( rate)?", r" top@\1 "),
    (r"(top 1 )?(multi ?class )?(mis)?classification error( rate)?|\berror rate\b", " accuracy "),
    (r"balanced accuracy|mean recall|macro (averaged? )?recall|average recall", " balanced "),
    (r"probabilistic f ?1|\bpf1\b", " probabilistic f1 "),
    (r"\b(micro|macro|samples?|weighted) ?f ?(beta|\d+(\.\d+)?)\b", r" \1 f\2 "),
    (r"\bf ?(beta|\d+(?:\.\d+)?)\b", r" f\1 "),
    (r"\bf ?(measure|score)\b", " f1 "),
    (r"(mean average precision|\bmap)( at)? ?(\d+)", r" map@\3 "),
    (r"\btop ?(\d+)", r" top@\1 "),
    (r"above (an? )?(?:\d+(?:\.\d+)? ?(percent)?) ?(tpr|true positive rate|sensitivity)", " partial "),
)
_SAYS_NOTHING = re.compile(
    r"mean|averaged?|avg|hierarchical|scores?|the|of|a|an|at|between|and|by|for|per|class|classes|multi(class)?|binary|two"
    r"|columns?(wise)?|wise|metric|classification|images?|each|over|examples?|predict(ions?|ed)|observed|targets?|rows?"
    r"|(multi)?labels?|curve|value|loss"
)
_VOCABULARY = (
    "mean average macro micro samples root squared square absolute error rmse mae area under curve receiver operating "
    "characteristic roc auc logarithmic log loss logloss cross entropy weighted quadratic kappa qwk cohen accuracy "
    "balanced recall precision score beta measure classification categorization matthews correlation coefficient mcc "
    "spearman rank probabilistic top map multi class"
)
_AVERAGES = {"sample", "micro", "macro", "weighted"}
_OTHER = {
    "logloss": "log_loss", "rocauc": "roc_auc", "kappa": "quadratic_weighted_kappa", "balanced": "balanced_accuracy",
}  # fmt: skip


def named(words: str) -> tuple[list[str], set[str]]:
    """(the names of the metrics that these words may mean, the likelier first; the marks left where none fits)"""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", words)  # MeanFScore
    text = " " + re.sub(r"[^a-z0-9.²^@']+", " ", words.lower().replace("%", " percent ").replace("{k}", "")) + " "
    text = re.sub(r"(?<!\d)\.|\.(?!\d)", " ", text.replace("@", " at "))
    for pattern, mark in _PHRASES:
        text = re.sub(pattern, mark, re.sub(r" +", " ", text))
    marks = {word for word in text.split() if not _SAYS_NOTHING.fullmatch(word)}
    if "rocauc" in marks:  # of several classes or labels it is the mean over columns
        marks -= {"macro"}
    f = next((mark for mark in marks if re.fullmatch(r"f(\d+(\.\d+)?)", mark)), None)
    if f is not None:
        return _f_scores(f, marks - {f}), marks
    if marks == {"partial", "rocauc"}:
        return ["partial_roc_auc"], marks
    if marks == {"weighted", "logloss"}:
        return ["weighted_log_loss"], marks
    if len(marks) == 2 and "accuracy" in marks and (top := next((m for m in marks if m.startswith("top@")), "")):
        return [top], marks
    one = next(iter(marks)) if len(marks) == 1 else ""
    return [_OTHER.get(one, one)] if one and one != "weighted" else [], marks


def _f_scores(f: str, others: set[str]) -> list[str]:
    if others == {"probabilistic"}:
        return ["probabilistic_f1"] if f == "f1" else []
    if not others:  # of samples where it fits the task; of one class an image Kaggle's is micro
        return [f"{f}_samples", f, f"{f}_micro", f"{f}_macro"]
    kind = next(iter(others)).removesuffix("s") if len(others) == 1 else ""
    return [f"{f}_samples" if kind == "sample" else f"{f}_{kind}"] if kind in _AVERAGES else []


def percent_in(words: str) -> float | None:
    """0.8 of "above 80% TPR"."""
    found = re.search(r"(\d+(?:\.\d+)?) ?(?:%|percent)", words)
    return float(found[1]) / 100 if found else None


def corrected(words: str) -> str:
    """With each mistyped word replaced by the nearest that names of metrics have."""
    known = [word for word in _VOCABULARY.split() if len(word) > 2]
    typed = re.findall(r"[^\s,;-]+", words.lower())
    return " ".join(next(iter(difflib.get_close_matches(word, known, 1, 0.74)), word) for word in typed)

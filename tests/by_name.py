"""Metrics, and folders of folds, by their names."""

from kit.metrics import find_metric
from kit.run.files import RunFiles


def score(name, targets, predictions, params={}):
    return find_metric(name).score(targets, predictions, params)


def decide(name, labels, predictions, params={}):
    return find_metric(name).decide(predictions, labels, params)


def decide_for(name, targets, predictions, params={}):
    return find_metric(name).decide_for(targets, predictions, params)


def measure(name, targets, decisions):
    return find_metric(name).measure(targets, decisions)


def fit(name, targets, predictions, plain):
    return find_metric(name).fit(targets, predictions, plain)


def fold_folder(workspace, name, fold):
    return RunFiles(workspace.run(name)).fold(fold).folder

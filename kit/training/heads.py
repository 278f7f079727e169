"""Linear heads on features: all folds and all penalties fitted together, by L-BFGS on every problem at once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from torch.nn import functional as F

from kit.tasks import Outputs

HISTORY, ROUNDS, HALVINGS = 8, 150, 12
TOLERANCE = 1e-4  # of the gradient's norm, against the first one's
MOST_NUMBERS = 100_000_000  # outputs (rows x problems x classes) held at once


@dataclass(frozen=True)
class Problem:
    """`features` float32 (N, D); `targets` int64 (N,) (classes, ordinal) or float32 (N, C) (labels, standardised
    numbers); `outputs.count`: C."""

    features: torch.Tensor
    targets: torch.Tensor
    outputs: Outputs


@dataclass(frozen=True)
class Heads:
    """`weight` float32 (problems, C, D) and `bias` (problems, C)."""

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True)
class FittedHeads:
    """`weight` (K, C, D), `bias` (K, C): a head per fold, or one for all images; `penalties` (K,): each head's. `paths`
    float (num_folds, S): loss on each fold's own images, for each penalty, by a head that never saw them."""

    weight: torch.Tensor
    bias: torch.Tensor
    penalties: list[float]
    paths: np.ndarray


def fit_folds(problem: Problem, folds: np.ndarray, penalties: tuple[float, ...], full: bool = False) -> FittedHeads:
    """Every fold's head with a penalty that its own labels had no part in choosing; with `full`, one head for all.
    (What does not depend on labels, the features' means and stds, is from all training images.)

    The problem's features are (views, N, D) here, `folds` int64 (N,). For each pair of folds and each penalty a head is
    fitted that saw neither: fold i takes the penalty whose heads without i do best on the other folds."""
    views, _, width = problem.features.shape
    count = int(folds.max()) + 1
    away: list[tuple[int, ...]] = [(i,) for i in range(count)]
    if not full:
        away += combinations(range(count), 2)
    absent = np.array([[fold in left for left in away] for fold in range(count)])  # (fold, problem)
    kept = torch.from_numpy(~absent[folds]).repeat(views, 1)  # a row per view and image
    targets = problem.targets.repeat(views, *[1] * (problem.targets.ndim - 1))
    flat = replace(problem, features=problem.features.reshape(-1, width), targets=targets)
    strengths = torch.tensor(penalties)
    heads = fit_heads(flat, kept.repeat_interleave(len(penalties), dim=1), strengths.repeat(len(away)))
    losses = np.full((len(away), count, len(penalties)), np.nan)  # of each problem, on each fold it left out
    for number, left in enumerate(away):
        part = slice(number * len(penalties), (number + 1) * len(penalties))
        own = Heads(heads.weight[part], heads.bias[part])
        for fold in left:
            losses[number, fold] = _held_out(own, flat, torch.from_numpy(folds == fold).repeat(views))
    paths = losses[np.arange(count), np.arange(count)]
    if full:
        best = int(paths.mean(axis=0).argmin())
        one = fit_heads(flat, torch.ones(len(targets), 1, dtype=torch.bool), strengths[[best]])
        return FittedHeads(one.weight, one.bias, [penalties[best]], paths)
    chosen = [_choice(fold, away, losses) for fold in range(count)]
    places = [fold * len(penalties) + best for fold, best in enumerate(chosen)]
    picked = [penalties[best] for best in chosen]
    return FittedHeads(heads.weight[places], heads.bias[places], picked, paths)


def _choice(fold: int, away: list[tuple[int, ...]], losses: np.ndarray) -> int:
    """The place of the penalty that does best on the other folds, by heads that saw neither them nor `fold`."""
    pairs = [(problem, left) for problem, left in enumerate(away) if len(left) == 2 and fold in left]
    others = [losses[problem, other] for problem, left in pairs for other in left if other != fold]
    return int(np.mean(others, axis=0).argmin())


def _held_out(heads: Heads, problem: Problem, rows: torch.Tensor) -> np.ndarray:
    """float (heads,): mean loss of each head on `rows`, bool (N,)."""
    outputs = torch.einsum("nd,pcd->npc", problem.features[rows], heads.weight) + heads.bias
    return _losses(outputs, problem.targets[rows], problem.outputs)[0].double().mean(dim=0).numpy()


def fit_heads(problem: Problem, rows: torch.Tensor, penalties: torch.Tensor) -> Heads:
    """For each problem p, minimise the mean loss over its rows plus `penalties[p]` / 2 times the squared weights.
    `rows` bool (N, P): which images each problem uses; `penalties` float32 (P,), on features of variance 1. The loss is
    cross-entropy, binary cross-entropy, or half the squared error. Biases are not penalised."""
    features, targets, outputs = problem.features, problem.targets, problem.outputs
    if outputs.task in {"classes", "ordinal"} and outputs.count == 2:  # one mirrors the other: half the work
        one = fit_heads(Problem(features, targets[:, None].float(), Outputs(1, "labels")), rows, penalties / 2)
        return Heads(torch.cat([-one.weight, one.weight], 1) / 2, torch.cat([-one.bias, one.bias], 1) / 2)
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
    seen = torch.cat([(features - mean) / std, torch.ones(len(features), 1)], dim=1)  # the last weight is the bias
    at_once = max(1, MOST_NUMBERS // (len(features) * outputs.count))
    parts = []
    for start in range(0, len(penalties), at_once):
        share = rows[:, start : start + at_once].float()
        weights = share / share.sum(dim=0).clamp(min=1)
        objective = _objective(seen, targets, weights, penalties[start : start + at_once], outputs)
        parts.append(_minimise(objective, torch.zeros(share.shape[1], outputs.count, seen.shape[1])))
    solved = torch.cat(parts)
    weight = solved[..., :-1] / std
    return Heads(weight, solved[..., -1] - weight @ mean)


Value = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""solutions (P, C, D) -> (values float64 (P,), gradients (P, C, D))"""


def _objective(
    seen: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, penalties: torch.Tensor, meaning: Outputs
) -> Callable[[torch.Tensor], Value]:
    """The objective of a subset of the problems, given by their numbers."""

    def some(problems: torch.Tensor) -> Value:
        share, strength = weights[:, problems].contiguous(), penalties[problems, None, None]

        def value(solution: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            count, outputs, width = solution.shape
            said = (seen @ solution.reshape(-1, width).T).view(len(seen), count, outputs)
            losses, slopes = _losses(said, targets, meaning)
            gradient = ((slopes * share[..., None]).reshape(len(seen), -1).T @ seen).view_as(solution)
            decayed = solution * strength
            decayed[..., -1] = 0
            costs = (losses.double() * share).sum(dim=0) + 0.5 * (decayed * solution).double().sum(dim=(1, 2))
            return costs, gradient + decayed

        return value

    return some


def _losses(said: torch.Tensor, targets: torch.Tensor, outputs: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
    """(losses (N, P), their gradients (N, P, C)) of outputs (N, P, C)."""
    if outputs.task in {"classes", "ordinal"}:
        logs = said.log_softmax(dim=2)
        place = targets[:, None, None].expand(-1, said.shape[1], 1)
        return -logs.gather(2, place)[..., 0], logs.exp().scatter_add_(2, place, -torch.ones_like(said[..., :1]))
    wanted = targets[:, None].expand_as(said)
    if outputs.parts:
        logs = torch.cat([part.log_softmax(dim=2) for part in said.split(outputs.parts, dim=2)], dim=2)
        return -(wanted * logs).sum(dim=2) / len(outputs.parts), (logs.exp() - wanted) / len(outputs.parts)
    if outputs.task == "labels":
        losses = F.binary_cross_entropy_with_logits(said, wanted, reduction="none")
        return losses.mean(dim=2), (said.sigmoid() - wanted) / said.shape[2]
    return 0.5 * (said - wanted).square().sum(dim=2), said - wanted


def _minimise(objective: Callable[[torch.Tensor], Value], start: torch.Tensor) -> torch.Tensor:
    """L-BFGS (Nocedal & Wright 2006, algorithm 7.4) with a backtracking search, for every problem at once. Solved
    problems are dropped once they are a quarter of all."""
    solved, problems = start.clone(), torch.arange(len(start))
    value = objective(problems)
    solution, (cost, slope) = start, value(start)
    first = slope.flatten(1).norm(dim=1).clamp(min=1e-12)
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    open_ = torch.ones_like(cost, dtype=torch.bool)
    for _ in range(ROUNDS):
        open_ &= slope.flatten(1).norm(dim=1) > TOLERANCE * first
        if open_.sum() <= 0.75 * len(open_):
            solved[problems] = solution
            if not open_.any():
                return solved
            solution, cost, slope, first, problems = (x[open_] for x in (solution, cost, slope, first, problems))
            pairs = [(step[open_], turn[open_]) for step, turn in pairs]
            value, open_ = objective(problems), open_[open_]
        direction = -_times_inverse_hessian(slope.flatten(1), pairs)
        descent = (direction * slope.flatten(1)).sum(dim=1)
        length = torch.where(open_ & (descent < 0), 1.0, 0.0)
        if not pairs:
            length = length / first
        for _ in range(HALVINGS):
            tried = solution + (length[:, None] * direction).view_as(solution)
            new_cost, new_slope = value(tried)
            enough = (new_cost <= cost + 1e-4 * length * descent) | (length == 0)
            if enough.all():
                break
            length = torch.where(enough, length, length * 0.5)
        moved = enough & (length > 0)
        open_ &= moved  # solved, as no step lowers its cost in float32
        keep = moved[:, None, None]
        step = torch.where(keep, tried - solution, 0.0)
        turn = torch.where(keep, new_slope - slope, 0.0)
        pairs = [*pairs, (step.flatten(1), turn.flatten(1))][-HISTORY:]
        solution = torch.where(keep, tried, solution)
        slope, cost = torch.where(keep, new_slope, slope), torch.where(moved, new_cost, cost)
    solved[problems] = solution
    return solved


def _times_inverse_hessian(slope: torch.Tensor, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The two-loop recursion, row by row; a pair without curvature (a problem that did not move) is ignored."""
    result, alphas = slope.clone(), []
    facts = []
    for step, turn in pairs:
        curvature = (step * turn).sum(dim=1)
        facts.append(torch.where(curvature > 1e-12, 1 / curvature.clamp(min=1e-12), 0.0))
    for (step, turn), inverse in zip(reversed(pairs), reversed(facts), strict=True):
        alpha = inverse * (step * result).sum(dim=1)
        result -= alpha[:, None] * turn
        alphas.append(alpha)
    if pairs:
        scale = torch.ones(len(slope))
        for (step, turn), inverse in zip(pairs, facts, strict=True):  # the latest that has curvature
            ratio = (step * turn).sum(dim=1) / turn.square().sum(dim=1).clamp(min=1e-30)
            scale = torch.where(inverse > 0, ratio, scale)
        result *= scale[:, None]
    for (step, turn), inverse, alpha in zip(pairs, facts, reversed(alphas), strict=True):
        beta = inverse * (turn * result).sum(dim=1)
        result += (alpha - beta)[:, None] * step
    return result

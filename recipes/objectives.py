"""Optional terms of the twin objective; with every one off the loss is DPOTrainer's own.

Notation as in `twin_trainer.py`: m1, m2 are the margins of the two halves of a twin, beta times log-ratios.

- joint term, `joint_weight` w: + w * mean over twins of -logsigmoid(m1 + m2). IOPO, arXiv 2411.06208, whose groups
  (s1, y1), (s2, y2) > (s1, y2), (s2, y1) are exactly twins. There it is the whole objective; alone it
  lets m1 >> 0 > m2, so here it is added.
- score offset, `score_offset` a: -logsigmoid(m - a * log(1 + gap)) in place of -logsigmoid(m), gap = |score_chosen -
  score_rejected|, 0-100. ODPO, arXiv 2402.10571; its log(gap) diverges for equal scores, hence 1 + gap, and its sign is
  gone, because a low score is what the system prompt of half the rows asks for.
- SFT term: `loss_type: [sigmoid, sft]` with `loss_weights`, TRL's (RPO, arXiv 2404.19733).
- length-normalised: `loss_type: [sigmoid_norm]`, TRL's (Tulu 3, arXiv 2411.15124): log-ratios per token, so beta is
  larger by about the length of a response.
- plain shuffled DPO, as arXiv 2506.11702: `twin_batching: false`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional

# Losses in which a shift of the reference by offset / beta is the offset of the formula above.
OFFSET_LOSSES = frozenset({"sigmoid", "sft"})


def whole_twins(twin_index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions in the batch of the first and of the second row of every whole twin, each of shape (n_twins,).

    Args:
        twin_index: shape (n_pairs,); two rows with the same value >= 0 are a twin.
    """
    first, second = torch.nonzero(torch.triu(twin_index[:, None] == twin_index[None, :], diagonal=1), as_tuple=True)
    whole = twin_index[first] >= 0
    return first[whole], second[whole]


def joint_loss(margins: torch.Tensor, twin_index: torch.Tensor) -> torch.Tensor:
    """Mean over the whole twins of a batch of -logsigmoid(m1 + m2); 0, with its gradient, if there is none.

    Args:
        margins: m of each pair, shape (n_pairs,), reward units.
        twin_index: as in `whole_twins`.
    """
    first, second = whole_twins(twin_index)
    terms = -functional.logsigmoid(margins[first] + margins[second])
    return terms.sum() / max(len(first), 1)


def offsets(score_gap: torch.Tensor, weight: float) -> torch.Tensor:
    """`weight` * log(1 + gap) of each pair, reward units; `score_gap` in points of 0-100, shape (n_pairs,)."""
    return weight * torch.log1p(score_gap)

r"""Do person maps hold something of the person? Their effect on new pictures, against controls.

    python benchmarks/specificity_effect.py $LEAM_ASSETS/lfw --models dlib_resnet,examples/cards/... \
        --work specificity_effect.work --out benchmarks/specificity_effect.json --page docs/method.md

**Data.** 80 people with four pictures (``lfw/people``) develop: they choose the estimate and give the variances that
shrinkage needs. 120 other people with four pictures and the 39 people of ``lfw/many`` (14 pictures each) judge. Nobody
is in both.

**Settings.** ``same``: the map of one picture, its mask on that picture; the mate is the mean embedding of the person's
other pictures. ``new``: the map of k pictures, its mask on pictures that it was not made of; the mate is the mean
embedding of the map's pictures. k is 1 and 3 for people with four pictures, and 1, 3, 6 and 10 for ``lfw/many``.

**Masks.** The top 1 % of the person's map (own), of another person's map from as many pictures (other), of the mean map
of all other people (population); and the same three from edge maps (no network).

**Measured.** Similarity drops, and drops per changed pixel energy, for the fills mean, blur, local_blur and black;
margins paired over people, with intervals and Cohen's d. Overlap of critical masks of person maps from disjoint pictures,
same person against different people, and the same for edge maps.

**Estimates**, named before any result was seen: the mean; distinctive ``M log(M / P)``, the difference ``M - P`` and the
ratio ``M / P``, with M the person's mean map and P the population's; shrinkage ``P + w (M - P)`` with
``w = B / (B + W / k)`` from the variance between people B and within people W, one weight for all pixels, per pixel, per
spatial frequency (cosine transform) or in the subspace of the population's principal components; emphasis
``P + g (M' - P)`` of a shrunk map M', g > 1; the residual after a regression on the pose; averages over horizontal
flips and shifts. Each with smoothing of 0 to 0.05 of the side.

**Rule**, written before looking: on the people that develop, for every estimate the mean over recognizers of the paired
d is taken in eight cells: {same, new with k = 1} x {mean, local_blur} x {against other, against population}. The estimate
with the largest smallest cell is chosen; within 0.02 of it, the simplest. It is then judged once on the people that judge.
The goal is that all eight margins have intervals above zero, and exceed those of edges, on nine of eleven recognizers.
"""

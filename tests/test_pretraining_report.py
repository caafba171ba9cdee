"""What a page says of encoders that were pre-trained on different audio: planted effects, and none."""

import itertools

import numpy as np

from jaxemo.analysis.emotion_profiles import kendall_tau
from jaxemo.report.contents import content_of
from jaxemo.report.sections.pretraining import pretraining_section
from jaxemo.results.contents import Results
from jaxemo.results.layer_rows import LayerChoiceRow
from jaxemo.results.shift_rows import EmotionShiftRow, EmotionShiftTestRow

# UA in song and in speech of each seed: music helps song, and speech by chance alone.
SCORES = {
    "speech": {"music": (0.40, 0.42, 0.41), "speech": (0.45, 0.44, 0.46)},
    "music": {"music": (0.50, 0.51, 0.52), "speech": (0.46, 0.42, 0.47)},
}


def row(encoder, domain, mean, *, origin="local"):
    return LayerChoiceRow(
        encoder=encoder,
        origin=origin,
        domain=domain,
        layer=None,
        mean=mean,
        low=None,
        high=None,
        p_value=None,
        p_corrected=None,
        speakers=24,
        reason="",
        chosen=None,
        n=100,
        folds=6,
        seeds=1,
        chance=0.125,
    )


def section_of(num_seeds, *, names="{kind}-{seed}"):
    rows = [
        row(names.format(kind=kind, seed=seed), domain, scores[domain][seed])
        for kind, scores in SCORES.items()
        for domain in ("speech", "music")
        for seed in range(num_seeds)
    ]
    control = [row("untrained small encoder", "music", 0.35, origin="untrained")]
    return pretraining_section(content_of(Results(layer_choices=(*rows, *control))))


def test_an_effect_is_told_with_its_size_and_interval_over_seeds():
    section = section_of(3)
    said = {one.about: one.says for one in section.findings}
    # 0.10, 0.09, 0.11: mean 0.10, and 4.303 * 0.01 / sqrt(3) to either side; t = 17.3, p = 0.0033, twice.
    assert said["emotion in music (UA at the chosen layer)"] == (
        "differs with what was heard, in points: music minus speech +10.0 [+7.5, +12.5] (p = 0.007) "
        "(means and 95 % intervals over 3 seeds, Holm's correction over 2 differences). The same network "
        "without learning has 35.0; against it, speech +6.0, music +16.0."
    )
    assert said["emotion in speech (UA at the chosen layer)"].startswith("is not seen to differ")
    assert "cannot tell what models of a hundred times the size" in section.findings[-1].says


def test_two_seeds_have_no_interval():
    said = [one.says for one in section_of(2).findings]
    assert said[1].startswith(
        "was measured on too few seeds for an interval, in points: music minus speech +9.5 ("
    )


def test_the_table_has_every_figure_in_its_unit():
    shifts = tuple(
        shift_row(f"{kind}-{seed}", emotion, mean)
        for kind, mean in {"speech": 4.0, "music": 6.5}.items()
        for seed in range(3)
        for emotion in EMOTIONS
    )
    (table,) = pretraining_section(content_of(Results(emotion_shifts=shifts))).tables
    assert table.rows[0][0].endswith("domains, squared within-cell standard deviations")
    assert table.rows[0][2].text == "+2.50"


def test_an_effect_that_only_one_of_many_differences_shows_is_not_claimed():
    """Beyond chance alone (p = 0.02), not as the first of six."""
    rows = [
        row(f"{kind}-{seed}", domain, mean)
        for domain in ("speech", "music")
        for kind, means in {
            "speech": (0.40, 0.42, 0.44),
            "music": (0.44, 0.45, 0.49) if domain == "music" else (0.41, 0.42, 0.42),
            "both": (0.39, 0.44, 0.43),
        }.items()
        for seed, mean in enumerate(means)
    ]
    section = pretraining_section(content_of(Results(layer_choices=tuple(rows))))
    (in_music,) = (one.says for one in section.findings if one.about.startswith("emotion in music"))
    assert "is not seen to differ" in in_music
    assert "music minus speech +4.0 [+1.5, +6.5]" in in_music


def test_encoders_of_other_names_have_no_such_section():
    section = section_of(3, names="{kind}-model-{seed}")
    assert section.findings == [] and section.tables == []


EMOTIONS = ("calm", "happy", "sad", "angry")
# What an encoder orders the emotions by; noise of a seed exchanges neighbours.
ORDERS = {
    "speech": ("calm", "happy", "sad", "angry"),
    "music": ("angry", "sad", "happy", "calm"),
    "both": ("sad", "calm", "angry", "happy"),
}


def order_rows(orders, *, seeds=(0, 1, 2)):
    """Rows of every pair of encoders whose kinds order the emotions so."""
    names = [(kind, seed) for kind in orders for seed in seeds]
    for first, second in itertools.combinations(names, 2):
        places = [
            [orders[kind].index(emotion) for emotion in EMOTIONS] for kind, _ in (first, second)
        ]
        yield EmotionShiftTestRow(
            test="encoders_differ",
            encoder="-".join(map(str, first)),
            other_encoder="-".join(map(str, second)),
            origin="local",
            layer=None,
            control="none",
            measure="shift",
            statistic=1.0,
            p_value=0.001 if first[0] != second[0] else 0.5,
            tau=kendall_tau(*(np.array(place, float) for place in places)),
            emotions=4,
            speakers=24,
            permutations=1000,
        )


def order_findings(orders, **options):
    tests = tuple(order_rows(orders, **options))
    scores = tuple(
        row(f"{kind}-{seed}", "music", 0.4)
        for kind in orders
        for seed in options.get("seeds", range(3))
    )
    section = pretraining_section(
        content_of(Results(layer_choices=scores, emotion_shift_tests=tests))
    )
    return {one.about: one.says for one in section.findings}


def test_kinds_that_order_the_emotions_each_in_its_own_way_are_told_apart():
    said = order_findings(ORDERS)
    assert said["order"].startswith("What was heard changes which emotions lie near")
    assert "tau +1.00 where they heard the same kind" in said["order"]
    # Six of the 216 arrangements give every seed the same exchange of names.
    assert "p = 0.028" in said["order"] and "216 arrangements" in said["order"]
    assert "27 of 27 pairs that heard different kinds" in said["order over speakers"]
    assert "0 of 9 pairs that heard the same kind" in said["order over speakers"]


def test_kinds_that_order_alike_are_not():
    said = order_findings(dict.fromkeys(ORDERS, ORDERS["speech"]))
    assert said["order"].startswith("What was heard is not seen to change")
    assert "p = 1.000" in said["order"]


def test_many_seeds_are_tested_on_a_draw_that_holds_what_was_seen():
    said = order_findings(ORDERS, seeds=range(7))
    assert "10001 arrangements" in said["order"] and "p = 0.0002 " in said["order"]


def shift_row(encoder, emotion, mean):
    return EmotionShiftRow(
        encoder=encoder,
        origin="untrained" if encoder == "untrained" else "local",
        layer=None,
        control="none",
        measure="shift",
        emotion=emotion,
        mean=float(mean),
        low=None,
        high=None,
        speakers=24,
        paired=True,
        d=None,
        variance_kept=None,
    )


def test_the_spread_of_shifts_is_told_beside_that_of_a_network_without_learning():
    shifts = {"speech": (1, 1, 2, 4), "music": (1, 1, 1, 1), "untrained": (2, 2, 2, 6)}
    rows = tuple(
        shift_row(kind if kind == "untrained" else f"{kind}-{seed}", emotion, mean)
        for kind, means in shifts.items()
        for seed in range(3 if kind != "untrained" else 1)
        for emotion, mean in zip(EMOTIONS, means, strict=True)
    )
    findings = pretraining_section(content_of(Results(emotion_shifts=rows))).findings
    # Deviations 1.2247 of a mean of 2, and 1.7321 of a mean of 3.
    (bias,) = (one.says for one in findings if one.about.startswith("emotion bias"))
    assert bias.endswith(
        "without learning has 0.577; against it, speech +0.04, music \N{MINUS SIGN}0.58."
    )

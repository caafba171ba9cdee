"""What a page says of encoders that were pre-trained on different audio: planted effects, and none."""

from jaxemo.report.contents import content_of
from jaxemo.report.sections.pretraining import pretraining_section
from jaxemo.results.contents import Results
from jaxemo.results.layer_rows import LayerChoiceRow

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
    said = [one.says for one in section_of(3).findings]
    # 0.10, 0.09, 0.11: mean 0.10, and 4.303 * 0.01 / sqrt(3) to either side.
    moved = (
        "Pre-training on music instead of speech moves emotion in music (UA at the chosen layer): "
    )
    assert f"{moved}+10.0 points [+7.5 points, +12.5 points], over 3 seeds." in said
    assert any("does not move beyond chance over seeds emotion in speech" in one for one in said)
    assert any("music +16.0 points" in one and "speech +6.0 points" in one for one in said)
    assert "cannot tell what models of a hundred times the size" in said[-1]


def test_two_seeds_have_no_interval():
    said = [one.says for one in section_of(2).findings]
    assert all("too few for an interval" in one for one in said if "instead of" in one)


def test_encoders_of_other_names_have_no_such_section():
    section = section_of(3, names="{kind}-model-{seed}")
    assert section.findings == [] and section.tables == []

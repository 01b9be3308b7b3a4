"""Drawn abilities on images: reading, counting, places, several images, text in between."""

from evalkit.probe.tasks import probe_task

tasks = (
    probe_task(
        name="probe_reading_order",
        category="image",
        title="Probe: reading order",
        tags=("probe",),
        notes="Two columns of words: what comes after a word in the line, at a line's end, at a column's "
        "end.",
    ),
    probe_task(
        name="probe_row_column",
        category="image",
        title="Probe: row and column reading",
        tags=("probe",),
        notes="A square of letters: which option is row or column k; the others are the row or column that "
        "crosses it, the same backwards, and the one beside it.",
    ),
    probe_task(
        name="probe_table",
        category="image",
        title="Probe: tables",
        tags=("probe",),
        notes="The number in the row of a name and the column of a month.",
    ),
    probe_task(
        name="probe_counting",
        category="image",
        title="Probe: counting",
        tags=("probe",),
        notes="Objects of one kind among half as many others; the options are four numbers in a row.",
    ),
    probe_task(
        name="probe_relation2",
        category="image",
        title="Probe: relative position of two objects",
        tags=("probe",),
        notes="Left, right, above or below, at most 17 degrees off the axis.",
    ),
    probe_task(
        name="probe_relation3",
        category="image",
        title="Probe: order of three objects",
        tags=("probe",),
        notes="From left to right or from top to bottom; the options are four of the six orders.",
    ),
    probe_task(
        name="probe_small_object",
        category="image",
        title="Probe: small object in a large image",
        tags=("probe",),
        notes="Colour and shape of one object in an image of 2,016 pixels a side; the object has 168 to 16 "
        "pixels.",
    ),
    probe_task(
        name="probe_aspect_ratio",
        category="image",
        title="Probe: high aspect ratios",
        tags=("probe",),
        notes="A strip of 450,000 pixels, lying or standing, with eight objects: which one is next to "
        "another.",
    ),
    probe_task(
        name="probe_several_images",
        category="image",
        title="Probe: several images",
        tags=("probe",),
        notes="Numbered images of three objects each: in which one an object is.",
    ),
    probe_task(
        name="probe_fading",
        category="image",
        title="Probe: text between image and question",
        tags=("probe",),
        notes="What is in a corner of an image, asked after a story that has nothing to do with it: does "
        "the image fade? 24,000 words are some 30,000 tokens; `evalkit probe` prints the prompt's "
        "length in tokens.",
    ),
)

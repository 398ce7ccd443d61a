"""The Gradio Space of cmr_hf: hand in a study, see it recognised, segmented and measured.

    make space                 # from the repository, then http://127.0.0.1:7860
    python app.py              # as a Space of the Hugging Face Hub runs it

Environment: CMR_SPACE_WORKERS studies at a time (1), CMR_SPACE_QUEUE places in the queue (32).
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmr_space.accelerator import lent_gpu  # noqa: F401  (before torch: ZeroGPU has to come first)
from cmr_space.memory import give_back, keep_small
from cmr_space.sessions import Sessions

keep_small()
SESSIONS = Sessions()
os.environ["GRADIO_TEMP_DIR"] = str(SESSIONS.shown)  # read by gradio when it is imported
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr  # noqa: E402
from cmr_space import pages, working  # noqa: E402
from cmr_space.receiving import TAKEN, receive  # noqa: E402
from cmr_space.theme import DARK_JS, THEME  # noqa: E402
from cmr_space.uploads import keep_apart  # noqa: E402
from cmr_space.viewing import thumbnail  # noqa: E402

import cmr_hf  # noqa: E402

logger = logging.getLogger("cmr_space")
PAGE = Path(__file__).parent / "page"
WORKERS = int(os.environ.get("CMR_SPACE_WORKERS", "1"))
QUEUE = int(os.environ.get("CMR_SPACE_QUEUE", "32"))
MOST_UPLOAD = "2gb"
EXAMPLE, COVER = "sax_cine", "slice04_phase25.dcm"
FAILED = "Something went wrong on this side. Try once more; if it happens again, report what kind of file it was."
WAITING = "The models are at work. A short-axis cine takes from ten seconds to a few minutes on a CPU."
NOTHING = (None, "", "")
Outputs = tuple[Any, ...]


def take_in(uploads: list[str] | None, token: str, request: gr.Request) -> Outputs:
    """Uploads → a session without identity. Returns token, message, an empty upload field."""
    SESSIONS.end(token)
    token = SESSIONS.open(request.session_hash)
    private, _ = SESSIONS.folders(token)
    try:
        received = receive([Path(path) for path in uploads or []], private, SESSIONS.discard)
    except ValueError as error:
        SESSIONS.end(token)
        return "", pages.message(str(error), "alarm"), None
    except Exception as error:
        SESSIONS.end(token)
        logger.error("taking in failed: %s", type(error).__name__)  # its text may hold names
        return "", pages.message(FAILED, "alarm"), None
    return token, pages.message(pages.taken_in(received)), None


def assess_session(
    token: str,
    shows: str,
    pixel_mm: float | None,
    height_cm: float | None,
    weight_kg: float | None,
    haematocrit: float | None,
    told: str,
) -> Iterator[Outputs]:
    """A session → message, viewer, figures, downloads."""
    if not token:
        yield told or pages.message(f"There is nothing to assess yet. Hand in {TAKEN}.", "alarm"), *NOTHING
        return
    yield told.replace("</div>", f"<p>{WAITING}</p></div>") if told else pages.message(WAITING), *NOTHING
    try:
        private, shown = SESSIONS.folders(token)
        options = working.Options(shows, pixel_mm or None, height_cm or None, weight_kg or None, haematocrit or None)
        working.work(private, shown, options)
        made = _results(shown, "Done. Everything below can be downloaded; it goes when you close the page.")
    except Exception as error:
        made = (pages.message(_words(error), "alarm"), *NOTHING)
    finally:
        SESSIONS.settle(token)
        give_back()
    yield made


def show_example() -> Iterator[Outputs]:
    """The built-in study, assessed once a process → token (none), message, viewer, figures, downloads."""
    yield "", pages.message(f"{pages.SAMPLE}\n{WAITING}"), *NOTHING
    folder = SESSIONS.kept / EXAMPLE
    try:
        if not (folder / "shown" / "view" / "received.json").is_file():
            for part in ("private", "shown"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            if not (folder / "private" / "received.json").is_file():
                receive(sorted(cmr_hf.sample(EXAMPLE).glob("*.dcm")), folder / "private")
            working.work(folder / "private", folder / "shown", working.Options())
        yield "", *_results(folder / "shown", pages.SAMPLE)
    except Exception as error:
        yield "", pages.message(_words(error), "alarm"), *NOTHING


def assess_api(
    files: list[str] | None,
    shows: str = "short-axis cine",
    pixel_mm: float | None = None,
    height_cm: float | None = None,
    weight_kg: float | None = None,
    haematocrit: float | None = None,
) -> tuple[dict[str, Any], str]:
    """For `gradio_client`: files → the content of assessment.json, and a zip of everything.

    Raises:
        gr.Error: with the same words as on the page.
    """
    token = SESSIONS.open()  # of no page: a program's connection may break and come back while it waits
    private, shown = SESSIONS.folders(token)
    try:
        receive([Path(path) for path in files or []], private, SESSIONS.discard)
        options = working.Options(shows, pixel_mm or None, height_cm or None, weight_kg or None, haematocrit or None)
        working.work(private, shown, options)
        made = json.loads((shown / "out" / "assessment.json").read_text(encoding="utf-8"))
        SESSIONS.keep_only(token, "cmr_assessment.zip")
        return made, str(shown / "cmr_assessment.zip")
    except Exception as error:
        SESSIONS.end(token)
        raise gr.Error(_words(error), print_exception=False) from None
    finally:
        give_back()


def forget(request: gr.Request) -> None:
    """The page was closed: all that it brought about goes."""
    SESSIONS.end_page(request.session_hash)


def _results(shown: Path, words: str) -> Outputs:
    return pages.message(words, "done"), pages.manifest(shown), pages.figures(shown), pages.downloads(shown)


def _words(error: Exception) -> str:
    if isinstance(error, (ValueError, KeyError)):
        return str(error.args[0]) if error.args else FAILED
    logger.error("assessing failed: %s", type(error).__name__, exc_info=error)
    return FAILED


def build() -> gr.Blocks:
    """The page and its endpoints."""
    viewer = (PAGE / "viewer.js").read_text(encoding="utf-8")
    with gr.Blocks(title="Cardiac MR, measured: cmr_hf", analytics_enabled=False, delete_cache=(300, 3600)) as page:
        token = gr.State("")
        gr.HTML(pages.HEAD + pages.RESEARCH, elem_id="head")
        with gr.Row(equal_height=False, elem_id="entry"):
            with gr.Column(scale=3, min_width=280):
                upload = gr.File(
                    label="Your study: DICOM (zip or files), NIfTI or a grey picture, at most 2 GB",
                    file_count="multiple",
                    height=216,
                    elem_id="upload",
                )
            with gr.Column(scale=2, min_width=260):
                gr.HTML(pages.sample_card(thumbnail(cmr_hf.sample(EXAMPLE) / COVER)), elem_id="sample")
                example = gr.Button("Show a real heart", variant="primary", elem_id="example")
                with gr.Accordion("Say more about it (optional)", open=False):
                    options = _options()
                    again = gr.Button("Assess again with these", elem_id="again")
        start = pages.message("Hand in a study, or look at the one that is here.")
        status = gr.HTML(start, elem_id="status", min_height=64)
        pictures = gr.HTML(None, html_template="", js_on_load=viewer, elem_id="pictures")
        figures = gr.HTML("", elem_id="figures")
        downloads = gr.HTML("", elem_id="downloads")
        gr.HTML(pages.models_table(working.roles()), elem_id="models")
        _endpoint()

        shown = [status, pictures, figures, downloads]
        about = {"concurrency_id": "models", "concurrency_limit": WORKERS, "show_progress_on": status}
        assess = {"fn": assess_session, "inputs": [token, *options, status], "outputs": shown, **about}
        hidden = {"api_visibility": "private"}
        upload.upload(
            take_in, [upload, token], [token, status, upload], concurrency_limit=4, show_progress_on=status, **hidden
        ).then(**assess, **hidden)
        again.click(assess_session, [token, *options, gr.State("")], shown, **about, **hidden)
        example.click(show_example, None, [token, *shown], **about, **hidden)
        page.unload(forget)
    return page.queue(max_size=QUEUE, status_update_rate=2, api_open=False)


def _options() -> list[gr.components.Component]:
    """What a person may say beside the files."""
    recognises = all(working.roles()[name]["model"] for name in ("image-type", "cine-view"))
    start = working.BY_MODEL if recognises else "short-axis cine"
    shows = gr.Dropdown(
        list(working.SHOWS),
        value=start,
        label="What a NIfTI file or picture shows",
        info="DICOM says so itself.",
        elem_id="shows",
    )
    numbers = [
        gr.Number(None, label="Picture: size of a pixel, mm", minimum=0, elem_id="pixel"),
        gr.Number(None, label="Height, cm", minimum=0),
        gr.Number(None, label="Weight, kg", minimum=0),
        gr.Number(None, label="Haematocrit, 0 to 1 (for ECV)", minimum=0),
    ]
    return [shows, *numbers]


def _endpoint() -> None:
    """`/assess`, for programs; nothing of it is on the page."""
    with gr.Column(visible=False):
        files = gr.File(file_count="multiple", label="files")
        options = [
            gr.Dropdown(list(working.SHOWS), value="short-axis cine", label="shows"),
            *(gr.Number(None, label=name) for name in ("pixel_mm", "height_cm", "weight_kg", "haematocrit")),
        ]
        made, archive = gr.JSON(label="assessment"), gr.File(label="archive")
        gr.Button("assess").click(
            assess_api,
            [files, *options],
            [made, archive],
            api_name="assess",
            concurrency_id="models",
            concurrency_limit=WORKERS,
        )


def launch(**about: Any) -> Any:
    """Opens the page; `about` goes to `gr.Blocks.launch`."""
    keep_apart()
    SESSIONS.sweep_forever()
    working.warm_up()
    settings = {
        "theme": THEME,
        "css_paths": [PAGE / "style.css"],
        "js": DARK_JS,
        "allowed_paths": [str(SESSIONS.shown)],
        "max_file_size": MOST_UPLOAD,
        "ssr_mode": False,
        "footer_links": ["api"],
        "show_error": True,
    }
    return build().launch(**(settings | about))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what is kept is deleted at the end
    launch(inbrowser=False)

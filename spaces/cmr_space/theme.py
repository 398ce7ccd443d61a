"""Colours and type of the page: calm, without anything from other servers, legible in light and dark."""

import gradio as gr

PETROL = gr.themes.Color(
    "#EAF5F6", "#CFE8EA", "#A6D3D7", "#74B6BC", "#3E939B", "#0F6F78", "#0B5E66", "#094C53", "#073C42", "#052C31",
    "#031E22",
)  # fmt: skip
SLATE = gr.themes.Color(
    "#F6F8F9", "#ECEFF1", "#D5DADE", "#B4BDC4", "#87929B", "#5A6570", "#454F59", "#323B43", "#20272E", "#161B20",
    "#101418",
)  # fmt: skip
SANS = ("system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
THEME = gr.themes.Base(
    primary_hue=PETROL,
    neutral_hue=SLATE,
    radius_size=gr.themes.sizes.radius_md,
    font=list(SANS),
    font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"],
).set(
    body_background_fill="*neutral_50",
    body_background_fill_dark="*neutral_950",
    body_text_color="#14181C",
    body_text_color_dark="#F2F4F5",
    body_text_color_subdued="*neutral_500",
    body_text_color_subdued_dark="*neutral_300",
    block_background_fill="#FFFFFF",
    block_background_fill_dark="*neutral_900",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_200",
    block_info_text_color="*neutral_500",
    block_info_text_color_dark="*neutral_300",
    border_color_primary="*neutral_200",
    border_color_primary_dark="*neutral_700",
    button_primary_background_fill="*primary_500",
    button_primary_background_fill_hover="*primary_600",
    button_primary_background_fill_dark="*primary_500",
    button_primary_background_fill_hover_dark="*primary_600",
    button_primary_text_color="#FFFFFF",
    button_primary_text_color_dark="#FFFFFF",
)
# the language of the page, for those who have it read to them
DARK_JS = "() => { document.documentElement.lang = 'en'; }"

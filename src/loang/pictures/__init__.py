"""Arrays in, pictures and animations out."""

from loang.pictures.animation import save_animation, save_image
from loang.pictures.charts import schedule_chart, training_chart
from loang.pictures.grid import captioned_rows, grid, to_display
from loang.pictures.samples import (
    check_sheet,
    check_singles,
    columns,
    rows,
    save_samples,
    save_singles,
    save_walk,
    sheet,
    single_path,
    spacing,
)

__all__ = [
    "captioned_rows",
    "check_sheet",
    "check_singles",
    "columns",
    "grid",
    "rows",
    "save_animation",
    "save_image",
    "save_samples",
    "save_singles",
    "save_walk",
    "schedule_chart",
    "sheet",
    "single_path",
    "spacing",
    "to_display",
    "training_chart",
]

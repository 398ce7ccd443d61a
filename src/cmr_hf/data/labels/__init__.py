"""Labels drawn in other tools, brought onto the package's pictures and ids.

| from                                             | by                                   | onto                     |
|--------------------------------------------------|--------------------------------------|--------------------------|
| cvi42 `.cvi42wsx`                                | `read_cvi42`                         | a folder of DICOM        |
| Segment `.mat`                                   | `read_segment`                       | the images in that file  |
| DICOM RTSTRUCT, DICOM SEG                        | `read_rtstruct`, `read_dicom_seg`    | a folder of DICOM        |
| NIfTI with ITK-SNAP's or Slicer's names          | `read_nifti_masks(…).apply_to`       | any image                |
| NRRD, `.seg.nrrd` of Slicer                      | `read_nrrd_masks(…).apply_to`        | any image                |
| masks that this package wrote, corrected by hand | `read_corrected`                     | the images they were of  |
| tables in CSV or Parquet                         | `read_label_table`                   | –                        |
| text of reports                                  | `read_lge`                           | –                        |

`labels_of_tool` finds the right one of the first five by the file. All but the last two of the table give
`ImportedLabels`: stacks with masks, and what was left out.
"""

from .corrected import read_corrected
from .cvi42 import read_cvi42
from .dicom_seg import read_dicom_seg
from .filling import fill_polygon
from .imported import ImportedLabels
from .label_volume import LabelVolume
from .lge_reports import LgeFinding, read_lge
from .nifti_masks import read_nifti_masks
from .nrrd import read_nrrd_masks
from .of_tool import labels_of_tool
from .rtstruct import read_rtstruct
from .segment_mat import read_segment
from .tables import LabelTable, read_label_table

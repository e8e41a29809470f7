"""From picture files to aligned faces."""

from leam.faces.align import Chip, Crop
from leam.faces.detect import Detector, DlibDetector, find_face
from leam.faces.face import Face
from leam.faces.read import read_picture

__all__ = ["Chip", "Crop", "Detector", "DlibDetector", "Face", "find_face", "read_picture"]

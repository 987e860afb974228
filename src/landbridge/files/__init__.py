"""File contents between steps, by reference: a folder, S3, Azure or GCS.

Contents are never in JSON, in the database, or in memory whole. What travels is a `File`; its id is a capability: it
holds, sealed by the vault for one project and run, where the contents lie. An id of another run opens nothing, and
nobody can make one up.

The only room that knows obstore. Its errors leave here as `FilesFailed` and `FileUnknown`.
"""

from landbridge.files.contents import Contents, Piece, Reading
from landbridge.files.files import Files
from landbridge.files.forms import File, InlineFile
from landbridge.files.run import RunFiles
from landbridge.files.writing import PIECE, Note

__all__ = ["PIECE", "Contents", "File", "Files", "InlineFile", "Note", "Piece", "Reading", "RunFiles"]

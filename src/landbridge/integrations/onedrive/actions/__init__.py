"""What can be done with OneDrive, in the order in which it is shown."""

from landbridge.integrations.onedrive.actions.copies import copy_item
from landbridge.integrations.onedrive.actions.drives import get_drive, list_changes, list_drives, list_recent
from landbridge.integrations.onedrive.actions.essentials import (
    create_folder,
    delete_folder,
    download_file,
    get_file,
    get_folder_by_id,
    list_files,
    move_folder,
    onedrive_request,
    save_file,
    search_folders,
)
from landbridge.integrations.onedrive.actions.items import (
    create_folder_path,
    create_text_file,
    delete_file,
    get_thumbnail,
    move_file,
    rename_item,
    search_files,
    update_file,
)
from landbridge.integrations.onedrive.actions.sharing import (
    create_link,
    invite_people,
    list_permissions,
    remove_permission,
)
from landbridge.integrations.onedrive.actions.versions import get_version, list_versions, restore_version

__all__ = [  # noqa: RUF022 - the order in which it is shown
    "save_file",
    "get_file",
    "download_file",
    "list_files",
    "create_folder",
    "get_folder_by_id",
    "search_folders",
    "move_folder",
    "delete_folder",
    "copy_item",
    "rename_item",
    "move_file",
    "delete_file",
    "search_files",
    "create_text_file",
    "update_file",
    "create_folder_path",
    "get_thumbnail",
    "create_link",
    "invite_people",
    "list_permissions",
    "remove_permission",
    "list_versions",
    "get_version",
    "restore_version",
    "list_drives",
    "get_drive",
    "list_changes",
    "list_recent",
    "onedrive_request",
]

"""Videos in and out: files, folders, cameras; masks as PNG, overlay and COCO."""

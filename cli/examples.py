"""Two lines of each command that do something useful, for the end of its help."""

EXAMPLES: dict[str, tuple[str, str]] = {
    "setup": (
        "h36m-amass setup smplh.tar.xz dmpls.tar.xz data.tar.gz",
        "h36m-amass setup ~/Downloads --support-dir elsewhere",
    ),
    "check": ("h36m-amass check data", "h36m-amass check data -r 60 --dataset CMU --json"),
    "build": ("h36m-amass build data amass_h36m.h5", "h36m-amass build data amass_h36m.h5 --update --dataset KIT"),
    "import-h36m": (
        "h36m-amass import-h36m data_3d_h36m.npz h36m.h5",
        "h36m-amass import-h36m data_3d_h36m.npz h36m.h5 --detections data_2d_h36m_cpn_ft_h36m_dbb.npz",
    ),
    "export-npz": (
        "h36m-amass export-npz amass_h36m.h5 npz",
        "h36m-amass export-npz amass_h36m.h5 npz_h36m --joint-order h36m",
    ),
    "export-motionbert": (
        "h36m-amass build data amass_60.h5 -r 60",
        "h36m-amass export-motionbert amass_60.h5 clips",
    ),
    "datasets": ("h36m-amass datasets", "h36m-amass datasets data"),
    "info": ("h36m-amass info amass_h36m.h5", "h36m-amass info amass_h36m.h5 CMU/01/01_01_poses"),
    "plot": (
        "h36m-amass plot amass_h36m.h5 CMU/01/01_01_poses --out walk.png",
        "h36m-amass plot amass_h36m.h5 CMU --contact-sheet --out cmu.pdf",
    ),
    "verify": ("h36m-amass verify amass_h36m.h5", "h36m-amass verify amass_h36m.h5 --against data"),
    "view": ("h36m-amass view amass_h36m.h5", "h36m-amass view amass_h36m.h5 --filter CMU/01 --camera S1/54138969"),
    "demo": ("h36m-amass demo demo", "h36m-amass info demo/amass_h36m.h5"),
}


def epilog(command: str) -> str:
    """The examples as the last paragraphs of a command's help."""
    return "\n\n".join(("Examples:", *EXAMPLES[command]))

"""Packs the Python package and its built module as a wheel, for pip to install on this machine.

Usage: pack_wheel.py PACKAGE_FOLDER MODULE MODULE_NAME COMMAND WHEEL

COMMAND is the entry point of the console command: `name = package.module:function`.
"""

import sys
import zipfile
from pathlib import Path

_, folder, module, module_name, command, wheel = sys.argv
package = Path(folder)
info = f"{package.name}-0.0.0.dist-info"
files = {
    path.relative_to(package.parent).as_posix(): path
    for path in sorted(package.rglob("*"))
    if path.suffix in (".py", ".pyi", ".typed")
}
files[f"{package.name}/{module_name}"] = Path(module)
texts = {
    f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 0.0.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    f"{info}/entry_points.txt": f"[console_scripts]\n{command}\n",
}
with zipfile.ZipFile(wheel, "w") as archive:
    for name, path in files.items():
        archive.write(path, name)
    for name, text in texts.items():
        archive.writestr(name, text)
    listed = [*files, *texts, f"{info}/RECORD"]
    archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in listed))

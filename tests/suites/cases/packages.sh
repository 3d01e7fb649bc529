# Package tools: dpkg-deb, apt-get download where there is a network, a virtual environment of Python, pip installing a local wheel.
# needs: dpkg-deb python3
# seconds: 120

package() {
  mkdir -p p/DEBIAN p/usr/bin p/usr/share/doc/x; printf 'Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' > p/DEBIAN/control
  printf '#!/bin/sh\necho from a package\n' > p/usr/bin/x; chmod 755 p/usr/bin/x; seq 20000 > p/usr/share/doc/x/n; ln -s n p/usr/share/doc/x/l; printf '#!/bin/sh\nexit 0\n' > p/DEBIAN/postinst; chmod 755 p/DEBIAN/postinst; find p -exec touch -h -d @1500000000 {} +
}
case_dpkg_deb() { package; SOURCE_DATE_EPOCH=1500000000 dpkg-deb --root-owner-group --build p x.deb && dpkg-deb -I x.deb | grep -v bytes && dpkg-deb -c x.deb && dpkg-deb -x x.deb u && u/usr/bin/x && cmp u/usr/share/doc/x/l p/usr/share/doc/x/n && dpkg-deb -e x.deb c && ls c && dpkg-deb --fsys-tarfile x.deb | tar t | wc -l && dpkg-deb -R x.deb r && diff -r --no-dereference p r && echo same; sha256sum x.deb; }
case_dpkg_database() { package; SOURCE_DATE_EPOCH=1500000000 dpkg-deb --root-owner-group --build p x.deb > /dev/null; mkdir -p root/var/lib/dpkg/{info,updates,triggers}; touch root/var/lib/dpkg/{status,available}; dpkg --root=root --force-not-root --force-script-chrootless --log=/dev/null -i x.deb 2>&1 | grep -v database; root/usr/bin/x; dpkg --root=root -s x | grep Status; dpkg --root=root -L x; dpkg --root=root --force-not-root --force-script-chrootless --log=/dev/null -r x 2>&1 | grep -v database; find root -type f -o -type l | sort; }
case_apt_download() { command -v apt-get > /dev/null || return 0; timeout 60 apt-get -qq -o APT::Sandbox::User= download hostname > log 2>&1 || { echo no network; return 0; }; ls *.deb; dpkg-deb -x *.deb u && u/bin/hostname && cmp u/bin/hostname /bin/hostname && find u | sort | md5sum; }
case_venv() { /usr/bin/python3 -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix, sys.prefix.rsplit("/", 1)[1])' && readlink v/bin/python && ls v v/bin && . v/bin/activate && command -v python | sed "s,$PWD,," && python -c 'import sysconfig, os; print(os.path.relpath(sysconfig.get_path("purelib")))'; find v -type f | sort; /usr/bin/python3 -m venv --copies --without-pip w && w/bin/python -c 'import sys, os; print(os.path.relpath(sys.executable))'; }
case_wheel() {
  python3 - <<'P'
import base64, hashlib, zipfile
files = {"mod/__init__.py": "from .part import answer\n", "mod/part.py": "answer = 42\ndef main(): print('entry', answer)\n", "mod/data.txt": "x" * 100000,
    "mod-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: mod\nVersion: 1\n", "mod-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "mod-1.dist-info/entry_points.txt": "[console_scripts]\nmodrun = mod.part:main\n"}
lines = [f"{n},sha256={base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b'=').decode()},{len(t)}" for n, t in files.items()]
with zipfile.ZipFile("mod-1-py3-none-any.whl", "w") as z:
    for n, t in files.items(): z.writestr(n, t)
    z.writestr("mod-1.dist-info/RECORD", "\n".join([*lines, "mod-1.dist-info/RECORD,,"]) + "\n")
P
  unset PYTHONDONTWRITEBYTECODE; /usr/bin/python3 -m venv v && v/bin/python -m pip install -q --no-index --disable-pip-version-check mod-1-py3-none-any.whl && v/bin/modrun && v/bin/python -c 'import mod, os; print(mod.answer, os.path.relpath(mod.__file__))' && v/bin/python -m pip list --disable-pip-version-check | grep mod
  find v/lib/*/site-packages/mod* | sort | sed 's/pip-.*//'; v/bin/python -m pip check; v/bin/python -m pip uninstall -qy mod; ls v/bin; v/bin/modrun 2>&1 | sed 's/.*: //'
}
case_zipimport_and_compile() { mkdir pkg; printf 'v = "x"\n' > pkg/__init__.py; printf 'import pkg; print(pkg.v, pkg.__cached__ and pkg.__cached__.split("/")[-2:])\n' > m.py; unset PYTHONDONTWRITEBYTECODE; python3 m.py; python3 m.py; ls pkg pkg/__pycache__; sleep 1.1; printf 'v = "changed"\n' > pkg/__init__.py; python3 m.py; python3 -m compileall -q pkg; python3 -m zipapp pkg -m 'pkg:v' -o z.pyz 2>&1; python3 -m zipfile -c z.zip pkg m.py; PYTHONPATH=z.zip python3 -c 'import m, zipfile'; python3 -c 'import py_compile; print(py_compile.compile("m.py", "out.pyc"))'; python3 out.pyc; }

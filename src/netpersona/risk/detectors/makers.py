"""Names of those whose programs call home by design: updates, time, push messages, certificates, telemetry.

A call to one of them may still be abuse (anybody can rent their clouds), so the names of hosting services that give out
sub-names to strangers are not here.
"""

from __future__ import annotations

from functools import lru_cache

_MAKERS = """
microsoft.com windows.com windowsupdate.com live.com office.com office365.com msftncsi.com msftconnecttest.com
skype.com bing.com msn.com outlook.com visualstudio.com apple.com icloud.com mzstatic.com google.com gstatic.com
googleapis.com gvt1.com gvt2.com youtube.com android.com mozilla.com mozilla.org mozilla.net firefox.com ubuntu.com
canonical.com debian.org fedoraproject.org centos.org redhat.com suse.com opensuse.org archlinux.org kernel.org
snapcraft.io ntp.org docker.com pypi.org pythonhosted.org npmjs.org adobe.com intel.com nvidia.com dell.com hp.com
lenovo.com vmware.com oracle.com java.com digicert.com letsencrypt.org lencr.org globalsign.com sectigo.com
verisign.com entrust.net eset.com avast.com avg.com kaspersky.com symantec.com norton.com mcafee.com sophos.com
bitdefender.net trendmicro.com dropbox.com zoom.us slack.com spotify.com whatsapp.net facebook.com twitter.com
linkedin.com
"""
_KNOWN = frozenset(_MAKERS.split())


@lru_cache(maxsize=1 << 12)  # names that are asked about in a row
def well_known(name: str) -> bool:
    """Whether a lower-case name is one of theirs, or below one of theirs."""
    labels = name.rstrip(".").split(".")
    return any(".".join(labels[start:]) in _KNOWN for start in range(len(labels)))

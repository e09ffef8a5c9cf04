"""A small feed in each text format, with the values that it lists; made up, in the forms that are published."""

MD5, SHA1, SHA256 = "0123456789abcdef" * 2, "0123456789" * 4, "0123456789abcdef" * 4

SAMPLES = {
    "spamhaus-drop": (
        "; Spamhaus DROP List 2026/09/14\n; Expires: soon\n1.4.0.0/17 ; SBL256893\n2a06:e480::/29 ; SBL301771\n",
        [("network", "1.4.0.0/17"), ("network", "2a06:e480::/29")],
    ),
    "spamhaus-asn-drop": (
        "; Spamhaus ASN-DROP List\nAS64496 ; ZZ | EXAMPLE - Example Inc.\nAS64497 ; | Other\n",
        [("asn", "AS64496"), ("asn", "AS64497")],
    ),
    "maltrail": (
        (
            "# Copyright (c) Maltrail developers\n\n# Reference: https://intel.example/1\n\n8.8.4.1:4782\nevil.example\n"
            "# Reference: https://intel.example/2\nhost.example/gate.php\n8.8.5.0/24 # acme\n/bare/path.php\n"
        ),
        [
            ("address", "8.8.4.1"),
            ("domain", "evil.example"),
            ("network", "8.8.5.0/24"),
            ("url", "http://host.example/gate.php"),
        ],
    ),
    "malwarepatrol": (
        "#\n#   Malware Patrol - Block List\n#\nevil.example/malware/\nwww.evil.example/\n",
        [("url", "http://evil.example/malware/"), ("url", "http://www.evil.example/")],
    ),
    "dshield": (
        (
            "#   DShield.org Recommended Block List\nStart\tEnd\tNetmask\tAttacks\tName\n8.8.4.0\t8.8.4.255\t24\t1840\tEXAMPLE\tZZ\n"
            "008.008.005.000\t008.008.005.255\t24\t9\n# END\n"
        ),
        [("network", "8.8.4.0/24"), ("network", "8.8.5.0/24")],
    ),
    "zeek-intel": (
        (
            "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\tmeta.whitelist\n8.8.4.1\tIntel::ADDR\tsrc\tbad\tF\n"
            "8.8.5.0/24\tIntel::SUBNET\tsrc\t-\tF\nEvil.example\tIntel::DOMAIN\tsrc\tbad\tF\nevil.example/x?y=1\tIntel::URL\tsrc\t-\tF\n"
            f"{SHA1}\tIntel::FILE_HASH\tsrc\t-\tF\n{SHA256}\tIntel::CERT_HASH\tsrc\t-\tF\n{MD5}\tIntel::JA3\tsrc\t-\tF\n"
            "a@evil.example\tIntel::EMAIL\tsrc\t-\tF\nevil.exe\tIntel::FILE_NAME\tsrc\t-\tF\ngood.example\tIntel::DOMAIN\tsrc\t-\tT\n"
        ),
        [
            ("address", "8.8.4.1"),
            ("domain", "evil.example"),
            ("hash", SHA1),
            ("hash", SHA256),
            ("ja3", MD5),
            ("network", "8.8.5.0/24"),
            ("url", "http://evil.example/x?y=1"),
        ],
    ),
    "suricata-dataset": (
        "ZXZpbC5leGFtcGxl\nOC44LjQuMQ==,110\n",
        [("address", "8.8.4.1"), ("domain", "evil.example")],
    ),
    "bambenek": (
        (
            "#####\n## Feed Provided By: John Bambenek of Bambenek Consulting\n#####\n"
            "x1.example,Domain used by Some - Thing DGA for 10 Nov 2026,2026-11-10,http://manual.example/cl.txt\n"
        ),
        [("domain", "x1.example")],
    ),
    "team-cymru": (
        (
            "# Data file written now\n# Format: report|ip|asn|timestamp|comments|asn_name\n"
            "bots|8.8.4.1|64496|2026-10-31 10:00:00|mwtype X|Example AS\nspam|8.8.4.1|64496|2026-10-31 10:00:04||Example AS\n"
        ),
        [("address", "8.8.4.1")],
    ),
    "dataplane": (
        (
            "# It says of each entry, and of its addresses, what is known.\n# ASN  |  ASname  |  saddr  |  utc  |  category\n#\n"
            "# Each field is described below.  Fields are separated, by pipes.\n#\n"
            "64496    |  EXAMPLE -   |     8.8.4.1  |  2026-12-05 14:01:21  |  sshclient\nNA  |  NA  |  2a06:e480::6  |  2026-12-05  |  x\n"
        ),
        [("address", "2a06:e480::6"), ("address", "8.8.4.1")],
    ),
    "feodo": (
        (
            '########\n# abuse.ch Feodo Tracker #\n########\r\n#\r\n"first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware"\r\n'
            '"2026-06-04 21:24:53","8.8.4.1","8080","offline","2026-03-07","Emotet"\r\n# END (1) entries\r\n'
        ),
        [("address", "8.8.4.1")],
    ),
    "urlhaus": (
        (
            "# Last updated\r\n#\r\n# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\r\n"
            '"7","2026-09-13","http://8.8.4.1:32848/Mozi.m","online","","malware_download","elf,iot,Mozi","https://u.example/7/","x"\r\n'
        ),
        [("url", "http://8.8.4.1:32848/Mozi.m")],
    ),
    "threatfox": (
        (
            '# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type","fk_malware","malware_printable","confidence_level"\n'
            '"2026-07-16 06:45:19", "1", "http://evil.example/fre.php", "url", "botnet_cc", "win.x", "X, or Y", "75"\n'
            '"2026-07-16 05:25:36", "2", "8.8.4.1:7777", "ip:port", "botnet_cc", "win.y", "Y", "100"\n'
            f'"2026-07-16 05:25:36", "3", "{SHA256}", "sha256_hash", "payload", "win.z", "Z", "50"\n'
            '"2026-07-16 05:25:36", "4", "a@evil.example", "envelope_from", "payload", "win.z", "Z", "50"\n# Number of entries: 4\n'
        ),
        [("address", "8.8.4.1"), ("hash", SHA256), ("url", "http://evil.example/fre.php")],
    ),
    "sslbl": (f"# Listingdate,SHA1,Listingreason\n2026-08-15 15:52:47,{SHA1},Vidar C&C\n", [("hash", SHA1)]),
    "sslbl-ip": ("# Firstseen,DstIP,DstPort\n2026-01-01 10:00:00,8.8.4.1,443\n", [("address", "8.8.4.1")]),
    "ja3": (f"# ja3_md5,Firstseen,Lastseen,Listingreason\n{MD5},2026-07-14,2026-07-27,Dridex\n", [("ja3", MD5)]),
    "cisa-kev": (
        (
            "cveID,vendorProject,product,vulnerabilityName,dateAdded,shortDescription\n"
            'CVE-2026-23006,Example,"Some, thing",Bad,2026-01-24,"it goes on,\nover two lines, see evil.example"\n'
        ),
        [("cve", "CVE-2026-23006")],
    ),
    "epss": (
        "#model_version:v2026.03.14,score_date:2026-07-01T00:00:00+0000\ncve,epss,percentile\nCVE-1999-0001,0.01298,0.78\n",
        [("cve", "CVE-1999-0001")],
    ),
    "otx": (
        f"Indicator type,Indicator,Description\nIPv4,8.8.4.1,\nhostname,a.evil.example,x\nFileHash-SHA256,{SHA256},\nemail,a@b.example,\n",
        [("address", "8.8.4.1"), ("domain", "a.evil.example"), ("hash", SHA256)],
    ),
    "misp-csv": (
        (
            f'uuid,event_id,category,type,value,comment,to_ids\n"1","1","Network","domain|ip","evil.example|8.8.4.1","",1\n'
            f'"2","1","Payload","filename|md5","x.exe|{MD5}","",1\n"3","1","Network","ip-dst|port","8.8.5.1|443","",1\n'
        ),
        [("address", "8.8.4.1"), ("address", "8.8.5.1"), ("domain", "evil.example"), ("hash", MD5)],
    ),
    "suricata-iprep": (
        "8.8.4.1,1,101\n8.8.5.0/24,6,88\n2a06:e480::1,2,127\n",
        [("address", "2a06:e480::1"), ("address", "8.8.4.1"), ("network", "8.8.5.0/24")],
    ),
    "adblock": (
        (
            "[Adblock Plus 2.0]\n! Title: a list\n||evil.example^$third-party\n||8.8.4.1^\n||a.example/x.js^\n@@||good.example^\n"
            "page.example##.banner\n||wild*.example^\n/miner\\.js/\n-miner-\n||b.example^$domain=c.example\n||d.example^$csp=x\n"
        ),
        [("address", "8.8.4.1"), ("domain", "evil.example"), ("url", "http://a.example/x.js")],
    ),
    "p2p": (
        "Some: Company:8.8.4.0-8.8.4.255\nOther:8.8.5.1-8.8.5.1\n",
        [("address", "8.8.5.1"), ("network", "8.8.4.0/24")],
    ),
    "tor-exits": (
        "ExitNode 0011BD\nPublished 2026-07-17 10:53:30\nLastStatus 2026-07-17 11:03:20\nExitAddress 8.8.4.1 2026-07-17 11:15:15\n",
        [("address", "8.8.4.1")],
    ),
    "access-rules": (
        (
            "# what we keep out\nOrder Allow,Deny\ndeny 8.8.4.1;\nDeny from 8.8.5.0/24 8.8.6.1\nALL: 8.8.7.1\n"
            "-A INPUT -s 8.8.8.0/32 -p tcp -j DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT\nallow 8.8.4.2;\n"
            "access-list 10 deny 8.8.9.0 0.0.0.255\nadd list=bad address=8.8.10.1\nblackhole 8.8.11.0/24\n"
        ),
        [
            *(("address", place) for place in ("8.8.10.1", "8.8.4.1", "8.8.6.1", "8.8.7.1", "8.8.8.0")),
            *(("network", place) for place in ("8.8.11.0/24", "8.8.5.0/24", "8.8.9.0/24")),
        ],
    ),
    "malwaredomains": (
        "##\tnextvalidation\tdomain\ttype\n\t\tevil.example\tphishing\ta.b\n20260101\t\tbad.example\tmalware\tc.d\n",
        [("domain", "bad.example"), ("domain", "evil.example")],
    ),
    "name-server": (
        (
            "$TTL 30\n@ SOA rpz.example. hostmaster.example. 2110191013 300 1800 604800 30\n NS localhost.\n;\n"
            "evil.example CNAME . ; malware\n*.evil.example CNAME .\ngood.example CNAME rpz-passthru.\n24.0.4.8.8.rpz-ip CNAME .\n"
        ),
        [("domain", "evil.example"), ("network", "8.8.4.0/24")],
    ),
}

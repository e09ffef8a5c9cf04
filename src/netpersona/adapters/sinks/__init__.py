"""Where findings are told beside the store: STIX 2.1 in a file or on a TAXII server, OCSF in a file or over HTTP."""

#!/usr/bin/env bash
# Recorded calls as regression tests, for any CI: fails if one of them goes another way.
set -uo pipefail
cd "${1:-.}"
failed=0
rspp replay --dir calls --junit replay.xml || failed=1
if [ -f pipeline.yaml ]; then
    rspp replay --dir calls --against pipeline.yaml --tolerance 50 --junit against.xml || failed=1
fi
rspp gates --dir calls || failed=1
exit "$failed"

#!/usr/bin/env bash
# Gates a CI job on implementations: those that are shipped must be accurate, what they print must be right,
# and the check itself must still tell an unstable formula and a wrong one from an accurate one.
#
#   samples/gate_implementations.sh [TARGET...]
#
# Exit code: 0 passed, 1 a check failed, 2 a mistake (a missing file, a function that is not there).
# Needs stablemax and jq. Without arguments it checks the samples beside it; TARGET is file.py:function.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
contract=(-q --format float32 --max-ulp 32)
failed=0

# Says what a target is; exit code 2, a mistake, ends the job with its message.
grade() {
  local code=0 report
  report=$(stablemax check "${contract[@]}" --output-format json "$1" 2>/dev/null) || code=$?
  if [ "$code" -gt 1 ]; then
    stablemax check "${contract[@]}" "$1" >/dev/null || exit "$?"
  fi
  jq -r '.grade' <<<"$report"
}

# The target must be what is expected; where it is not, the report says why.
expect() {
  local found
  found=$(grade "$1")
  echo "${1#"$here/"}: $found"
  if [ "$found" != "$2" ]; then
    echo "failed: ${1#"$here/"} is $found, not $2" >&2
    stablemax check "${contract[@]}" "$1" >&2 || true
    failed=1
  fi
}

if [ "$#" -gt 0 ]; then
  for target in "$@"; do
    expect "$target" accurate
  done
  exit "$failed"
fi

expect "$here/numpy_softmax.py:good" accurate
expect "$here/numpy_loss.py:good_loss" accurate
expect "$here/numpy_softmax.py:unstable" unstable
expect "$here/numpy_softmax.py:wrong" wrong

# An output that any program dumped is judged from its file; here stablemax itself writes it.
dump=$(mktemp -d)
trap 'rm -r "$dump"' EXIT
stablemax softmax -q -o "$dump/p.npy" -- "$here/logits.npy"
stablemax judge -q --operation softmax --max-ulp 1 --output-format json -- "$here/logits.npy" "$dump/p.npy" |
  jq -r '"dumped softmax: \(.verdict.worst), \(.passed)"' || failed=1
exit "$failed"

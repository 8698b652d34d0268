#!/usr/bin/env bash
# Gates a CI job on a dump of logits and labels: is the loss finite and small enough, and do the
# formulas that are shipped hold on these logits in the formats that are shipped?
#
#   samples/gate.sh [LOGITS LABELS [MAX_LOSS]]
#
# Exit code: 0 passed, 1 a check failed, 2 a mistake (a missing file, labels that do not fit).
# Needs stablemax and jq. Without arguments it checks the samples beside it.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
logits=${1:-$here/logits.npy}
labels=${2:-$here/labels.npy}
max_loss=${3:-25}

# Exit code 1 where the loss is not finite or above the limit; `set -e` ends the job there.
loss=$(stablemax loss -q --max-loss "$max_loss" -- "$logits" "$labels")
echo "loss $loss, at most $max_loss"

# The report goes to jq, the exit code decides: keep both, for a report is worth most when it fails.
failed=0
report=$(stablemax compare -q --output-format json \
  --operation softmax --operation cross_entropy --variant wide \
  --format bfloat16 --format float32 \
  --fail-on nan,overflow,lost,inaccurate,undefined,input-overflow -- "$logits" "$labels") || failed=$?
if [ "$failed" -gt 1 ]; then
  exit "$failed"
fi
jq -r '.reports[].verdicts[] | "\(.variant) in \(.format): \(.worst)"' <<<"$report"

# What exit codes cannot say: no value may be off by more than one ulp.
jq -e '[.reports[].verdicts[].error_ulp // 0] | max <= 1' <<<"$report" >/dev/null || {
  echo "failed: an error is above 1 ulp" >&2
  exit 1
}
exit "$failed"

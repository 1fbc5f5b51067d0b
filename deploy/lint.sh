#!/usr/bin/env bash
# Every check of the deploy files that works without a network, a cluster or a Docker daemon.
#
#   deploy/lint.sh            run what is installed, name what is not
#   deploy/lint.sh --strict   a missing tool is a failure, too
#
# Exit code 1 if a linter found something. docs/deploy.md says where each tool comes from.
set -uo pipefail
cd "$(dirname "$0")" || exit 2
export LC_ALL=C

strict=no
case "${1-}" in
    '') ;;
    --strict) strict=yes ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0 skipped=0

# check NAME COMMAND…: silent if it holds, else with all that the command said.
check() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        printf '%s\n' "$said" | sed 's/^/        /'
    fi
}

# have TOOL WHAT: false, with a word about it, if the tool is missing.
have() {
    command -v "$1" >/dev/null 2>&1 && return
    skipped=$((skipped + 1))
    echo "skipped $2: $1 is not installed"
    return 1
}

# refused NAME COMMAND…: the command must fail.
refused() {
    local name=$1
    shift
    if "$@" >"$scratch/refused" 2>&1; then
        failed=$((failed + 1))
        echo "FAILED  $name: was accepted"
    else
        passed=$((passed + 1))
        echo "ok      $name"
    fi
}

have shellcheck 'this script' && check 'shellcheck lint.sh' shellcheck lint.sh

have hadolint 'Dockerfile' && check 'hadolint Dockerfile' hadolint Dockerfile

# The plugin of docker, or the program by itself.
compose() {
    if command -v docker-compose >/dev/null 2>&1; then docker-compose "$@"; else docker compose "$@"; fi
}
if command -v docker-compose >/dev/null 2>&1 || docker compose version >/dev/null 2>&1; then
    check 'compose config' compose --file compose.yaml --profile '*' config --quiet
else
    skipped=$((skipped + 1))
    echo 'skipped compose.yaml: neither docker compose nor docker-compose is installed'
fi

if have systemd-analyze 'systemd/countersign.service'; then
    # `verify` looks for the program, which is not installed here: any will do.
    sed 's#^ExecStart=/usr/bin/countersign#ExecStart=/bin/true#' systemd/countersign.service \
        >"$scratch/countersign.service"
    check 'systemd-analyze verify' systemd-analyze verify --man=no "$scratch/countersign.service"
    check 'systemd-analyze security' systemd-analyze security --offline=true --threshold=20 \
        --no-pager "$scratch/countersign.service"
fi
if have systemd-sysusers 'systemd/countersign.sysusers.conf'; then
    check 'systemd-sysusers --dry-run' systemd-sysusers --root="$scratch" --dry-run \
        systemd/countersign.sysusers.conf
fi
if have systemd-tmpfiles 'systemd/countersign.tmpfiles.conf'; then
    mkdir "$scratch/root"
    # It warns of what it can't read and goes on; here a warning is a finding.
    tmpfiles() {
        local said
        said=$(systemd-tmpfiles --root="$scratch/root" --create "$PWD/systemd/countersign.tmpfiles.conf" 2>&1) || {
            printf '%s\n' "$said"
            return 1
        }
        [ -z "$said" ] || { printf '%s\n' "$said"; return 1; }
    }
    check 'systemd-tmpfiles --create' tmpfiles
fi

if have promtool 'prometheus'; then
    check 'promtool check rules' promtool check rules prometheus/alerts.yaml
    check 'promtool test rules' promtool test rules prometheus/alerts.test.yaml
    # Grafana's variables are no PromQL: ones of the right kind take their place.
    dashboard() {
        python3 - grafana/dashboard.json >"$scratch/dashboard.yaml" <<'PYTHON' || return 1
import json, sys

rules = []
def walk(value):
    if isinstance(value, dict):
        if "expr" in value:
            expr = value["expr"]
            for name in ("$__rate_interval", "$__range"):
                expr = expr.replace(name, "5m")
            rules.append({"record": f"panel:{len(rules)}", "expr": expr})
        for inner in value.values():
            walk(inner)
    elif isinstance(value, list):
        for inner in value:
            walk(inner)
walk(json.load(open(sys.argv[1])))
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PYTHON
        promtool check rules "$scratch/dashboard.yaml"
    }
    have python3 'expressions of grafana/dashboard.json' &&
        check 'promtool check rules, the expressions of the dashboard' dashboard
    # The metrics themselves, from a server that listens for as long as this takes.
    binary=${COUNTERSIGN:-../target/debug/countersign}
    metrics() {
        promtool check metrics <"$scratch/metrics"
    }
    if [ -x "$binary" ] && command -v curl >/dev/null 2>&1; then
        scrape() { @SCRAPE@; }
        scrape && check 'promtool check metrics' metrics
    else
        skipped=$((skipped + 1))
        echo "skipped /metrics: needs curl and $binary (cargo build, or set COUNTERSIGN)"
    fi
fi

if have helm 'helm/countersign'; then
    for values in helm/countersign/ci/*.yaml; do
        name=$(basename "$values" .yaml)
        check "helm lint, $name" helm lint --strict --quiet --values "$values" helm/countersign
        render() {
            helm template log helm/countersign --namespace logs --values "$values" \
                >"$scratch/$name.manifests.yaml"
        }
        check "helm template, $name" render
        # Reads manifests from standard input and fails at a field that Kubernetes doesn't know.
        decode() { strictdecode <"$scratch/$name.manifests.yaml"; }
        have strictdecode "fields of the manifests, $name" && check "strict decoding, $name" decode
    done
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] || exit 1
[ "$strict" = no ] || [ "$skipped" -eq 0 ]
